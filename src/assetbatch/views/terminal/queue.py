"""What is in the queue as a table, lines and JSON documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from assetbatch.commands.queue_items import QueueEntry
from assetbatch.domain.formatting import ago, format_duration, iso, iso_or_none, plural
from assetbatch.domain.item_words import work_in_words
from assetbatch.domain.queueing import Cancelled, ItemState
from assetbatch.domain.work import WorkKind, parse_work_id

if TYPE_CHECKING:  # rich is loaded for a table only
    from rich.console import RenderableType

SHOWN = 50
"""Maximum number of items that people get to see if they do not ask for all."""

NAMED = 3
"""Maximum number of symbols that a command for them is told with."""


def attempts(entry: QueueEntry, max_attempts: int) -> str:
    """Return `0 of 3`: how many attempts were made, or begun."""
    return f"{entry.item.attempts} of {max_attempts}"


def turn(entry: QueueEntry, now_ms: int) -> str:
    """Return when the turn of an item is, in words."""
    if entry.item.state is ItemState.LEASED:
        return "now"
    if entry.turn_ms is None:
        return "when run-queue is started"
    if entry.turn_ms <= now_ms:
        return "at once"
    return f"in {format_duration(entry.turn_ms - now_ms)}"


def reason(entry: QueueEntry, now_ms: int) -> str:
    """Return why an item is where it is, in words."""
    item = entry.item
    if item.state is ItemState.LEASED:
        return f"being worked; its lease ends in {format_duration((item.until_ms or now_ms) - now_ms)}"
    if item.error is not None:
        return f"last failure {ago(now_ms - (item.failed_ms or now_ms))}: {item.error}"
    return "not asked for yet"


def lines(entries: Sequence[QueueEntry], now_ms: int, max_attempts: int, most: int | None) -> Iterator[str]:
    """Yield a line for each item, for at most `most` of them (None: all)."""
    for entry in entries[:most]:
        item = entry.item
        age = format_duration(now_ms - item.enqueued_us // 1000)
        work = f"{work_in_words(item.id)} ({item.lane})"
        if item.state is ItemState.DELAYED:
            used = f"{attempts(entry, max_attempts)} attempts used"
            yield f"{work}: tried again {turn(entry, now_ms)}; {reason(entry, now_ms)}; {used}"
            continue
        yield (
            f"{work}: {item.state} for {age}, "
            f"{attempts(entry, max_attempts)} attempts, turn {turn(entry, now_ms)}: {reason(entry, now_ms)}"
        )
    if more := _more(entries, most):
        yield more


def render(entries: Sequence[QueueEntry], now_ms: int, max_attempts: int, most: int | None) -> RenderableType:
    """Return a table of at most `most` items (None: all)."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", justify="right", style="dim")
    table.add_column("work", overflow="fold")
    table.add_column("line", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("tries", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("turn", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for entry in entries[:most]:
        item = entry.item
        table.add_row(
            str(entry.place or ""),
            work_in_words(item.id),
            item.lane,
            item.state,
            attempts(entry, max_attempts),
            format_duration(now_ms - item.enqueued_us // 1000),
            turn(entry, now_ms),
            reason(entry, now_ms),
        )
    if more := _more(entries, most):
        table.caption, table.caption_justify = more, "left"
    return table


def _more(entries: Sequence[QueueEntry], most: int | None) -> str:
    left = len(entries) - len(entries[:most])
    return f"and {plural(left, 'more item')}; --all shows them" if left else ""


def document(entry: QueueEntry, now_ms: int) -> dict[str, Any]:
    """Return one element of `queue list --json`; moments are ISO 8601 in UTC."""
    item = entry.item
    symbol, kind, first, last = parse_work_id(item.id)
    enqueued_ms = item.enqueued_us // 1000
    return {
        "id": item.id,
        "symbol": symbol or None,
        "kind": kind,
        "first_day": first,
        "last_day": last,
        "line": item.lane,
        "state": item.state,
        "attempts": item.attempts,
        "enqueued": iso(enqueued_ms),
        "age_seconds": round((now_ms - enqueued_ms) / 1000, 1),
        "place": entry.place,
        "turn": iso_or_none(entry.turn_ms),
        "lease_ends": iso_or_none(item.until_ms if item.state is ItemState.LEASED else None),
        "failed": iso_or_none(item.failed_ms),
        "error": item.error,
        "reason": reason(entry, now_ms),
    }


def cancelled_line(done: Cancelled) -> str:
    """Return what became of items that were to be taken out of the queue."""
    words = [f"{plural(len(done.cancelled), 'item')} taken out of the queue"]
    if done.leased:
        words.append(f"{len(done.leased)} being worked now and left alone")
    if done.unknown:
        words.append(f"{len(done.unknown)} done meanwhile")
    again = "; enqueue-secondary queues what is due again" if done.cancelled else ""
    pages = [work for work in map(parse_work_id, done.cancelled) if work.kind is WorkKind.HISTORY]
    if pages:
        symbols = list(dict.fromkeys(work.symbol for work in pages))
        which = " ".join(symbols) if len(symbols) <= NAMED else "SYMBOL"
        again += (
            f", also the {plural(len(pages), 'page')} of the past: "
            f"assetbatch backfill {which} --cancel takes them back for good"
        )
    return ", ".join(words) + again
