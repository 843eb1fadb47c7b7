"""One asset's line of the health document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from typing import NamedTuple

from assetbatch.domain.asset_classes import THIN_MARKETS, Market
from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import ANSWERED, completeness
from assetbatch.domain.due import Verdict, assess
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import iso, iso_or_none
from assetbatch.domain.market_hours import is_open, last_open, next_open, open_ms_between
from assetbatch.domain.models import BAR_MS, StoredAsset, floor_to_bar
from assetbatch.domain.reasons import Explanation, Reason
from assetbatch.domain.status import AssetState, Status
from assetbatch.domain.units import HOUR_MS, MINUTE_MS, SECOND_MS
from assetbatch.domain.verification import Tally
from assetbatch.domain.work import Work
from assetbatch.health.document import AssetHealth
from assetbatch.secret import masked_name

STALE_SLACK_MS = MINUTE_MS
"""How much later than two of its frequencies an asset may be before it is stale."""

COMPLETE_SLACK_MS = 30 * MINUTE_MS
"""How old bars may be that count as missing: younger ones are on their way."""


def newest_of_markets(assets: Iterable[Asset], stored: Mapping[str, StoredAsset]) -> dict[Market, int]:
    """Return the moment of the newest stored price of each market: metals are judged beside metals."""
    newest: dict[Market, int] = {}
    for asset in assets:
        as_of_ms = stored[asset.symbol].as_of_ms if asset.symbol in stored else None
        if as_of_ms is not None:
            newest[asset.market] = max(as_of_ms, newest.get(asset.market, 0))
    return newest


def asset_health(
    asset: Asset,
    stored: StoredAsset | None,
    known: Entitlements,
    now_ms: int,
    newest_ms: int = 0,
    tally: Tally | None = None,
    *,
    by_rule: bool = False,
) -> AssetHealth:
    """Return one asset's line of the document.

    `newest_ms` is the moment of its market's newest price, `tally` what the comparisons of its bars amount
    to.
    """
    judged = judge(asset, stored, known, now_ms, newest_ms)
    as_of_ms = stored.as_of_ms if stored else None
    coverage = stored.coverage if stored and asset.bars else ()
    tally = tally or Tally()
    verified = tally.share_of(coverage)
    complete_ms = complete_to_ms(asset, known, now_ms)
    if stored is not None:
        complete_ms = min(complete_ms, stored.listed_to_ms)
    complete = completeness(asset.market, coverage, complete_ms)
    return AssetHealth(
        symbol=asset.symbol,
        name=masked_name(asset.name) if asset.name else None,
        priority=asset.priority,
        asset_type=asset.asset_type.value,
        last_price=stored.last_price if stored else None,
        change_percent=_change_percent(stored),
        as_of=iso_or_none(as_of_ms),
        age_seconds=None if as_of_ms is None else round((now_ms - as_of_ms) / SECOND_MS, 1),
        lag_seconds=None if stored is None else _lag_seconds(asset, stored, known, now_ms),
        market="open" if is_open(asset.market, now_ms) else "closed",
        state=judged.state,
        cause=judged.why.reason,
        reason=judged.why.text,
        error=stored.error_message if stored else None,
        platform_status=stored.platform_status if stored else None,
        complete=None if complete is None else round(complete, 6),
        complete_since=iso(coverage[0].start_ms) if coverage else None,
        verified=None if verified is None else round(verified, 6),
        differences=tally.changed + tally.appeared + tally.vanished,
        by_rule=by_rule,
    )


def _change_percent(stored: StoredAsset | None) -> float | None:
    """Return how far the price has moved since the day's open, in percent."""
    if stored is None or not stored.last_price or not stored.daily_open:
        return None
    return round((stored.last_price / stored.daily_open - 1) * 100, 3)


def _lag_seconds(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> float | None:
    """Return how much newer the price could be, by its market's hours and the plan; None without a price. The
    last trade of a stock is its newest price up to when it was asked for."""
    known_to_ms = stored.as_of_ms
    if known_to_ms is None:
        return None
    if asset.market in THIN_MARKETS and stored.last_sync_ms is not None:
        known_to_ms = max(known_to_ms, stored.last_sync_ms - known.delay_ms(asset.asset_type, now_ms))
    newest_ms = last_open(asset.market, min(now_ms, known.visible_until_ms(asset.asset_type, now_ms)))
    return round(max(0, newest_ms - known_to_ms) / SECOND_MS, 1)


def complete_to_ms(asset: Asset, known: Entitlements, now_ms: int) -> int:
    """Return the moment up to which bars are missing if they are not there."""
    visible_ms = known.visible_until_ms(asset.asset_type, now_ms)
    if not known.may_ask_today(asset.asset_type, now_ms):
        return visible_ms
    return visible_ms - max(COMPLETE_SLACK_MS, 2 * asset.update_frequency_seconds * SECOND_MS)


# --- the rules of its state ---


class Judged(NamedTuple):
    """The state of an asset, and why."""

    state: AssetState
    why: Explanation


class _Case(NamedTuple):
    """An asset to be judged, with the verdict over its work."""

    asset: Asset
    stored: StoredAsset | None
    known: Entitlements
    now_ms: int
    newest_ms: int
    verdict: Verdict

    @property
    def stillness(self) -> Stillness:
        """What its standing still means."""
        if self.stored is None:
            return Stillness.NONE
        return stillness(self.asset, self.stored, self.known, self.now_ms, self.newest_ms)


def judge(
    asset: Asset, stored: StoredAsset | None, known: Entitlements, now_ms: int, newest_ms: int
) -> Judged:
    """Return the state of an asset by the first rule that applies; fresh if none does."""
    verdict = assess(Work(asset), stored, known, now_ms)
    case = _Case(asset, stored, known, now_ms, newest_ms, verdict)
    found = (judged for rule in STATES if (judged := rule(case)))
    return next(found, Judged(AssetState.FRESH, verdict.why))


def _not_registered(case: _Case) -> Judged | None:
    if case.stored is not None:
        return None
    return Judged(AssetState.NEVER, Explanation(Reason.NOT_REGISTERED))


def _ended(case: _Case) -> Judged | None:
    if case.stored is None or not case.stored.has_ended:
        return None
    return Judged(AssetState.DELISTED, case.verdict.why)


def _not_in_plan(case: _Case) -> Judged | None:
    return Judged(AssetState.NOT_ENTITLED, case.verdict.why) if case.verdict.restriction else None


def _failed_last(case: _Case) -> Judged | None:
    status = case.stored.sync_status if case.stored else None
    if status is None or status is Status.SUCCESS:
        return None
    return Judged(AssetState(status.value), _never_listed(case) or case.verdict.why)


def _never_listed(case: _Case) -> Explanation | None:
    """Return that the provider does not list a stock of which nothing ever came."""
    stored = case.stored
    if stored is None or stored.as_of_ms is not None or stored.listing is None:
        return None
    if not stored.listing.is_unlisted:
        return None
    return Explanation(Reason.UNLISTED, about=case.asset.polygon_ticker)


def _never_stored(case: _Case) -> Judged | None:
    stored = case.stored
    if stored is None or (stored.as_of_ms is not None and stored.last_sync_ms is not None):
        return None
    is_lost = stored.sync_status is Status.SUCCESS
    return Judged(AssetState.NEVER, Explanation(Reason.NOT_STORED) if is_lost else case.verdict.why)


def _stands_still(case: _Case) -> Judged | None:
    if case.stillness is not Stillness.UNEXPLAINED or case.stored is None:
        return None
    return Judged(AssetState.STALE, Explanation(Reason.NOT_MOVING, at_ms=case.stored.as_of_ms))


def _late(case: _Case) -> Judged | None:
    last_sync_ms = case.stored.last_sync_ms if case.stored else None
    if not case.verdict.due or last_sync_ms is None:
        return None
    stale = is_stale(case.asset, last_sync_ms, case.known, case.now_ms)
    return Judged(AssetState.STALE if stale else AssetState.DUE, case.verdict.why)


def _quiet(case: _Case) -> Judged | None:
    reasons = {Stillness.QUIET: Reason.QUIET, Stillness.HALTED_OR_THIN: Reason.HALTED_OR_THIN}
    reason = reasons.get(case.stillness)
    if reason is None or case.stored is None:
        return None
    return Judged(AssetState.FRESH, Explanation(reason, at_ms=case.stored.as_of_ms))


STATES: tuple[Callable[[_Case], Judged | None], ...] = (
    _not_registered,
    _ended,
    _not_in_plan,
    _failed_last,
    _never_stored,
    _stands_still,
    _late,
    _quiet,
)
"""The rules of an asset's state, in their order."""


def is_stale(asset: Asset, last_sync_ms: int, known: Entitlements, now_ms: int) -> bool:
    """Return whether an asset that is due is later than two of its frequencies and a minute.

    It counts from the last success, or from when newer data could first be seen: the market's opening, or the
    end of the day if the plan shows only ended days. A weekend makes nothing stale.
    """
    visible_ms = known.visible_until_ms(asset.asset_type, now_ms)
    since_ms = max(last_sync_ms, min(now_ms, next_open(asset.market, last_sync_ms)))
    if visible_ms < now_ms:
        since_ms = max(since_ms, last_open(asset.market, visible_ms), visible_ms)
    return now_ms - since_ms > _stale_after_ms(asset)


def _stale_after_ms(asset: Asset) -> int:
    return 2 * asset.update_frequency_seconds * SECOND_MS + STALE_SLACK_MS


class Stillness(Enum):
    """What it means that a price has not moved although the provider answers."""

    NONE = auto()
    """It moves, or nothing can be said."""
    QUIET = auto()
    """Its bars were asked for and are empty: nobody traded."""
    HALTED_OR_THIN = auto()
    """Others of its market have moved, and in this market one may go without a trade for hours."""
    UNEXPLAINED = auto()
    """Others of its market have moved, or it never closes: something holds it up."""


def stillness(
    asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int, newest_ms: int
) -> Stillness:
    """Judge a price that snapshots of an open market bring and that has not moved for an hour of trading.

    The hour is longer for an asset that becomes stale later. The newest price of the market is from
    `newest_ms`: if nothing of a market moves it may be a holiday, unless it never closes. Time whose bars
    were asked for and are empty is no standstill. Prices that follow from bars need no such look, nor do
    those of a plan that is only said to have snapshots.
    """
    if stored.as_of_ms is None or stored.last_sync_ms is None or not is_open(asset.market, now_ms):
        return Stillness.NONE
    if not _is_of_snapshots(asset, stored, known, now_ms):
        return Stillness.NONE
    patience_ms = max(HOUR_MS, _stale_after_ms(asset))
    patience_ms += known.delay_ms(asset.asset_type, now_ms)
    if open_ms_between(asset.market, stored.as_of_ms, stored.last_sync_ms) < patience_ms:
        return Stillness.NONE
    quiet_to_ms = _empty_to(stored, stored.as_of_ms)
    if open_ms_between(asset.market, quiet_to_ms, stored.last_sync_ms) < patience_ms:
        return Stillness.QUIET
    others_moved = newest_ms - stored.as_of_ms >= patience_ms
    if others_moved and asset.market in THIN_MARKETS:
        return Stillness.HALTED_OR_THIN
    if asset.asset_class.never_closes or others_moved:
        return Stillness.UNEXPLAINED
    return Stillness.NONE


def _is_of_snapshots(asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int) -> bool:
    """Return whether snapshots bring a price, as far as was seen: the plan has shown the running day, and the
    price is not that of the last bar."""
    if not known.has_seen_today(asset.asset_type, now_ms):
        return False
    if stored.last_bar_ms is not None and stored.as_of_ms == stored.last_bar_ms + BAR_MS:
        return False
    return known.any_snapshots(asset.asset_type, now_ms, asset.polygon_ticker)


def _empty_to(stored: StoredAsset, as_of_ms: int) -> int:
    """Return the moment up to which bars were asked for since a price and there are none; else the price's
    own."""
    if stored.last_bar_ms is not None and stored.last_bar_ms > as_of_ms:
        return as_of_ms
    start_ms = floor_to_bar(as_of_ms)
    asked = [interval for interval in stored.coverage if interval.state in ANSWERED]
    return next((max(as_of_ms, s.end_ms) for s in asked if s.start_ms <= start_ms < s.end_ms), as_of_ms)
