"""Which assets are due, and the fewest calls that refresh them. Pure: the time comes in as an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import msgspec

from assetbatch.domain.assets import Asset, AssetType
from assetbatch.domain.coverage import asked_to, newest_pages, open_stretches
from assetbatch.domain.entitlements import DAY_MS, DOUBTED_MS, HOUR_MS, Entitlements, KnownRefusal, Lack
from assetbatch.domain.formatting import ago, moment, plural, span
from assetbatch.domain.market_hours import day_of, last_midnight, last_open, open_ms_between, start_of_day
from assetbatch.domain.models import BAR_MS, SNAPSHOT_TICKERS, Span, SpanFault, SpanState, StoredAsset

PAGE_DAYS = 34
PAGE_MS = PAGE_DAYS * DAY_MS
"""What one page of 5-minute bars can hold: 50,000 base minutes are 34 days of a market that never closes."""

JITTER_MS = 30_000
"""Cron does not start on the millisecond: an asset is due this much before its frequency is over."""

NOT_FOUND_AGAIN_MS = 24 * HOUR_MS
NOT_ENTITLED_AGAIN_MS = 24 * HOUR_MS
NO_DATA_AGAIN_MS = 6 * HOUR_MS

FAILED_AGAIN_MS = 6 * HOUR_MS
"""When a hole that a failed call has left is asked for again, beyond the queue's own retries."""

UNUSABLE_AGAIN_AT_MOST_MS = 30 * DAY_MS
"""The longest pause until a slot is asked for again whose bar was of no use: the vendor seldom mends one."""

REJECTED_AGAIN_MS = HOUR_MS
REJECTED_AGAIN_AT_MOST_MS = 24 * HOUR_MS
"""The first and the longest pause until something is asked for again that the database has refused; between
them the pauses double. `init` ends them."""

BARS_AGAIN_MS = HOUR_MS // 2
"""When the latest bars whose calls have failed are queued again."""

FINAL_AFTER_MS = HOUR_MS
"""An answer so long after a market's close that brings nothing newer is the last word until it opens."""


class WorkKind(StrEnum):
    """What an item of the queue asks for."""

    PRICE = "price"
    BARS = "bars"
    """The latest bars, where a snapshot brings the price only."""
    HISTORY = "history"
    """A page of bars of the past."""


_PREFIXES = tuple(f"{kind.value}:" for kind in WorkKind)
_PRICE = WorkKind.PRICE  # a member of an enum is looked up by Python code, which thousands of assets feel


class Work(msgspec.Struct, frozen=True):
    """A price to refresh, the bars that a snapshot does not bring, or the bars of some New York days of the
    past: `first_day` to `last_day`, both inclusive, for HISTORY only."""

    asset: Asset
    kind: WorkKind = WorkKind.PRICE
    first_day: date | None = None
    last_day: date | None = None

    @property
    def id(self) -> str:
        """Its id in the queue: `SYMBOL`, `bars:SYMBOL` or `history:SYMBOL:2024-11-01:2024-12-04`.

        A symbol may hold colons: one that begins like such an id has `price:` before it.
        """
        symbol = self.asset.symbol
        if self.kind is _PRICE:
            return f"price:{symbol}" if symbol.startswith(_PREFIXES) else symbol
        if self.kind is WorkKind.BARS:
            return f"bars:{symbol}"
        return f"history:{symbol}:{self.first_day}:{self.last_day}"


class WorkId(NamedTuple):
    """What the id of an item says."""

    symbol: str
    kind: WorkKind
    first_day: date | None = None
    last_day: date | None = None


def parse_work_id(work_id: str) -> WorkId:
    """Reads an id made by `Work.id`; anything else is the price of a symbol of that name."""
    kind, colon, rest = work_id.partition(":")
    if not colon:
        return WorkId(work_id, WorkKind.PRICE)
    if kind in ("price", "bars"):
        return WorkId(rest, WorkKind(kind))
    if kind == "history" and rest.count(":") >= 2:
        symbol, first, last = rest.rsplit(":", 2)
        try:
            return WorkId(symbol, WorkKind.HISTORY, date.fromisoformat(first), date.fromisoformat(last))
        except ValueError:
            pass
    return WorkId(work_id, WorkKind.PRICE)


class SnapshotCall(msgspec.Struct, frozen=True):
    """The latest prices of up to 250 assets of all classes in one call."""

    work: tuple[Work, ...]


class MarketSnapshotCall(msgspec.Struct, frozen=True):
    """The latest prices of up to 250 assets of one class, where the plan has only snapshots of markets."""

    work: tuple[Work, ...]
    asset_type: AssetType


class GroupedDayCall(msgspec.Struct, frozen=True):
    """The bars of one New York day of a whole market: the prices of all assets that need no 5-minute bars,
    or whose plan has none."""

    work: tuple[Work, ...]
    asset_type: AssetType
    day: date


class BarsCall(msgspec.Struct, frozen=True):
    """The 5-minute bars of one asset that start within `[start_ms, end_ms]` (inclusive): at most a page."""

    work: tuple[Work, ...]
    start_ms: int
    end_ms: int


class PreviousDayCall(msgspec.Struct, frozen=True):
    """The last complete day's bar of one asset, where the plan has no intraday bars."""

    work: tuple[Work, ...]


Call = SnapshotCall | MarketSnapshotCall | GroupedDayCall | BarsCall | PreviousDayCall
"""Each names the work that it does; the last two are of a single asset."""

PricesCall = SnapshotCall | MarketSnapshotCall | GroupedDayCall


class Verdict(msgspec.Struct, frozen=True):
    """Whether work is due at a moment, and why (or why not) in words; `refusal` where the plan lacks it;
    `paused` where it is not due because it failed before."""

    due: bool
    reason: str
    refusal: KnownRefusal | None = None
    paused: bool = False


def assess(work: Work, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> Verdict:
    """Work is due when a call can bring something that is not stored, as far as anybody can know."""
    if work.kind is _PRICE:
        return _assess_price(work.asset, stored, known, now_ms)
    if work.kind is WorkKind.BARS:
        is_behind = stored is None or behind(work.asset, stored, known, now_ms)
        return Verdict(is_behind, "bars behind" if is_behind else "bars up to date")
    return _assess_history(work, stored, known, now_ms)


def _assess_price(asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> Verdict:
    """An asset is due when something newer than what is stored can exist and may be seen.

    Never fetched: due, even while its market is closed. Refused or unknown to the vendor: after a
    while. Complete up to what can be seen: not due. Otherwise by its frequency while its market is
    open, and with doubling pauses after it has closed (the vendor may publish the end late).
    """
    asset_type = asset.asset_type
    if stored is not None and (pause_ms := _rejection_pause_ms(stored, now_ms)):
        reason = f"the database refuses it; asked again after {span(pause_ms)}, or after init"
        return Verdict(False, reason, paused=True)
    by_snapshot = known.any_snapshots(asset_type, now_ms, asset.polygon_ticker)
    if not by_snapshot and (refusal := _nothing_left(asset, known, now_ms)):
        return Verdict(False, "not in the plan; asked again once a day", refusal, paused=True)
    if stored is not None and stored.status_at_ms is not None:
        since_status = abs(now_ms - stored.status_at_ms)  # a clock that was ahead must not silence it
        pause_ms = _not_found_pause_ms(stored)
        if stored.sync_status == "not_found" and since_status < pause_ms:
            reason = f"the vendor does not know this ticker; asked again after {span(pause_ms)}"
            return Verdict(False, reason, paused=True)
        if stored.sync_status == "not_entitled" and since_status < NOT_ENTITLED_AGAIN_MS:
            return Verdict(False, "not in the plan; asked again once a day", paused=True)
        pause_ms = HOUR_MS if by_snapshot else NO_DATA_AGAIN_MS  # snapshots are empty after midnight
        if stored.sync_status == "no_data" and since_status < pause_ms:
            reason = f"the vendor had nothing; asked again after {span(pause_ms)}"
            return Verdict(False, reason, paused=True)
    if stored is None or stored.as_of_ms is None or stored.last_sync_ms is None:
        return Verdict(True, "never fetched")
    if stored.last_sync_ms > now_ms + JITTER_MS:
        return Verdict(True, "refreshed in the future: the clock was set back")
    horizon = known.horizon_ms(asset_type, now_ms, None if by_snapshot else asset.polygon_ticker)
    visible = last_open(asset.market, min(now_ms, horizon))
    complete_to = stored.as_of_ms if stored.fetched_to_ms is None else stored.fetched_to_ms
    if not by_snapshot:  # then the price follows from the bars
        complete_to = max(complete_to, asked_to(stored.spans, now_ms) or 0)
    if complete_to >= visible:
        return Verdict(False, f"complete up to {moment(visible)}")
    since_sync = now_ms - stored.last_sync_ms
    frequency_ms = asset.update_frequency_seconds * 1000
    frequency_ms -= min(JITTER_MS, frequency_ms // 10)
    delay_ms = now_ms - horizon
    shows_today = known.shows_today(asset_type, now_ms)
    if shows_today and visible == horizon:
        return Verdict(since_sync >= frequency_ms, f"refreshed {ago(since_sync)}")
    there_ms = visible + delay_ms if shows_today else horizon  # since when it can be seen
    if stored.last_sync_ms < there_ms:
        return Verdict(True, f"data up to {moment(visible)} can be seen now")
    if shows_today and stored.last_sync_ms - there_ms >= FINAL_AFTER_MS:
        return Verdict(False, f"closed since {moment(visible)}, nothing newer was there afterwards")
    if since_sync >= max(frequency_ms, stored.last_sync_ms - there_ms):
        return Verdict(True, f"the end before {moment(visible)} was missing; asked again")
    return Verdict(False, f"nothing newer than {moment(stored.as_of_ms)} was there; asked again later")


def _rejection_pause_ms(stored: StoredAsset, now_ms: int) -> int:
    """How long a symbol is left alone that the database refuses, where that time is not over; else 0."""
    if stored.rejected_ms is None:
        return 0
    since_ms = stored.rejected_ms if stored.rejected_since_ms is None else stored.rejected_since_ms
    pause_ms = _doubling_ms(stored.rejected_ms - since_ms)
    return pause_ms if abs(now_ms - stored.rejected_ms) < pause_ms else 0


def _doubling_ms(lasted_ms: int) -> int:
    """The pause after refusals in a row that have lasted so long."""
    return min(REJECTED_AGAIN_AT_MOST_MS, max(REJECTED_AGAIN_MS, lasted_ms))


def _not_found_pause_ms(stored: StoredAsset) -> int:
    """How long it is believed that a ticker does not exist: after a success for as long as that lay back, so
    that the pauses double; else for as long as can be."""
    if stored.last_sync_ms is None or stored.status_at_ms is None:
        return NOT_FOUND_AGAIN_MS
    return min(NOT_FOUND_AGAIN_MS, max(DOUBTED_MS, stored.status_at_ms - stored.last_sync_ms))


def _nothing_left(asset: Asset, known: Entitlements, now_ms: int) -> KnownRefusal | None:
    """The refusal that leaves no way to any price of an asset that no snapshot brings."""
    asset_type, ticker = asset.asset_type, asset.polygon_ticker
    if known.intraday(asset_type, now_ms, ticker):
        return None
    return known.lacks(Lack.PREVIOUS_DAY, asset_type, now_ms, ticker)


def behind(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    """Whether a snapshot leaves this asset's bars behind: at least one finished bar that its frequency
    asks for was not asked for. Without snapshots the price comes from the bars and nothing is left over."""
    if not asset.bars or not known.any_snapshots(asset.asset_type, now_ms, asset.polygon_ticker):
        return False
    if not known.intraday(asset.asset_type, now_ms, asset.polygon_ticker):
        return False
    if _left_by(SpanState.NOT_IN_PLAN, stored, now_ms - NOT_ENTITLED_AGAIN_MS):
        return False
    if stored.spans and not _worth_a_call(stored.spans[-1], now_ms, SpanState.REJECTED):
        return False
    visible = last_open(asset.market, min(now_ms, known.horizon_ms(asset.asset_type, now_ms)))
    known_to = asked_to(stored.spans, now_ms) or 0  # not the last bar: another program may have stored it
    return visible - known_to >= max(BAR_MS, asset.update_frequency_seconds * 1000)


def bars_to_queue(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    """Whether the latest bars are behind and worth an item: not while a failure of them is young, which
    the queue has tried again by itself."""
    if not behind(asset, stored, known, now_ms):
        return False
    return not _left_by(SpanState.FAILED, stored, now_ms - BARS_AGAIN_MS)


def _left_by(state: SpanState, stored: StoredAsset, since_ms: int) -> bool:
    """Whether the newest row of the ledger is of this state and was learned since a moment."""
    last = stored.spans[-1] if stored.spans else None
    return last is not None and last.state is state and (last.asked_ms or 0) > since_ms


def _bars_known_to(stored: StoredAsset | None, now_ms: int) -> int:
    """The moment up to which the bars are stored or known not to exist; 0 without any."""
    if stored is None:
        return 0
    return max(_bars_stored_to(stored, now_ms), asked_to(stored.spans, now_ms) or 0)


def _bars_stored_to(stored: StoredAsset, now_ms: int) -> int:
    """The end of the last stored bar; 0 without any."""
    last_bar_ms = stored.last_bar_ms
    return last_bar_ms + BAR_MS if last_bar_ms is not None and last_bar_ms <= now_ms else 0


def _assess_history(work: Work, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> Verdict:
    asset_type, ticker = work.asset.asset_type, work.asset.polygon_ticker
    if not work.asset.bars:
        return Verdict(False, "keeps no bars")
    for lack in (Lack.INTRADAY, Lack.BARS):
        if refusal := known.lacks(lack, asset_type, now_ms, ticker):
            return Verdict(False, "the plan has no 5-minute bars of it", refusal)
    _, end_ms = days_range(work)
    if end_ms <= known.history_from_ms(asset_type, now_ms):
        refusal = known.lacks(Lack.HISTORY, asset_type, now_ms)
        return Verdict(False, "older than the plan's history", refusal)
    if history_range(work, stored, known, now_ms) is None:
        return Verdict(False, "asked already")
    return Verdict(True, "bars of the past are missing")


def days_range(work: Work) -> tuple[int, int]:
    """`[start_ms, end_ms)` of the New York days of a page of the past."""
    assert work.first_day is not None, "only history has days"
    assert work.last_day is not None, "only history has days"
    return start_of_day(work.first_day), start_of_day(work.last_day + timedelta(days=1))


def history_range(
    work: Work, stored: StoredAsset | None, known: Entitlements, now_ms: int
) -> tuple[int, int] | None:
    """The part `[start_ms, end_ms)` of a page of the past that is still to be asked for: within the plan's
    history and what is published, from the first stretch not asked for to the last; None without any."""
    asset = work.asset
    start_ms, end_ms = days_range(work)
    start_ms = max(start_ms, known.history_from_ms(asset.asset_type, now_ms))
    end_ms = min(end_ms, _floor(known.ask_to_ms(asset.asset_type, now_ms)))
    if start_ms >= end_ms:
        return None
    spans = stored.spans if stored else ()
    missing = [
        stretch
        for stretch in open_stretches(spans, start_ms, end_ms)
        if open_ms_between(asset.market, stretch.start_ms, stretch.end_ms)
    ]
    return (missing[0].start_ms, missing[-1].end_ms) if missing else None


def plan(
    work: Sequence[Work],
    stored: Mapping[str, StoredAsset],
    known: Entitlements,
    now_ms: int,
    *,
    probe_today: bool = False,
) -> list[Call]:
    """The fewest calls for work that is due, prices before bars and otherwise in its order.

    One snapshot for up to 250 prices; one grouped call for all prices of a market that need no 5-minute
    bars; for the rest one range of bars each, ranges of one asset that fit a page merged into one. With
    `probe_today` a first range reaches to now where nobody knows whether the plan shows the running day.
    """
    drafts: list[tuple[int, Call]] = []  # with the position of the first work of each
    shared: dict[tuple[object, ...], list[tuple[int, Work]]] = {}
    single: list[tuple[int, Work]] = []
    ordered = sorted(work, key=lambda item: item.kind is not _PRICE)
    for position, item in enumerate(ordered):
        key = _shared_call(item.asset, known, now_ms) if item.kind is _PRICE else None
        if key:
            shared.setdefault(key, []).append((position, item))
        else:
            single.append((position, item))
    for (sort, *details), members in shared.items():
        if sort is GroupedDayCall and len(members) == 1:  # a call of its own costs the same and brings less
            single += members
            continue
        size = len(members) if sort is GroupedDayCall else SNAPSHOT_TICKERS
        for at in range(0, len(members), size):
            chunk = members[at : at + size]
            make: Callable[..., Call] = sort  # type: ignore[assignment]  # the first part of a key is its class
            drafts.append((chunk[0][0], make(tuple(item for _, item in chunk), *details)))
    by_symbol: dict[str, list[tuple[int, Work]]] = {}
    for position, item in single:
        by_symbol.setdefault(item.asset.symbol, []).append((position, item))
    for members in by_symbol.values():
        of_symbol = stored.get(members[0][1].asset.symbol)
        drafts += _ranges_of(members, of_symbol, known, now_ms, probe_today=probe_today)
    return [call for _, call in sorted(drafts, key=lambda draft: draft[0])]


def _shared_call(asset: Asset, known: Entitlements, now_ms: int) -> tuple[object, ...] | None:
    """The call that serves the price of this asset along with others; None where there is none."""
    asset_type, ticker = asset.asset_type, asset.polygon_ticker
    if known.snapshots(asset_type, now_ms, ticker):
        return (SnapshotCall,)
    if known.market_snapshots(asset_type, now_ms, ticker):
        return (MarketSnapshotCall, asset_type)
    only_days = not known.intraday(asset_type, now_ms, ticker)
    ended_days = not asset.bars and not known.shows_today(asset_type, now_ms)
    if (only_days or ended_days) and not known.lacks(Lack.GROUPED, asset_type, now_ms):
        visible = last_open(asset.market, known.last_day_end_ms(asset_type, now_ms))
        return (GroupedDayCall, asset_type, day_of(visible - 1))
    return None


def shares_calls(assets: Iterable[Asset], known: Entitlements, now_ms: int) -> bool:
    """Whether one call can serve several of these assets, so that it pays to take them together."""
    return any(_shared_call(asset, known, now_ms) for asset in assets)


def _ranges_of(
    members: Sequence[tuple[int, Work]],
    stored: StoredAsset | None,
    known: Entitlements,
    now_ms: int,
    *,
    probe_today: bool,
) -> list[tuple[int, Call]]:
    """The calls of one asset's work, each with the position of its first work."""
    drafts: list[tuple[int, Call]] = []
    ranges: list[tuple[int, int, int, Work]] = []
    for position, item in members:
        if not known.intraday(item.asset.asset_type, now_ms, item.asset.polygon_ticker):
            drafts.append((position, PreviousDayCall((item,))))
            continue
        if item.kind is WorkKind.HISTORY:
            wanted = history_range(item, stored, known, now_ms)
        else:
            wanted = latest_range(item.asset, stored, known, now_ms, probe_today=probe_today)
        if wanted:
            ranges.append((*wanted, position, item))
    ranges.sort(key=lambda found: (found[0], -found[1], found[2]))
    while ranges:  # all that ends within a page from the first start is one call: no two calls fit one page
        first_ms, first_end_ms, *_ = ranges[0]
        # A range may be longer than a page: it has a day of 25 hours, or begins with a whole bar.
        limit_ms = max(first_ms + PAGE_MS, first_end_ms)
        page = [found for found in ranges if found[1] <= limit_ms]
        call = BarsCall(tuple(item for *_, item in page), first_ms, max(found[1] for found in page) - 1)
        drafts.append((min(position for _, _, position, _ in page), call))
        ranges = [found for found in ranges if found[1] > limit_ms]
    return drafts


def latest_range(
    asset: Asset,
    stored: StoredAsset | None,
    known: Entitlements,
    now_ms: int,
    *,
    probe_today: bool = False,
) -> tuple[int, int]:
    """The range `[start_ms, end_ms)` of the latest bars of an asset.

    It begins at the New York midnight before the last stored bar (so the day's open, high and low and
    the vendor's corrections of today come along; rows are free, calls are not), and earlier where older
    holes can be filled by the same page.
    """
    asset_type = asset.asset_type
    end_ms = known.ask_to_ms(asset_type, now_ms)
    if probe_today and known.today_is_unknown(asset_type, now_ms):
        end_ms = now_ms
    earliest = max(end_ms - PAGE_MS, min(known.history_from_ms(asset_type, now_ms), end_ms - BAR_MS))
    if stored is not None and stored.as_of_ms is None:  # a price needs a bar: what is asked for may hold none
        known_to = _bars_stored_to(stored, now_ms)
    else:
        known_to = _bars_known_to(stored, now_ms)
    start_ms = earliest
    if known_to:
        start_ms = max(earliest, last_midnight(min(known_to, end_ms) - 1))
        holes = askable(asset, stored, earliest, start_ms, now_ms)
        start_ms = min([start_ms, *(hole.start_ms for hole in holes)])
    return _floor(start_ms), end_ms


def askable(asset: Asset, stored: StoredAsset | None, start_ms: int, end_ms: int, now_ms: int) -> list[Span]:
    """The stretches of `[start_ms, end_ms)` since the beginning of this asset's history that were open for
    trading and are worth a call: not asked for yet, or failed a while ago."""
    if stored is None or not stored.spans:
        return []
    return [
        stretch
        for stretch in open_stretches(stored.spans, max(start_ms, stored.spans[0].start_ms), end_ms)
        if _worth_a_call(stretch, now_ms, SpanState.FAILED, SpanState.REJECTED)
        and stretch.state is not SpanState.NOT_IN_PLAN
        and open_ms_between(asset.market, stretch.start_ms, stretch.end_ms)
    ]


def _worth_a_call(stretch: Span, now_ms: int, *paused: SpanState) -> bool:
    """Whether a stretch is in none of the states that have pauses, or its pause is over."""
    return stretch.state not in paused or now_ms - (stretch.asked_ms or 0) >= _pause_ms(stretch)


def _pause_ms(failed: Span) -> int:
    """How long a failed stretch is left alone; a slot whose bar was of no use for as long as it was old when
    it was asked for, so that the pauses double, and so with bars that the database refuses."""
    if failed.state is SpanState.REJECTED:
        return _doubling_ms((failed.asked_ms or 0) - failed.start_ms)
    if failed.fault is not SpanFault.UNUSABLE_BAR or failed.asked_ms is None:
        return FAILED_AGAIN_MS
    return min(UNUSABLE_AGAIN_AT_MOST_MS, max(FAILED_AGAIN_MS, failed.asked_ms - failed.end_ms))


def pages_to_ask(asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> list[Work]:
    """The pages of the past that are worth a call, the newest first; what the next range of the latest bars
    fills by itself is left to that."""
    return list(newest_to_ask(asset, stored, known, now_ms))


def newest_to_ask(
    asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int
) -> Iterator[Work]:
    """The same, each page worked out when it is asked for: a queue has seldom room for all."""
    if not asset.bars or not known.intraday(asset.asset_type, now_ms, asset.polygon_ticker):
        return
    if stored is None or stored.sync_status in ("not_found", "not_entitled"):
        return
    before_ms, _ = latest_range(asset, stored, known, now_ms)
    from_ms = known.history_from_ms(asset.asset_type, now_ms)
    found = askable(asset, stored, from_ms, max(from_ms, before_ms), now_ms)
    stretches = [(stretch.start_ms, stretch.end_ms) for stretch in found]
    for first, last in newest_pages(asset.market, stretches, PAGE_DAYS):
        yield Work(asset, WorkKind.HISTORY, first, last)


def _floor(at_ms: int) -> int:
    return at_ms - at_ms % BAR_MS


def expected_next_start(starts_ms: Sequence[int], interval_ms: int) -> int:
    """When the next priority cycle will start, from the last starts (ascending, the present one last).

    The rhythm of the latest two starts that lie an interval apart (within a tenth) counts, so a start by
    hand in between does not shift it; without one, the next multiple of the interval, as cron starts.
    """
    last = starts_ms[-1]
    for earlier, later in reversed(list(pairwise(starts_ms))):
        if abs(later - earlier - interval_ms) <= interval_ms // 10:
            return later + ((last - later) // interval_ms + 1) * interval_ms
    return last - last % interval_ms + interval_ms


def describe(call: Call) -> str:
    """A call in words, for `--dry-run` and logs."""
    match call:
        case SnapshotCall(work):
            return f"snapshot of {plural(len(work), 'ticker')}"
        case MarketSnapshotCall(work, asset_type):
            return f"{asset_type} snapshot of {plural(len(work), 'ticker')}"
        case GroupedDayCall(work, asset_type, day):
            return f"daily bars of all {asset_type} on {day}, for {plural(len(work), 'ticker')}"
        case BarsCall(work, start_ms, end_ms):
            ticker = work[0].asset.polygon_ticker
            return f"5-minute bars of {ticker}, {moment(start_ms)} to {moment(end_ms + 1)}"
        case PreviousDayCall(work):
            return f"previous day of {work[0].asset.polygon_ticker}"


def asset_types(call: Call) -> list[AssetType]:
    """The classes a call touches, each once."""
    return list(dict.fromkeys(item.asset.asset_type for item in call.work))
