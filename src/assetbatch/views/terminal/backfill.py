"""Holes and backfills as tables, lines and JSON documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assetbatch.commands.backfill import BackfillReport
from assetbatch.commands.gaps import SymbolGaps
from assetbatch.domain.coverage import Hole, Reason
from assetbatch.domain.formatting import format_duration, iso, iso_or_none, moment, plural
from assetbatch.domain.units import MINUTE_MS
from assetbatch.views.terminal.style import share

REASONS = {
    Reason.CLOSED: "the market is closed",
    Reason.NOTHING: "the provider has nothing",
    Reason.NOT_IN_PLAN: "not in your plan",
    Reason.NOT_PUBLISHED: "not published yet; asked for when it is",
    Reason.FAILED: "no usable answer; asked again",
    Reason.REJECTED: "the database refuses the bars",
    Reason.NOT_ASKED: "not asked for yet",
}

_COLOURS = {Reason.FAILED: "red", Reason.NOT_ASKED: "yellow", Reason.NOT_PUBLISHED: "cyan"}


def _headline(symbol: SymbolGaps) -> str:
    if symbol.from_ms is None:
        return f"{symbol.symbol}: no bars were asked for yet"
    missing = sum(hole.bars for hole in symbol.holes)
    begin = f"since {moment(symbol.from_ms)}"
    return f"{symbol.symbol}: {share(symbol.complete)} complete, {plural(missing, 'bar')} missing {begin}"


def _why(hole: Hole) -> str:
    return f"{REASONS[hole.reason]} ({hole.error})" if hole.error else REASONS[hole.reason]


def hole_lines(found: Sequence[SymbolGaps]) -> Iterator[str]:
    """A line for each hole below one for its symbol."""
    for symbol in found:
        yield _headline(symbol)
        for hole in symbol.holes:
            days = f"{moment(hole.start_ms)} to {moment(hole.end_ms)}"
            yield f"{symbol.symbol}: {days}: {plural(hole.bars, 'bar')}: {_why(hole)}"


def render_holes(found: Sequence[SymbolGaps]) -> RenderableType:
    """A table of holes below a headline for each symbol."""
    parts: list[RenderableType] = []
    for symbol in found:
        parts.append(Text(_headline(symbol), style="bold"))
        if not symbol.holes:
            continue
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("from", no_wrap=True)
        table.add_column("to", no_wrap=True)
        table.add_column("bars", justify="right", no_wrap=True)
        table.add_column("why", overflow="fold")
        for hole in symbol.holes:
            table.add_row(
                moment(hole.start_ms),
                moment(hole.end_ms),
                f"{hole.bars:,}",
                Text(_why(hole), style=_COLOURS.get(hole.reason, "dim")),
            )
        parts.append(table)
    return Group(*parts)


def holes_document(symbol: SymbolGaps) -> dict[str, Any]:
    """One symbol of `holes --json`; moments are ISO 8601 in UTC."""
    return {
        "symbol": symbol.symbol,
        "from": iso_or_none(symbol.from_ms),
        "horizon": iso(symbol.visible_until_ms),
        "complete": None if symbol.complete is None else round(symbol.complete, 6),
        "missing_bars": sum(hole.bars for hole in symbol.holes),
        "holes": [
            {
                "from": iso(hole.start_ms),
                "to": iso(hole.end_ms),
                "bars": hole.bars,
                "reason": hole.reason.value,
                "asked": iso_or_none(hole.asked_ms),
                "error": hole.error,
            }
            for hole in symbol.holes
        ],
    }


def backfill_lines(report: BackfillReport, *, dry_run: bool) -> Iterator[str]:
    """A line for each symbol, then what was queued and when it will be done."""
    for symbol in report.symbols:
        if symbol.too_old_before_ms is not None:
            yield (
                f"{symbol.symbol}: before {moment(symbol.too_old_before_ms)} is older than your plan shows: "
                "left out"
            )
        words = f"{symbol.symbol}: {share(symbol.complete)} is there"
        if symbol.pages:
            days = f"{symbol.pages[-1][0]} to {symbol.pages[0][1]}"
            words += f"; {plural(len(symbol.pages), 'call')} for what is missing ({days})"
        yield words
    forecast = report.forecast
    if not any(symbol.pages for symbol in report.symbols):
        yield "nothing is missing"
        return
    if dry_run:
        yield "nothing was queued (--dry-run)"
    elif report.waiting_for_room:
        yield (
            f"{plural(report.queued, 'page')} queued, {report.waiting_for_room} wait for room: "
            "enqueue-secondary queues them"
        )
    else:
        yield f"{plural(report.queued, 'page')} queued; run-queue fetches them"
    takes = format_duration(round(forecast.minutes * MINUTE_MS))
    yield (
        f"{plural(forecast.calls, 'call')} ahead in all, about {takes} "
        f"at {forecast.calls_per_minute:g} a minute, done at {moment(forecast.done_ms)}"
    )


def backfill_document(report: BackfillReport) -> dict[str, Any]:
    """`backfill --json`; days are New York days, moments ISO 8601 in UTC."""
    return {
        "symbols": [
            {
                "symbol": symbol.symbol,
                "complete": round(symbol.complete, 6),
                "calls": len(symbol.pages),
                "pages": [{"from": first, "to": last} for first, last in symbol.pages],
                "too_old_before": iso_or_none(symbol.too_old_before_ms),
            }
            for symbol in report.symbols
        ],
        "queued": report.queued,
        "waiting_for_room": report.waiting_for_room,
        "forecast": {
            "calls": report.forecast.calls,
            "calls_per_minute": report.forecast.calls_per_minute,
            "minutes": report.forecast.minutes,
            "done": iso(report.forecast.done_ms),
        },
    }
