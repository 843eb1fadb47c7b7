"""What the papers say: their examples, links and quoted lines."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
TROUBLES = REPOSITORY / "docs" / "troubleshooting.md"

TOP = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
DOCS = sorted((REPOSITORY / "docs").glob("*.md"))
DECISIONS = sorted((REPOSITORY / "docs" / "decisions").glob("*.md"))
PAPERS = [*(REPOSITORY / name for name in TOP), *DOCS, *DECISIONS]
"""Every paper of the repository but those that lie beside scripts and tests."""


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language, in their order."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def prose(text: str) -> str:
    """Return the text without its fenced blocks."""
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def quoted() -> set[str]:
    """Return the lines of the program that the page of troubles quotes: its first columns."""
    page = TROUBLES.read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    lines = {line for cell in cells for line in re.findall(r"`([^`]+)`", cell)}
    return lines - {"-v", "doctor", "status", "behind"}  # where it is said


def shows(output: str, line: str) -> None:
    """Assert that the program printed a line as the page of troubles has it; … is any text."""
    assert line in quoted(), f"the page does not have {line!r}"
    pattern = ".+?".join(re.escape(piece) for piece in line.split("…"))
    assert re.search(pattern, " ".join(output.split())), output


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        count = found.get(name, 0)
        found[name] = count + 1
        names.add(f"{name}-{count}" if count else name)
    return names
