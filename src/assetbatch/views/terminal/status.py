"""The health document as a page for a terminal: problems first, then what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.formatting import format_duration, plural
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.metrics import CALLS, PRIORITY_LATENCY, QUEUE_LATENCY, QUEUE_SIZE, Series
from assetbatch.domain.status import AssetState
from assetbatch.health import AssetHealth, Health, Severity
from assetbatch.views import facts
from assetbatch.views.terminal.sparkline import How, sparkline
from assetbatch.views.terminal.style import COLOURS, asset_table_price, share

BAR_WIDTH = 20
NARROW = 80
WIDE = 108
"""Minimum number of columns that leave room for what explains a state."""

COLUMNS = ("asset", "price", "day", "age", "behind", "bars", "market", "state")

COLUMNS_WIDTH = 76
"""Maximum width of these columns, the spaces between them included."""

ROWS = 40
"""Maximum number of assets that are all shown.

With more, those of a priority that are fresh become one line, and of any other state the first few are shown.
"""

FAILURES = 5
"""Maximum number of failures that are shown."""

SHOWN_OF_A_STATE = 3
"""Maximum number of assets that are shown of a state then."""


def render(
    health: Health,
    series: Mapping[str, Series],
    *,
    width: int = NARROW,
    plain: bool = False,
    rows: int = ROWS,
) -> RenderableType:
    """Return the whole page for a terminal of `width` columns.

    `plain` keeps to ASCII. More than `rows` assets are summed up by priority and state, the priority assets
    never.
    """
    parts: list[RenderableType] = [_headline(health), *_problems(health)]
    if health.assets:
        parts += [Text(), _assets(health.assets, width, rows)]
    parts += [Text(), _facts(health, plain)]
    day = _last_day(health, series, width, plain)
    if day.row_count:
        parts += [Text(), day]
    if health.cycles:
        parts += [Text(), _cycles(health)]
    if health.failures:
        parts += [Text(), _failures(health)]
    return Group(*parts)


def _headline(health: Health) -> Text:
    fresh = sum(asset.state.is_well for asset in health.assets)
    text = Text()
    text.append(health.status, style=f"bold {COLOURS[health.status]}")
    if not health.database_error:
        text.append(f"  {fresh} of {plural(len(health.assets), 'asset')} fresh")
    text.append(f"  {_minute(health.checked_at)}", style="dim")
    if health.plan["simulated"]:
        text.append("  (sandbox: simulated prices)", style="dim")
    return text


def _problems(health: Health) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for problem in facts.problems(health):
        colour = "red" if problem.severity is Severity.CRITICAL else "yellow"
        lines.append(_hanging(Text(f"! {problem.message}", style=colour)))
        if problem.hint:
            lines.append(_hanging(Text(f"  {problem.hint}")))
    for refusal in health.plan["refusals"]:
        lines.append(_hanging(Text(f"- {refusal}", style="dim")))
    if health.plan["refusals"]:
        lines.append(Text(f"  upgrade: {health.plan['upgrade_url']}", style="dim"))
    return lines


def _hanging(text: Text) -> RenderableType:
    """Return a line whose further lines stand below its words, not below its mark."""
    table = Table.grid(padding=0)
    table.add_column(width=2)
    table.add_column(overflow="fold")
    table.add_row(text[:2], text[2:])
    return table


def _assets(assets: Sequence[AssetHealth], width: int, rows: int) -> Table:
    wide = width >= WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    name, *figures, market, state = COLUMNS
    table.add_column(name, overflow="fold")  # a long name takes two lines, not room from the others
    for figure in figures:
        table.add_column(figure, justify="right", no_wrap=True)
    table.add_column(market, no_wrap=True)
    table.add_column(state, no_wrap=True)
    if wide:
        table.add_column("", no_wrap=True)
    room = width - COLUMNS_WIDTH if wide else 0
    for priority in AssetPriority:
        members = [asset for asset in assets if asset.priority is priority]
        if not members:
            continue
        table.add_row(Text(priority.value, style="dim"))
        if len(assets) <= rows or priority is AssetPriority.CRITICAL:
            shown, summed = members, Counter[AssetState]()
        else:
            shown, summed = _summed_up(members)
        for asset in shown:
            table.add_row(*_asset(asset, room))
        for left, count in summed.items():
            words = Text(left.label, style=COLOURS.get(left, "red"))
            table.add_row(Text(f"{count} more", style="dim"), *[""] * (len(COLUMNS) - 2), words)
    return table


def _summed_up(members: Sequence[AssetHealth]) -> tuple[list[AssetHealth], Counter[AssetState]]:
    """Return the first few of each state but fresh, and how many more are in each state."""
    shown, seen = [], Counter[AssetState]()
    for asset in members:
        seen[asset.state] += 1
        if asset.state is not AssetState.FRESH and seen[asset.state] <= SHOWN_OF_A_STATE:
            shown.append(asset)
    return shown, seen - Counter(asset.state for asset in shown)


def _asset(asset: AssetHealth, room: int) -> list[RenderableType]:
    """Return the cells of an asset; `room` is for how many characters of why."""
    change, age, lag = asset.change_percent, asset.age_seconds, asset.lag_seconds
    day = Text("" if change is None else f"{change:+.2f} %", style="red" if (change or 0) < 0 else "green")
    cells: list[RenderableType] = [
        Text(asset.symbol, style="bold" if asset.priority is AssetPriority.CRITICAL else ""),
        asset_table_price(asset.last_price),
        day,
        "-" if age is None else format_duration(round(age * 1000)),
        "-" if lag is None else format_duration(round(lag * 1000)) if lag else "0",
        share(asset.complete),
        asset.market,
        _state(asset),
    ]
    if not room:
        return cells
    why = asset.error or asset.reason
    return [*cells, Text(why if len(why) <= room else f"{why[: room - 3]}...", style="dim")]


def _state(asset: AssetHealth) -> Text:
    """Return the state, and the platform's own word if another program has written one."""
    text = Text(asset.state.label, style=COLOURS.get(asset.state, "red"))
    if asset.platform_status:
        text.append(f" ({asset.platform_status})", style="dim")
    return text


def _facts(health: Health, plain: bool) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("plan", facts.plan(health))
    table.add_row("calls", _window(health, plain))
    table.add_row("queue", facts.queue(health))
    for job in health.jobs:
        words = "never started"
        if job.last_started:
            words = f"started {_clock(job.last_started)}, {job.last_result}, next {_clock(job.next_run)}"
            if job.skipped:
                words += f", {plural(job.skipped, 'start')} skipped"
        table.add_row(job.id.label, words)
    return table


def _window(health: Health, plain: bool) -> str:
    limit, used = health.plan["limit"], health.window["used"]
    filled = round(BAR_WIDTH * min(used, limit) / limit)
    full, empty = "#." if plain else "█░"
    return f"{full * filled}{empty * (BAR_WIDTH - filled)} {facts.window(health)}"


def _last_day(health: Health, series: Mapping[str, Series], width: int, plain: bool) -> Table:
    """Return the last 24 hours as sparklines, each with its largest value."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    now_ms = to_ms(datetime.fromisoformat(health.checked_at))
    cells = 48 if width >= WIDE else 24
    rows: tuple[tuple[str, str, How], ...] = (
        ("calls, 24 h", CALLS, "sum"),
        ("queue", QUEUE_SIZE, "max"),
        ("run-priority", PRIORITY_LATENCY, "max"),
        ("run-queue", QUEUE_LATENCY, "max"),
    )
    for name, metric, how in rows:
        if metric not in series or not series[metric].points:
            continue
        values = [value for _, value in series[metric].points]
        if metric == CALLS:
            words = f"{plural(round(sum(values)), 'call')}, at most {max(values):g} in a minute"
        elif metric == QUEUE_SIZE:
            words = f"at most {max(values):g}"
        else:
            words = f"longest {max(values) / 1000:.1f} s"
        table.add_row(name, sparkline(series[metric], now_ms, cells, how, plain=plain), words)
    return table


def _cycles(health: Health) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("cycle", "left"), ("ago", "right"), ("took", "right"), ("result", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    table.add_column("", overflow="fold")
    for cycle in health.cycles[:6]:
        words = [f"{cycle[name]} {name}" for name in ("refreshed", "failed", "fresh") if cycle[name]]
        words.append(plural(cycle["calls"], "call"))
        table.add_row(
            cycle["command"].label,
            format_duration(round(cycle["age_seconds"] * 1000)),
            f"{cycle['duration_ms'] / 1000:.1f} s",
            Text(cycle["result"], style=COLOURS.get(cycle["result"], "red")),
            ", ".join(words),
        )
    return table


def _failures(health: Health) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("failed, 24 h", no_wrap=True)
    table.add_column("", overflow="fold")
    for one in health.failures[:FAILURES]:
        table.add_row(one.command.label, Text(facts.failure(one), style="dim"))
    return table


def _minute(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M UTC")


def _clock(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%H:%M:%S UTC")
