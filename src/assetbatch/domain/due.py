"""Which work is due at a moment, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import goes_by_day
from assetbatch.domain.coverage import asked_to
from assetbatch.domain.entitlements import Entitlements, KnownRestriction, Restriction
from assetbatch.domain.market_hours import is_closed_day, last_open, next_open
from assetbatch.domain.models import BAR_MS, IntervalState, StoredAsset
from assetbatch.domain.pauses import (
    BARS_AGAIN_MS,
    NOT_ENTITLED_AGAIN_MS,
    no_data_pause_ms,
    not_found_pause_ms,
    rejection_pause_ms,
    worth_a_call,
)
from assetbatch.domain.ranges import missing_intervals, verify_range
from assetbatch.domain.reasons import Explanation, Reason
from assetbatch.domain.status import Status
from assetbatch.domain.units import HOUR_MS, MINUTE_MS, SECOND_MS
from assetbatch.domain.work import Work, WorkKind, days_range

JITTER_MS = 90 * SECOND_MS
"""How long before its frequency is over an asset is due, at most 3 tenths of it: cron does not start on the
millisecond, and what it queues is worked up to a minute later. So an asset whose frequency is a multiple of
cron's interval is refreshed that often, and not an interval later."""

CLOCK_AHEAD_MS = 30 * SECOND_MS
"""How far ahead of now a refresh may lie: two clocks are never quite alike."""

FINAL_AFTER_MS = HOUR_MS
"""How long after a market's close an answer without anything newer is the last word until it opens."""


# Python code looks up a member of an enum, which costs time with thousands of assets.
_PRICE, _SUCCESS = WorkKind.PRICE, Status.SUCCESS


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Whether work is due at a moment, and why.

    `restriction` is what the plan lacks for it. `paused` marks work that is not due because it failed before.
    """

    due: bool
    why: Explanation
    restriction: KnownRestriction | None = None
    paused: bool = False


def assess(work: Work, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> Verdict:
    """Return whether a call can bring something that is not stored, as far as anybody can know."""
    if work.kind is _PRICE:
        return _assess_price(work.asset, stored, known, now_ms)
    if work.kind is WorkKind.BARS:
        lags = stored is None or bars_lag(work.asset, stored, known, now_ms)
        return Verdict(lags, Explanation(Reason.BARS_LAG if lags else Reason.BARS_UP_TO_DATE))
    return _assess_page(work, stored, known, now_ms)


# --- the rules of a price ---


class _Case(msgspec.Struct, frozen=True, gc=False):
    """A price to be judged. `by_snapshot`: snapshots bring it; else it follows from bars."""

    asset: Asset
    stored: StoredAsset | None
    known: Entitlements
    now_ms: int
    by_snapshot: bool


def _assess_price(asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> Verdict:
    """Return the verdict of the first rule that applies.

    An asset that failed before pauses. One that was never fetched is due, even while its market is closed.
    One that is complete up to what can be seen is not due. Otherwise its frequency decides while its market
    is open, and doubling pauses do after it has closed, since the provider may publish the end late.
    """
    by_snapshot = known.any_snapshots(asset.asset_type, now_ms, asset.polygon_ticker)
    case = _Case(asset, stored, known, now_ms, by_snapshot)
    for blocked in BLOCKS:
        if verdict := blocked(case):
            return verdict
    if stored is None or stored.as_of_ms is None or stored.last_sync_ms is None:
        return Verdict(True, Explanation(Reason.NEVER_FETCHED))
    if stored.last_sync_ms > now_ms + CLOCK_AHEAD_MS:
        return Verdict(True, Explanation(Reason.CLOCK_SET_BACK))
    refreshed = _refreshed(case, stored, stored.as_of_ms, stored.last_sync_ms)
    for rule in TIMING:
        if verdict := rule(refreshed):
            return verdict
    return Verdict(False, Explanation(Reason.NOTHING_NEWER, at_ms=stored.as_of_ms))


def _ended(case: _Case) -> Verdict | None:
    """Return not due if nothing comes under the ticker any more. That is no failure."""
    listing = case.stored.listing if case.stored is not None else None
    if listing is None or not listing.has_ended:
        return None
    reason = Reason.RENAMED if listing.renamed_to else Reason.DELISTED
    return Verdict(False, Explanation(reason, about=listing.ending))


def _rejected(case: _Case) -> Verdict | None:
    """Return a pause if the database has refused the asset."""
    pause_ms = rejection_pause_ms(case.stored, case.now_ms) if case.stored is not None else 0
    return _paused(Reason.REJECTED, pause_ms) if pause_ms else None


def _not_in_plan(case: _Case) -> Verdict | None:
    """Return a pause if the plan leaves no way to any price of the asset."""
    if case.by_snapshot:
        return None
    restriction = _nothing_left(case.asset, case.known, case.now_ms)
    return Verdict(False, Explanation(Reason.NOT_IN_PLAN), restriction, paused=True) if restriction else None


def _paused_by_status(case: _Case) -> Verdict | None:
    """Return a pause if the last answer says that another call is of no use for a while."""
    stored = case.stored
    if stored is None or stored.status_at_ms is None or stored.sync_status is _SUCCESS:
        return None
    since_ms = abs(case.now_ms - stored.status_at_ms)  # a clock that was ahead must not silence it
    match stored.sync_status:
        case Status.NOT_FOUND if since_ms < (pause_ms := not_found_pause_ms(stored)):
            return _paused(Reason.UNKNOWN_TICKER, pause_ms)
        case Status.NOT_ENTITLED if since_ms < NOT_ENTITLED_AGAIN_MS or _was_closed_since(
            case, stored.status_at_ms
        ):
            return _paused(Reason.NOT_IN_PLAN)
        case Status.NO_DATA if _was_left_out(case, stored.status_at_ms):
            return _paused(Reason.NOT_TRADED)
        case Status.NO_DATA if since_ms < (pause_ms := _no_data_pause_ms(case, stored.status_at_ms)):
            return _paused(Reason.NO_DATA, pause_ms)
    return None


def _was_closed_since(case: _Case, at_ms: int) -> bool:
    """Return whether an exchange had no session since a moment of which anything can be seen now, or has none
    today where the plan shows the running day."""
    asset, known, now_ms = case.asset, case.known, case.now_ms
    if not asset.asset_class.has_trading_days:
        return False
    if known.may_ask_today(asset.asset_type, now_ms) and is_closed_day(asset.market, now_ms):
        return True
    return last_open(asset.market, known.visible_until_ms(asset.asset_type, now_ms)) <= at_ms


def _was_left_out(case: _Case, status_at_ms: int) -> bool:
    """Return whether the whole market of the last visible day has come, without the asset."""
    asset, known = case.asset, case.known
    visible_until_ms = known.last_day_end_ms(asset.asset_type, case.now_ms)
    at_ms = _whole_day_at(case, last_open(asset.market, visible_until_ms))
    return at_ms is not None and at_ms <= status_at_ms


def _no_data_pause_ms(case: _Case, status_at_ms: int) -> int:
    """Return for how long an asset is left alone after an answer without a price: an exchange that was closed
    has nothing new before it opens."""
    pause_ms = no_data_pause_ms(by_snapshot=case.by_snapshot)
    if not case.asset.asset_class.has_trading_days:
        return pause_ms
    return max(pause_ms, next_open(case.asset.market, status_at_ms) - status_at_ms)


def _paused(reason: Reason, duration_ms: int | None = None) -> Verdict:
    return Verdict(False, Explanation(reason, duration_ms=duration_ms), paused=True)


BLOCKS: tuple[Callable[[_Case], Verdict | None], ...] = (_ended, _rejected, _not_in_plan, _paused_by_status)
"""The rules that keep a price from being asked for, in their order."""


class _Refreshed(msgspec.Struct, frozen=True, gc=False):
    """A price that was refreshed, against what can be seen now. All but the last are moments or times in
    ms."""

    now_ms: int
    complete_to: int
    """Up to when it is known."""
    last_sync: int
    visible: int
    """The market's last open moment that can be seen."""
    visible_until: int
    frequency: int
    may_ask_today: bool
    published_after: int
    """How long after its end a day is asked for."""
    whole_day_at: int | None
    """When the whole market of the visible day was asked for and came, if that is how the price comes."""

    @property
    def since_sync(self) -> int:
        return self.now_ms - self.last_sync

    @property
    def visible_since(self) -> int:
        """The moment since which the last open moment can be seen."""
        if not self.may_ask_today:
            return self.visible_until + self.published_after
        return self.visible + self.now_ms - self.visible_until


def _refreshed(case: _Case, stored: StoredAsset, as_of_ms: int, last_sync_ms: int) -> _Refreshed:
    asset, known, now_ms = case.asset, case.known, case.now_ms
    ticker = None if case.by_snapshot else asset.polygon_ticker
    visible_until_ms = known.visible_until_ms(asset.asset_type, now_ms, ticker)
    complete_to_ms = as_of_ms if stored.fetched_to_ms is None else stored.fetched_to_ms
    if not case.by_snapshot:  # then the price follows from the bars
        complete_to_ms = max(complete_to_ms, asked_to(stored.coverage, now_ms) or 0)
    frequency_ms = asset.update_frequency_seconds * SECOND_MS
    of_class = asset.asset_class
    visible_ms = last_open(asset.market, min(now_ms, visible_until_ms))
    return _Refreshed(
        now_ms=now_ms,
        complete_to=complete_to_ms,
        last_sync=last_sync_ms,
        visible=visible_ms,
        visible_until=visible_until_ms,
        frequency=frequency_ms - min(JITTER_MS, frequency_ms * 3 // 10),
        may_ask_today=known.may_ask_today(asset.asset_type, now_ms),
        published_after=of_class.published_after_ms,
        whole_day_at=_whole_day_at(case, visible_ms),
    )


def _complete(price: _Refreshed) -> Verdict | None:
    """Return not due if all that can be seen is known."""
    if price.complete_to < price.visible:
        return None
    return Verdict(False, Explanation(Reason.COMPLETE, at_ms=price.visible))


def _whole_day_at(case: _Case, visible_ms: int) -> int | None:
    """Return when the provider was asked for the whole market of the visible day and answered, where that is
    how the price of a stock comes."""
    asset = case.asset
    if case.by_snapshot or not asset.asset_class.has_trading_days:
        return None
    at_ms = case.known.whole_day_at_ms(asset.asset_type, visible_ms)
    return at_ms if at_ms is not None and goes_by_day(asset, case.known, case.now_ms) else None


def _not_traded(price: _Refreshed) -> Verdict | None:
    """Return not due if the whole market of the day has come, without the asset."""
    if price.whole_day_at is None or price.last_sync < price.whole_day_at:
        return None
    return Verdict(False, Explanation(Reason.NOT_TRADED))


def _by_frequency(price: _Refreshed) -> Verdict | None:
    """Return what the asset's frequency says if its market is open."""
    if not price.may_ask_today or price.visible != price.visible_until:
        return None
    since_ms = price.since_sync
    return Verdict(since_ms >= price.frequency, Explanation(Reason.REFRESHED, duration_ms=since_ms))


def _newly_visible(price: _Refreshed) -> Verdict | None:
    """Return due if something can be seen that could not be seen at the last refresh."""
    if price.last_sync >= price.visible_since:
        return None
    return Verdict(True, Explanation(Reason.NEWLY_VISIBLE, at_ms=price.visible))


def _final(price: _Refreshed) -> Verdict | None:
    """Return not due if an answer long after the close had nothing newer."""
    if not price.may_ask_today or price.last_sync - price.visible_since < FINAL_AFTER_MS:
        return None
    return Verdict(False, Explanation(Reason.CLOSED, at_ms=price.visible))


def _end_missing(price: _Refreshed) -> Verdict | None:
    """Return due if the end before the close was missing, after pauses that double."""
    if price.since_sync < max(price.frequency, price.last_sync - price.visible_since):
        return None
    return Verdict(True, Explanation(Reason.END_MISSING, at_ms=price.visible))


TIMING: tuple[Callable[[_Refreshed], Verdict | None], ...] = (
    _complete,
    _not_traded,
    _by_frequency,
    _newly_visible,
    _final,
    _end_missing,
)
"""The rules for a price that was refreshed, in their order."""


def _nothing_left(asset: Asset, known: Entitlements, now_ms: int) -> KnownRestriction | None:
    """Return the restriction that leaves no way to any price of an asset that no snapshot brings."""
    asset_type, ticker = asset.asset_type, asset.polygon_ticker
    if known.intraday(asset_type, now_ms, ticker):
        return None
    return known.lacks(Restriction.PREVIOUS_DAY, asset_type, now_ms, ticker)


# --- bars ---


def bars_lag(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    """Return whether the bars of an asset lag behind its price, which snapshots bring.

    At least one finished bar that the frequency asks for was not asked for. Without snapshots the price comes
    from the bars, and nothing is left over. Of a ticker that the provider does not know there are none.
    """
    if stored.has_ended or stored.sync_status is Status.NOT_FOUND:
        return False
    if not asset.bars or not known.any_snapshots(asset.asset_type, now_ms, asset.polygon_ticker):
        return False
    if not known.intraday(asset.asset_type, now_ms, asset.polygon_ticker):
        return False
    if _left_by(IntervalState.NOT_IN_PLAN, stored, now_ms - NOT_ENTITLED_AGAIN_MS):
        return False
    if stored.coverage and not worth_a_call(stored.coverage[-1], now_ms, IntervalState.REJECTED):
        return False
    visible = last_open(asset.market, min(now_ms, known.visible_until_ms(asset.asset_type, now_ms)))
    known_to = asked_to(stored.coverage, now_ms) or 0  # not the last bar: another program may have stored it
    return visible - known_to >= max(BAR_MS, asset.update_frequency_seconds * 1000)


def bars_to_queue(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    """Return whether the latest bars lag and are worth an item of the queue.

    They are not while a failure of them is young: the queue has tried that again by itself.
    """
    if not bars_lag(asset, stored, known, now_ms):
        return False
    return not _left_by(IntervalState.FAILED, stored, now_ms - BARS_AGAIN_MS)


def _left_by(state: IntervalState, stored: StoredAsset, since_ms: int) -> bool:
    """Return whether the newest covered interval has this state and was learned since a moment."""
    last = stored.coverage[-1] if stored.coverage else None
    return last is not None and last.state is state and (last.asked_ms or 0) > since_ms


def _assess_page(work: Work, stored: StoredAsset | None, known: Entitlements, now_ms: int) -> Verdict:
    asset_type, ticker = work.asset.asset_type, work.asset.polygon_ticker
    if not work.asset.bars:
        return Verdict(False, Explanation(Reason.NO_BARS_KEPT))
    for restriction in (Restriction.INTRADAY, Restriction.BARS):
        if lacking := known.lacks(restriction, asset_type, now_ms, ticker):
            return Verdict(False, Explanation(Reason.NO_BARS_IN_PLAN), lacking)
    if work.kind is WorkKind.VERIFY:
        is_there = verify_range(work, stored, known, now_ms) is not None
        return Verdict(is_there, Explanation(Reason.VERIFIED if is_there else Reason.NOTHING_TO_VERIFY))
    _, end_ms = days_range(work)
    if end_ms <= known.history_from_ms(asset_type, now_ms):
        lacking = known.lacks(Restriction.HISTORY, asset_type, now_ms)
        return Verdict(False, Explanation(Reason.TOO_OLD), lacking)
    if not missing_intervals(work, stored, known, now_ms):
        return Verdict(False, Explanation(Reason.ANSWERED))
    return Verdict(True, Explanation(Reason.BARS_MISSING))


# --- the next start ---


RUN_QUEUE_MS = MINUTE_MS
"""How often cron starts run-queue."""

RUN_QUEUE_SILENT_MS = 10 * MINUTE_MS
"""Time without a start of run-queue after which nobody starts it: that is a problem while work waits, and no
moment can be told for an item."""


def expected_next_start(starts_ms: Sequence[int], interval_ms: int) -> int:
    """Return when the next priority cycle will start, from the last starts (ascending, the present one last).

    The rhythm of the latest two starts that lie an interval apart (within a tenth) counts, so that a start by
    hand in between does not shift it. Without one it is the next multiple of the interval, as cron starts.
    """
    last = starts_ms[-1]
    for earlier, later in reversed(list(pairwise(starts_ms))):
        if abs(later - earlier - interval_ms) <= interval_ms // 10:
            return later + ((last - later) // interval_ms + 1) * interval_ms
    return last - last % interval_ms + interval_ms
