"""What was verified, as lines and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from assetbatch.commands.verify import SymbolVerified, VerifyReport, differences
from assetbatch.domain.formatting import plural


def lines(report: VerifyReport, *, dry_run: bool) -> Iterator[str]:
    """Yield a line for each symbol of which something was asked for, then what is left."""
    shown = [symbol for symbol in report.symbols if symbol.pages]
    if not shown and not report.ended_because:
        yield "nothing is stored that could be verified"
    for symbol in shown:
        days = f"{plural(len(symbol.pages), 'page')} ({_days(symbol)})"
        if dry_run:
            yield f"{symbol.symbol}: {days} would be asked for"
            continue
        told = list(differences(symbol))
        if not symbol.found.differed and (symbol.found.compared or not symbol.errors):
            yield f"{symbol.symbol}: {plural(symbol.found.compared, 'bar')} compared, all equal; {days}"
        elif symbol.found.differed:
            told[0] = f"{told[0]}; {days}"
        yield from told
    if not dry_run:
        words = f"{plural(report.calls, 'call')} made"
        if report.pages_left:
            words += f", {plural(report.pages_left, 'page')} left"
        yield f"{words}; it ended: {report.ended_because}" if report.ended_because else words
    elif report.pages_left:
        yield f"{plural(report.pages_left, 'more page')} left"


def _days(symbol: SymbolVerified) -> str:
    first, last = min(days[0] for days in symbol.pages), max(days[1] for days in symbol.pages)
    return f"{first} to {last}"


def document(report: VerifyReport) -> dict[str, Any]:
    """Return `verify --json`; days are New York days."""
    return {
        "symbols": [
            {
                "symbol": symbol.symbol,
                "pages": [{"from": first, "to": last} for first, last in symbol.pages],
                "compared": symbol.found.compared,
                "changed": symbol.found.changed,
                "appeared": symbol.found.appeared,
                "vanished": symbol.found.vanished,
                "largest_difference": symbol.found.largest,
                "asked_again": symbol.doubted,
                "errors": symbol.errors,
            }
            for symbol in report.symbols
        ],
        "calls": report.calls,
        "pages_left": report.pages_left,
        "ended_because": report.ended_because,
        "error": report.error,
    }
