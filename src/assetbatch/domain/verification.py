"""What is verified of the stored bars: which page is asked for again, and what the comparisons have shown.

The provider mends silently what it left out or had wrong. Only another request for the same bars shows it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

import msgspec

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import ANSWERED, answered
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.market_hours import day_of, open_ms_between, start_of_day
from assetbatch.domain.models import (
    Comparison,
    CoveredInterval,
    IntervalState,
    Look,
    StoredAsset,
    floor_to_bar,
)
from assetbatch.domain.pages import SURE
from assetbatch.domain.pauses import nothing_pause_ms
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS
from assetbatch.domain.work import Work, WorkKind, days_range

SETTLED_MS = 7 * DAY_MS
"""Minimum age of bars that are verified, and minimum time between two requests for the same bars."""

RECENT_MS = 90 * DAY_MS
"""Time for which stored bars count as verified."""

DOUBTED_SHARE = 0.01
"""Share of the compared bars of a symbol that may differ. Beyond it all of the symbol is asked for again."""

DOUBTED_FROM = 100
"""Minimum number of compared bars of which a share says something."""


# --- what is recorded ---


class Verified(msgspec.Struct, frozen=True, array_like=True):
    """What is known of the answered bars that start within `[start_ms, end_ms)`; those of a symbol never
    overlap.

    `compared` and `differed` are of the last answer, `changed` and what follows of all so far, `nothing` and
    `checks` say how many intervals of open time have no bar, and how many answers in a row have said so.
    `verified_ms` is None as long as no answer was usable.
    """

    start_ms: int
    end_ms: int
    tried_ms: int
    verified_ms: int | None = None
    compared: int = 0
    differed: int = 0
    changed: int = 0
    appeared: int = 0
    vanished: int = 0
    largest: float = 0.0
    nothing: int = 0
    checks: int = 0


def record(rows: Sequence[Verified], look: Look, found: Comparison) -> list[Verified]:
    """Return the ascending rows after an answer; `found` is what its comparison has shown.

    An answer of no use leaves what is known, and the moment.
    """
    touched = [row for row in rows if row.start_ms < look.end_ms and look.start_ms < row.end_ms]
    after = [row for row in rows if row not in touched]
    inside: list[Verified] = []
    for row in touched:
        for start_ms, end_ms in ((row.start_ms, look.start_ms), (look.end_ms, row.end_ms)):
            if start_ms < end_ms:
                after.append(_part(row, start_ms, end_ms))
        inside.append(_part(row, max(row.start_ms, look.start_ms), min(row.end_ms, look.end_ms)))
    if look.usable:
        after.append(_seen(inside, look, found))
    else:
        known = [msgspec.structs.replace(row, tried_ms=look.at_ms) for row in inside]
        after += known + [Verified(*gap, look.at_ms) for gap in _outside(inside, look.start_ms, look.end_ms)]
    return sorted(after, key=lambda row: row.start_ms)


def _part(row: Verified, start_ms: int, end_ms: int) -> Verified:
    """Return a part of a row. What was counted stays with the part at its start."""
    if (start_ms, end_ms) == (row.start_ms, row.end_ms):
        return row
    part = msgspec.structs.replace(row, start_ms=start_ms, end_ms=end_ms)
    if start_ms == row.start_ms:
        return part
    return msgspec.structs.replace(
        part, compared=0, differed=0, changed=0, appeared=0, vanished=0, largest=0.0
    )


def _seen(before: Sequence[Verified], look: Look, found: Comparison) -> Verified:
    nothing = max(0, look.room - found.slots)
    is_new = found.appeared or any(True for _ in _outside(before, look.start_ms, look.end_ms))
    checks = 0 if is_new else min((row.checks for row in before), default=0)
    return Verified(
        start_ms=look.start_ms,
        end_ms=look.end_ms,
        tried_ms=look.at_ms,
        verified_ms=look.at_ms,
        compared=0 if look.insisted else found.compared,
        differed=0 if look.insisted else found.differed,
        changed=found.changed + sum(row.changed for row in before),
        appeared=found.appeared + sum(row.appeared for row in before),
        vanished=found.vanished + sum(row.vanished for row in before),
        largest=max([found.largest, *(row.largest for row in before)]),
        nothing=nothing,
        checks=checks + 1,
    )


def _outside(rows: Iterable[Verified], start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of `[start_ms, end_ms)` in which none of the ascending rows lies."""
    at_ms = start_ms
    for row in rows:
        if row.start_ms < end_ms and start_ms < row.end_ms:
            if at_ms < row.start_ms:
                yield at_ms, row.start_ms
            at_ms = max(at_ms, row.end_ms)
    if at_ms < end_ms:
        yield at_ms, end_ms


# --- what is known ---


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a symbol in all: for how long (ms) its bars reach that were verified within 90 days;
    what has differed so far; and, since everything was last asked for again (at `asked_again_ms`), how many
    bars were compared and how many of them differed."""

    verified_ms: int = 0
    changed: int = 0
    appeared: int = 0
    vanished: int = 0
    largest: float = 0.0
    compared: int = 0
    differed: int = 0
    asked_again_ms: int | None = None

    def share_of(self, coverage: Iterable[CoveredInterval]) -> float | None:
        """Return the share (0 to 1) of what was answered that is verified; None if nothing was."""
        total_ms = answered_ms(coverage)
        return min(1.0, self.verified_ms / total_ms) if total_ms else None

    @property
    def is_doubted(self) -> bool:
        """Whether too much of it differs."""
        return is_doubted(self.compared, self.differed)


def answered_ms(coverage: Iterable[CoveredInterval]) -> int:
    """Return for how long (ms) the answered intervals reach."""
    return sum(one.end_ms - one.start_ms for one in coverage if one.state in ANSWERED)


def is_doubted(compared: int, differed: int) -> bool:
    """Return whether so much of what was compared differs that everything else is doubted too."""
    return compared >= DOUBTED_FROM and differed > DOUBTED_SHARE * compared


def sampled(rows: Iterable[Verified], asked_again_ms: int | None) -> tuple[int, int]:
    """Return how many bars were compared since everything was last asked for again, and how many of them
    differed."""
    since = [row for row in rows if row.verified_ms is not None and row.verified_ms > (asked_again_ms or 0)]
    return sum(row.compared for row in since), sum(row.differed for row in since)


def to_doubt(
    coverage: Sequence[CoveredInterval],
    rows: Sequence[Verified],
    asked_again_ms: int | None,
    now_ms: int,
) -> list[CoveredInterval]:
    """Return what the coverage is to say of a symbol of which too much differs: all is wanted again that was
    not verified just now. Return nothing of any other symbol."""
    if not coverage or not is_doubted(*sampled(rows, asked_again_ms)):
        return []
    fresh = [row for row in rows if row.verified_ms is not None and row.verified_ms > now_ms - SETTLED_MS]
    return [
        CoveredInterval(start_ms, end_ms, IntervalState.AGAIN)
        for part in answered(coverage, coverage[0].start_ms, coverage[-1].end_ms)
        for start_ms, end_ms in _outside(fresh, part.start_ms, part.end_ms)
        if _is_ours(part)
    ]


def _is_ours(part: CoveredInterval) -> bool:
    """Return whether bars came that were asked for. Those that another program has stored are left alone, and
    what is wanted again is asked for anyway."""
    return part.state is IntervalState.ASKED and part.asked_ms is not None


# --- what is asked for again ---


class Wanted(NamedTuple):
    """The page of an asset that is to be verified next; of two the lesser comes first."""

    rank: int
    """0 where an interval without a bar is due, else 1."""
    since_ms: int
    """Since when that is due, or when the bars were last asked for."""
    first_day: date
    last_day: date


class _Piece(NamedTuple):
    """A piece of answered bars with one history of requests."""

    start_ms: int
    end_ms: int
    tried_ms: int
    nothing_due_ms: int | None


def next_page(
    market: Market,
    coverage: Sequence[CoveredInterval],
    rows: Sequence[Verified],
    bounds: tuple[int, int],
    now_ms: int,
    *,
    pause_ms: int = SETTLED_MS,
) -> Wanted | None:
    """Return the page within `bounds` (`[start_ms, end_ms)`) that is to be verified next; None where none is
    due.

    It is the one where an interval without a bar has been due for longest, else the one that was asked for
    least recently, if `pause_ms` are over since. It goes as far as a page is sure to come whole, over
    whatever else was answered: what a longer page left out would look as if it had vanished.
    """
    ranked = [
        (ranks, piece)
        for piece in _pieces(coverage, rows, *bounds)
        if (ranks := _rank(piece, now_ms, pause_ms)) and open_ms_between(market, piece.start_ms, piece.end_ms)
    ]
    if not ranked:
        return None
    (rank, since_ms), piece = min(ranked, key=lambda one: (one[0], one[1].start_ms))
    first = day_of(piece.start_ms)
    page_end_ms = min(bounds[1], start_of_day(SURE.last_day(market, first) + timedelta(days=1)))
    end_ms = piece.end_ms
    for part in _within(coverage, piece.start_ms, page_end_ms):
        is_others = part.state is IntervalState.ASKED and part.asked_ms is None
        if is_others or part.state in (IntervalState.NOT_IN_PLAN, IntervalState.NOT_WANTED):
            break
        if part.state is IntervalState.ASKED:
            end_ms = max(end_ms, part.end_ms)
    return Wanted(rank, since_ms, first, day_of(min(end_ms, page_end_ms) - 1))


def _within(coverage: Sequence[CoveredInterval], start_ms: int, end_ms: int) -> Iterator[CoveredInterval]:
    """Yield the intervals of the coverage that lie within `[start_ms, end_ms)`, cut at its end."""
    for one in coverage:
        if one.end_ms > start_ms and one.start_ms < end_ms:
            yield msgspec.structs.replace(one, end_ms=min(one.end_ms, end_ms))


def _pieces(
    coverage: Sequence[CoveredInterval], rows: Sequence[Verified], start_ms: int, end_ms: int
) -> Iterator[_Piece]:
    for part in answered(coverage, start_ms, coverage[-1].end_ms if coverage else start_ms):
        if not _is_ours(part):
            continue
        for from_ms, to_ms in _outside(rows, part.start_ms, part.end_ms):
            # The coverage knows when the oldest of it was asked for. What grows is verified by the week.
            tried_ms = max(part.asked_ms or 0, min(to_ms, from_ms + SETTLED_MS))
            if from_ms < end_ms:
                yield _Piece(from_ms, min(to_ms, end_ms), tried_ms, None)
        for row in rows:
            from_ms, to_ms = max(row.start_ms, part.start_ms), min(row.end_ms, part.end_ms, end_ms)
            if from_ms < to_ms:
                yield _Piece(from_ms, to_ms, row.tried_ms, _nothing_due_ms(row))


def _nothing_due_ms(row: Verified) -> int | None:
    if not row.nothing:
        return None
    return row.tried_ms + nothing_pause_ms(row.checks)


def _rank(piece: _Piece, now_ms: int, pause_ms: int) -> tuple[int, int] | None:
    if piece.nothing_due_ms is not None and piece.nothing_due_ms <= now_ms:
        return 0, piece.nothing_due_ms
    return (1, piece.tried_ms) if piece.tried_ms <= now_ms - pause_ms else None


def pages_to_verify(
    assets: Sequence[Asset],
    stored: Mapping[str, StoredAsset],
    rows: Mapping[str, Sequence[Verified]],
    known: Entitlements,
    now_ms: int,
    *,
    pause_ms: int = SETTLED_MS,
) -> Iterator[Work]:
    """Yield the pages that are to be verified now, the most urgent first, each once.

    They lie within the history of the plan and are at least a week old. What the provider does not know or
    the plan does not show is left out.
    """
    state = {asset.symbol: list(rows.get(asset.symbol, ())) for asset in assets}
    waiting: list[tuple[Wanted, int]] = []

    def put(number: int) -> None:
        asset = assets[number]
        wanted = next_page(
            asset.market,
            stored[asset.symbol].coverage,
            state[asset.symbol],
            (known.history_from_ms(asset.asset_type, now_ms), floor_to_bar(now_ms - SETTLED_MS)),
            now_ms,
            pause_ms=pause_ms,
        )
        if wanted:
            heapq.heappush(waiting, (wanted, number))

    for number, asset in enumerate(assets):
        if may_verify(asset, stored.get(asset.symbol), known, now_ms):
            put(number)
    while waiting:
        wanted, number = heapq.heappop(waiting)
        work = Work(assets[number], WorkKind.VERIFY, wanted.first_day, wanted.last_day)
        yield work
        symbol = assets[number].symbol
        tried = Look(*days_range(work), now_ms + 1, usable=False)  # not again in this run
        state[symbol] = record(state[symbol], tried, Comparison())
        put(number)


def may_verify(asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> bool:
    """Return whether bars of an asset can be asked for again."""
    if not asset.bars or stored is None or not stored.coverage:
        return False
    if stored.has_ended or stored.sync_status in (Status.NOT_FOUND, Status.NOT_ENTITLED):
        return False
    return known.intraday(asset.asset_type, now_ms, asset.polygon_ticker)
