"""What `init` would do, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from assetbatch.database.adoption import Plan


def render(plan: Plan) -> str:
    """Return the plan in its four parts; those without anything are left out."""
    parts = [
        *_part("is refused, so that nothing would be changed", map(str, plan.refusals)),
        *_part("would be added", (f"{one.part} {one.what}" for one in plan.additions)),
        *_part("is used as it is", map(str, plan.taken)),
        *_part("warnings", map(str, plan.warnings)),
    ]
    return "\n".join(parts) or "nothing would be changed"


def _part(title: str, lines: Iterable[str]) -> Iterator[str]:
    shown = list(lines)
    if shown:
        yield f"{title}:"
        yield from (f"  {line}" for line in shown)
