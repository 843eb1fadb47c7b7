"""Doctor's findings, a line each, with what to do below."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from assetbatch.doctor.findings import Finding, Level, worst

_MARKS = {Level.OK: ("ok", "green"), Level.WARNING: ("look", "yellow"), Level.ERROR: ("wrong", "red")}
_VERDICTS = {
    Level.OK: "all is well",
    Level.WARNING: "it works; see what is marked",
    Level.ERROR: "it does not work like this; begin with the first that is wrong",
}


def render(findings: Sequence[Finding]) -> RenderableType:
    """Return all findings in their order, the name of each check once."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for finding in findings:
        mark, colour = _MARKS[finding.level]
        name = finding.check if finding.check != before else ""
        before = finding.check
        table.add_row(Text(mark, style=colour), Text(name, style="bold"), Text(finding.message))
        if finding.hint:
            table.add_row("", "", Text(f"-> {finding.hint}", style=colour))
    table.add_row("", "", "")
    table.add_row("", "", Text(_VERDICTS[worst(findings)], style="bold"))
    return table
