"""What docs/it-does-not-work.md says that the program says."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "it-does-not-work.md"


def quoted() -> set[str]:
    """What stands in backticks in the first column of the page's tables: what the program says."""
    page = PAGE.read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    lines = {line for cell in cells for line in re.findall(r"`([^`]+)`", cell)}
    return lines - {"-v", "doctor", "status", "behind"}  # where it is said


def shows(output: str, line: str) -> None:
    """That the line, as the page has it, stands in what the program printed; … is any text."""
    assert line in quoted(), f"the page does not have {line!r}"
    pattern = ".+?".join(re.escape(piece) for piece in line.split("…"))
    assert re.search(pattern, " ".join(output.split())), output
