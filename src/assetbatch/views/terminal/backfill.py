"""Gaps and backfills as tables, lines and JSON documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assetbatch.commands.backfill import BackfillReport, TakenBack
from assetbatch.commands.gaps import SymbolGaps
from assetbatch.domain.coverage import Gap, GapReason
from assetbatch.domain.formatting import format_duration, iso, iso_or_none, listed, moment, plural
from assetbatch.domain.units import MINUTE_MS
from assetbatch.health import Verification
from assetbatch.views.facts import differences
from assetbatch.views.terminal.style import share

SYMBOLS_SHOWN = 50
"""Maximum number of symbols that have a line of their own."""

REASONS = {
    GapReason.CLOSED: "the market is closed",
    GapReason.NOTHING: "the provider has nothing",
    GapReason.HALTED_OR_THIN: "halted or thin: the provider has nothing",
    GapReason.NOT_IN_PLAN: "not in your plan",
    GapReason.NOT_LISTED: "the stock was not listed then",
    GapReason.NOT_PUBLISHED: "not published yet; asked for when it is",
    GapReason.FAILED: "no usable answer; asked again",
    GapReason.REJECTED: "the database refuses the bars",
    GapReason.NOT_ASKED: "not asked for yet",
    GapReason.NOT_WANTED: "its backfill was taken back",
}

_COLOURS = {GapReason.FAILED: "red", GapReason.NOT_ASKED: "yellow", GapReason.NOT_PUBLISHED: "cyan"}


def _headline(symbol: SymbolGaps) -> str:
    if symbol.from_ms is None:
        return f"{symbol.symbol}: no bars were asked for yet"
    late = sum(gap.bars for gap in symbol.gaps if gap.reason is GapReason.NOT_PUBLISHED)
    missing = sum(gap.bars for gap in symbol.gaps) - late
    begin = f"since {moment(symbol.from_ms)}"
    words = f"{symbol.symbol}: {share(symbol.complete)} complete, {plural(missing, 'bar')} missing {begin}"
    words += f", {late:,} not published yet" if late else ""
    if not symbol.verified:
        return words
    known = Verification(
        changed=symbol.tally.changed,
        appeared=symbol.tally.appeared,
        vanished=symbol.tally.vanished,
        largest_difference=symbol.tally.largest,
    )
    return f"{words}; {share(symbol.verified)} verified within 90 days, {differences(known)}"


def _why(gap: Gap) -> str:
    details = gap.error or gap.holiday
    return f"{REASONS[gap.reason]} ({details})" if details else REASONS[gap.reason]


def gap_lines(found: Sequence[SymbolGaps]) -> Iterator[str]:
    """Yield a line for each gap below one for its symbol."""
    for symbol in found:
        yield _headline(symbol)
        for gap in symbol.gaps:
            days = f"{moment(gap.start_ms)} to {moment(gap.end_ms)}"
            yield f"{symbol.symbol}: {days}: {plural(gap.bars, 'bar')}: {_why(gap)}"


def render_gaps(found: Sequence[SymbolGaps]) -> RenderableType:
    """Return a table of gaps below a headline for each symbol."""
    parts: list[RenderableType] = []
    for symbol in found:
        parts.append(Text(_headline(symbol), style="bold"))
        if not symbol.gaps:
            continue
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("from", no_wrap=True)
        table.add_column("to", no_wrap=True)
        table.add_column("bars", justify="right", no_wrap=True)
        table.add_column("why", overflow="fold")
        for gap in symbol.gaps:
            table.add_row(
                moment(gap.start_ms),
                moment(gap.end_ms),
                f"{gap.bars:,}",
                Text(_why(gap), style=_COLOURS.get(gap.reason, "dim")),
            )
        parts.append(table)
    return Group(*parts)


def gaps_document(symbol: SymbolGaps) -> dict[str, Any]:
    """Return one symbol of `holes --json`; moments are ISO 8601 in UTC."""
    return {
        "symbol": symbol.symbol,
        "from": iso_or_none(symbol.from_ms),
        "horizon": iso(symbol.visible_until_ms),
        "complete": None if symbol.complete is None else round(symbol.complete, 6),
        "missing_bars": sum(gap.bars for gap in symbol.gaps),
        "verified": None if symbol.verified is None else round(symbol.verified, 6),
        "changed": symbol.tally.changed,
        "appeared": symbol.tally.appeared,
        "vanished": symbol.tally.vanished,
        "largest_difference": symbol.tally.largest,
        "holes": [
            {
                "from": iso(gap.start_ms),
                "to": iso(gap.end_ms),
                "bars": gap.bars,
                "reason": gap.reason.value,
                "asked": iso_or_none(gap.asked_ms),
                "error": gap.error,
                "holiday": gap.holiday,
            }
            for gap in symbol.gaps
        ],
    }


def plan_lines(report: BackfillReport) -> Iterator[str]:
    """Yield what the plan does not show, before any call is counted; then a line for each symbol."""
    yield from _beyond_the_plan(report)
    purpose = "to ask for all of it" if report.again else "for what is missing"
    for symbol in report.symbols[:SYMBOLS_SHOWN]:
        words = f"{symbol.symbol}: {share(symbol.complete)} is there"
        if symbol.refused:
            words += "; your plan has no bars of it now"
        elif symbol.pages:
            words += f"; {plural(len(symbol.pages), 'call')} {purpose} ({_days(symbol.pages)})"
        yield words
    if others := report.symbols[SYMBOLS_SHOWN:]:
        calls = sum(len(symbol.pages) for symbol in others)
        yield f"{plural(len(others), 'more symbol')}: {plural(calls, 'call')} {purpose}"


def _beyond_the_plan(report: BackfillReport) -> Iterator[str]:
    too_old: dict[int, list[str]] = {}
    for symbol in report.symbols:
        if symbol.too_old_before_ms is not None:
            too_old.setdefault(symbol.too_old_before_ms, []).append(symbol.symbol)
    for before_ms, symbols in too_old.items():
        yield f"{listed(symbols)}: before {moment(before_ms)} is older than your plan shows: left out"
    if report.expected_from_ms is not None and any(symbol.doubtful_pages for symbol in report.symbols):
        yield (
            f"before {moment(report.expected_from_ms)} is older than your plan is expected to show: one call "
            "for each asset class finds out, and nothing of it is counted here"
        )


def _days(pages: Sequence[tuple[date, date]]) -> str:
    """Return the first and the last day of pages, of which the newest come first."""
    return f"{pages[-1][0]} to {pages[0][1]}"


def queued_lines(report: BackfillReport, *, dry_run: bool) -> Iterator[str]:
    """Yield what was queued, and when it will be done."""
    forecast = report.forecast
    if not any(symbol.pages or symbol.doubtful_pages for symbol in report.symbols):
        yield "nothing is missing"
        return
    if dry_run:
        yield "nothing was queued (--dry-run)"
    else:
        new = report.queued - report.queued_before
        words = f"{plural(new, 'page')} queued" if new or not report.queued else "no new page to queue"
        if report.queued_before:
            words += f", {report.queued_before} in the queue already"
        yield f"{words}; run-queue fetches them"
        if doubtful := sum(len(symbol.doubtful_pages) for symbol in report.symbols):
            yield f"{plural(doubtful, 'older page')} besides; the first refusal of a class ends them all"
        if report.waiting_for_room:
            yield (
                f"{plural(report.waiting_for_room, 'more page')} will be queued by enqueue-secondary: "
                "pages of the past fill at most half of the queue"
            )
    yield (
        f"{plural(forecast.calls, 'call')} ahead in all, about {takes(report)} "
        f"at {forecast.calls_per_minute:g} a minute, done at {moment(forecast.done_ms)}"
    )


def takes(report: BackfillReport) -> str:
    """Return how long all calls ahead will take, in words."""
    return format_duration(round(report.forecast.minutes * MINUTE_MS))


def taken_back_lines(done: TakenBack, *, dry_run: bool) -> Iterator[str]:
    """Yield a line for each symbol of which something is taken back, then what became of the queue."""
    found = [(symbol, pages) for symbol, pages in done.symbols.items() if pages]
    if not found:
        yield "nothing is missing that could be taken back"
        return
    verb = "would be taken back" if dry_run else "taken back"
    for symbol, pages in found[:SYMBOLS_SHOWN]:
        yield f"{symbol}: {plural(len(pages), 'call')} {verb} ({_days(pages)})"
    if others := found[SYMBOLS_SHOWN:]:
        calls = sum(len(pages) for _, pages in others)
        yield f"{plural(len(others), 'more symbol')}: {plural(calls, 'call')} {verb}"
    if dry_run:
        yield "nothing was taken back (--dry-run)"
        return
    words = f"{plural(len(done.queue.cancelled), 'page')} taken out of the queue"
    if done.queue.leased:
        words += f", {len(done.queue.leased)} being worked now and stored"
    yield f"{words}; backfill --from asks for them again"


def taken_back_document(done: TakenBack) -> dict[str, Any]:
    """Return `backfill --cancel --json`; days are New York days."""
    return {
        "symbols": [
            {"symbol": symbol, "calls": len(pages), "pages": _pages(pages)}
            for symbol, pages in done.symbols.items()
        ],
        "cancelled": done.queue.cancelled,
        "leased": done.queue.leased,
    }


def _pages(pages: Sequence[tuple[date, date]]) -> list[dict[str, date]]:
    return [{"from": first, "to": last} for first, last in pages]


def backfill_document(report: BackfillReport) -> dict[str, Any]:
    """Return `backfill --json`; days are New York days, moments ISO 8601 in UTC."""
    return {
        "symbols": [
            {
                "symbol": symbol.symbol,
                "complete": round(symbol.complete, 6),
                "calls": len(symbol.pages),
                "new_calls": symbol.new_pages,
                "doubtful_calls": len(symbol.doubtful_pages),
                "pages": _pages(symbol.pages),
                "too_old_before": iso_or_none(symbol.too_old_before_ms),
            }
            for symbol in report.symbols
        ],
        "plan_shows_from": iso_or_none(report.expected_from_ms),
        "queued": report.queued,
        "queued_before": report.queued_before,
        "waiting_for_room": report.waiting_for_room,
        "forecast": {
            "calls": report.forecast.calls,
            "calls_per_minute": report.forecast.calls_per_minute,
            "minutes": report.forecast.minutes,
            "done": iso(report.forecast.done_ms),
        },
    }
