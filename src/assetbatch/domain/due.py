"""Which work is due at a moment, and why."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import asked_to
from assetbatch.domain.entitlements import Entitlements, KnownRestriction, Restriction
from assetbatch.domain.formatting import ago, format_duration, moment
from assetbatch.domain.market_hours import last_open
from assetbatch.domain.models import (
    BAR_MS,
    IntervalState,
    StoredAsset,
)
from assetbatch.domain.pauses import (
    BARS_AGAIN_MS,
    NO_DATA_AGAIN_MS,
    NOT_ENTITLED_AGAIN_MS,
    not_found_pause_ms,
    rejection_pause_ms,
    worth_a_call,
)
from assetbatch.domain.ranges import history_range
from assetbatch.domain.units import HOUR_MS, SECOND_MS
from assetbatch.domain.work import Work, WorkKind, days_range

JITTER_MS = 30 * SECOND_MS
"""Cron does not start on the millisecond: an asset is due this much before its frequency is over."""


FINAL_AFTER_MS = HOUR_MS
"""An answer so long after a market's close that brings nothing newer is the last word until it opens."""


class Verdict(msgspec.Struct, frozen=True):
    """Whether work is due at a moment, and why (or why not) in words; `refusal` where the plan lacks it;
    `paused` where it is not due because it failed before."""

    due: bool
    reason: str
    refusal: KnownRestriction | None = None
    paused: bool = False


def assess(work: Work, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> Verdict:
    """Work is due when a call can bring something that is not stored, as far as anybody can know."""
    if work.kind is WorkKind.PRICE:
        return _assess_price(work.asset, stored, known, now_ms)
    if work.kind is WorkKind.BARS:
        is_behind = stored is None or behind(work.asset, stored, known, now_ms)
        return Verdict(is_behind, "bars behind" if is_behind else "bars up to date")
    return _assess_history(work, stored, known, now_ms)


def _assess_price(asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> Verdict:
    """An asset is due when something newer than what is stored can exist and may be seen.

    Never fetched: due, even while its market is closed. Denied or unknown to the provider: after a
    while. Complete up to what can be seen: not due. Otherwise by its frequency while its market is
    open, and with doubling pauses after it has closed (the provider may publish the end late).
    """
    asset_type = asset.asset_type
    if stored is not None and (pause_ms := rejection_pause_ms(stored, now_ms)):
        reason = f"the database refuses it; asked again after {format_duration(pause_ms)}, or after init"
        return Verdict(False, reason, paused=True)
    by_snapshot = known.any_snapshots(asset_type, now_ms, asset.polygon_ticker)
    if not by_snapshot and (refusal := _nothing_left(asset, known, now_ms)):
        return Verdict(False, "not in the plan; asked again once a day", refusal, paused=True)
    if stored is not None and stored.status_at_ms is not None:
        since_status = abs(now_ms - stored.status_at_ms)  # a clock that was ahead must not silence it
        pause_ms = not_found_pause_ms(stored)
        if stored.sync_status == "not_found" and since_status < pause_ms:
            reason = f"the provider does not know this ticker; asked again after {format_duration(pause_ms)}"
            return Verdict(False, reason, paused=True)
        if stored.sync_status == "not_entitled" and since_status < NOT_ENTITLED_AGAIN_MS:
            return Verdict(False, "not in the plan; asked again once a day", paused=True)
        pause_ms = HOUR_MS if by_snapshot else NO_DATA_AGAIN_MS  # snapshots are empty after midnight
        if stored.sync_status == "no_data" and since_status < pause_ms:
            reason = f"the provider had nothing; asked again after {format_duration(pause_ms)}"
            return Verdict(False, reason, paused=True)
    if stored is None or stored.as_of_ms is None or stored.last_sync_ms is None:
        return Verdict(True, "never fetched")
    if stored.last_sync_ms > now_ms + JITTER_MS:
        return Verdict(True, "refreshed in the future: the clock was set back")
    horizon = known.visible_until_ms(asset_type, now_ms, None if by_snapshot else asset.polygon_ticker)
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
    may_ask_today = known.may_ask_today(asset_type, now_ms)
    if may_ask_today and visible == horizon:
        return Verdict(since_sync >= frequency_ms, f"refreshed {ago(since_sync)}")
    there_ms = visible + delay_ms if may_ask_today else horizon  # since when it can be seen
    if stored.last_sync_ms < there_ms:
        return Verdict(True, f"data up to {moment(visible)} can be seen now")
    if may_ask_today and stored.last_sync_ms - there_ms >= FINAL_AFTER_MS:
        return Verdict(False, f"closed since {moment(visible)}, nothing newer was there afterwards")
    if since_sync >= max(frequency_ms, stored.last_sync_ms - there_ms):
        return Verdict(True, f"the end before {moment(visible)} was missing; asked again")
    return Verdict(False, f"nothing newer than {moment(stored.as_of_ms)} was there; asked again later")


def _nothing_left(asset: Asset, known: Entitlements, now_ms: int) -> KnownRestriction | None:
    """The refusal that leaves no way to any price of an asset that no snapshot brings."""
    asset_type, ticker = asset.asset_type, asset.polygon_ticker
    if known.intraday(asset_type, now_ms, ticker):
        return None
    return known.lacks(Restriction.PREVIOUS_DAY, asset_type, now_ms, ticker)


def behind(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    """Whether a snapshot leaves this asset's bars behind: at least one finished bar that its frequency
    asks for was not asked for. Without snapshots the price comes from the bars and nothing is left over."""
    if not asset.bars or not known.any_snapshots(asset.asset_type, now_ms, asset.polygon_ticker):
        return False
    if not known.intraday(asset.asset_type, now_ms, asset.polygon_ticker):
        return False
    if _left_by(IntervalState.NOT_IN_PLAN, stored, now_ms - NOT_ENTITLED_AGAIN_MS):
        return False
    if stored.spans and not worth_a_call(stored.spans[-1], now_ms, IntervalState.REJECTED):
        return False
    visible = last_open(asset.market, min(now_ms, known.visible_until_ms(asset.asset_type, now_ms)))
    known_to = asked_to(stored.spans, now_ms) or 0  # not the last bar: another program may have stored it
    return visible - known_to >= max(BAR_MS, asset.update_frequency_seconds * 1000)


def bars_to_queue(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    """Whether the latest bars are behind and worth an item: not while a failure of them is young, which
    the queue has tried again by itself."""
    if not behind(asset, stored, known, now_ms):
        return False
    return not _left_by(IntervalState.FAILED, stored, now_ms - BARS_AGAIN_MS)


def _left_by(state: IntervalState, stored: StoredAsset, since_ms: int) -> bool:
    """Whether the newest row of the ledger is of this state and was learned since a moment."""
    last = stored.spans[-1] if stored.spans else None
    return last is not None and last.state is state and (last.asked_ms or 0) > since_ms


def _assess_history(work: Work, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> Verdict:
    asset_type, ticker = work.asset.asset_type, work.asset.polygon_ticker
    if not work.asset.bars:
        return Verdict(False, "keeps no bars")
    for lack in (Restriction.INTRADAY, Restriction.BARS):
        if refusal := known.lacks(lack, asset_type, now_ms, ticker):
            return Verdict(False, "the plan has no 5-minute bars of it", refusal)
    _, end_ms = days_range(work)
    if end_ms <= known.history_from_ms(asset_type, now_ms):
        refusal = known.lacks(Restriction.HISTORY, asset_type, now_ms)
        return Verdict(False, "older than the plan's history", refusal)
    if history_range(work, stored, known, now_ms) is None:
        return Verdict(False, "asked already")
    return Verdict(True, "bars of the past are missing")


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
