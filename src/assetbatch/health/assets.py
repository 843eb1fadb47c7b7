"""One asset's line of the health document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import completeness
from assetbatch.domain.due import assess
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import iso, iso_or_none, moment
from assetbatch.domain.market_hours import is_open, last_open, next_open, open_ms_between
from assetbatch.domain.models import IntervalState, StoredAsset, floor_to_bar
from assetbatch.domain.units import HOUR_MS, MINUTE_MS
from assetbatch.domain.work import Work
from assetbatch.health.document import AssetHealth

NOT_REGISTERED = "not registered: run assetbatch init"
NOT_STORED = "the last refresh succeeded, and no price is stored"

STALE_SLACK_MS = MINUTE_MS
COMPLETE_SLACK_MS = 30 * MINUTE_MS


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
) -> AssetHealth:
    """One asset's line of the document; `newest_ms` is the moment of the newest price of its market."""
    checked = assess(Work(asset), stored, known, now_ms)
    state, reason = "fresh", checked.reason
    if stored is None:
        state, reason = "never", NOT_REGISTERED
    elif checked.refusal:
        state = "not_entitled"
    elif stored.sync_status not in (None, "success"):
        state = stored.sync_status or "failed"
    elif stored.as_of_ms is None or stored.last_sync_ms is None:
        state = "never"
        if stored.sync_status == "success":
            reason = NOT_STORED
    else:
        still = stillness(asset, stored, known, now_ms, newest_ms)
        if still is Stillness.UNEXPLAINED:
            state = "stale"
            reason = f"the provider answers, but its price has not moved since {moment(stored.as_of_ms)}"
        elif checked.due:
            state = "stale" if is_stale(asset, stored.last_sync_ms, known, now_ms) else "due"
        elif still is Stillness.QUIET:
            reason = f"quiet since {moment(stored.as_of_ms)}: its bars were asked for, and there are none"
    change = None
    if stored and stored.last_price and stored.daily_open:
        change = round((stored.last_price / stored.daily_open - 1) * 100, 3)
    as_of_ms = stored.as_of_ms if stored else None
    behind_ms = None
    if as_of_ms is not None:
        newest_ms = last_open(asset.market, min(now_ms, known.visible_until_ms(asset.asset_type, now_ms)))
        behind_ms = max(0, newest_ms - as_of_ms)
    spans = stored.spans if stored and asset.bars else ()
    complete_to = known.visible_until_ms(asset.asset_type, now_ms)
    if known.may_ask_today(asset.asset_type, now_ms):  # what is on its way is not missing yet
        complete_to -= max(COMPLETE_SLACK_MS, 2 * asset.update_frequency_seconds * 1000)
    complete = completeness(asset.market, spans, complete_to)
    return AssetHealth(
        symbol=asset.symbol,
        asset_class=asset.priority,
        asset_type=asset.asset_type.value,
        last_price=stored.last_price if stored else None,
        change_percent=change,
        as_of=iso_or_none(as_of_ms),
        age_seconds=round((now_ms - as_of_ms) / 1000, 1) if as_of_ms is not None else None,
        behind_seconds=None if behind_ms is None else round(behind_ms / 1000, 1),
        market="open" if is_open(asset.market, now_ms) else "closed",
        state=state,
        reason=reason,
        error=stored.error_message if stored else None,
        platform_status=stored.platform_status if stored else None,
        complete=None if complete is None else round(complete, 6),
        complete_since=iso(spans[0].start_ms) if spans else None,
    )


def is_stale(asset: Asset, last_sync_ms: int, known: Entitlements, now_ms: int) -> bool:
    """Whether an asset that is due is later than two of its frequencies and a minute.

    Counted from the last success, or from when newer data could first be seen: the market's opening, or
    the end of the day where the plan shows only ended days. A weekend makes nothing stale.
    """
    horizon = known.visible_until_ms(asset.asset_type, now_ms)
    since_ms = max(last_sync_ms, min(now_ms, next_open(asset.market, last_sync_ms)))
    if horizon < now_ms:
        since_ms = max(since_ms, last_open(asset.market, horizon), horizon)
    return now_ms - since_ms > 2 * asset.update_frequency_seconds * 1000 + STALE_SLACK_MS


class Stillness(Enum):
    """What is to be thought of a price that has not moved although the provider answers."""

    NONE = auto()
    """It moves, or nothing can be said."""
    QUIET = auto()
    """Its bars were asked for and are empty: nobody traded."""
    UNEXPLAINED = auto()
    """Others of its market have moved, or it never closes: something holds it up."""


def stillness(
    asset: Asset, stored: StoredAsset, known: Entitlements, now_ms: int, newest_ms: int
) -> Stillness:
    """Judge a price that snapshots of an open market bring and that has not moved for an hour of trading (or
    for as long as makes it stale), though others of its market have, the newest at `newest_ms`.

    Where nothing of a market moves it may be a holiday; crypto has none. Time whose bars were asked for and
    are empty is no standstill. Prices that follow from bars need no such look.
    """
    if stored.as_of_ms is None or stored.last_sync_ms is None or not is_open(asset.market, now_ms):
        return Stillness.NONE
    if not known.any_snapshots(asset.asset_type, now_ms, asset.polygon_ticker):
        return Stillness.NONE
    patience_ms = max(HOUR_MS, 2 * asset.update_frequency_seconds * 1000 + STALE_SLACK_MS)
    patience_ms += known.delay_ms(asset.asset_type, now_ms)
    if open_ms_between(asset.market, stored.as_of_ms, stored.last_sync_ms) < patience_ms:
        return Stillness.NONE
    quiet_to_ms = _empty_to(stored, stored.as_of_ms)
    if open_ms_between(asset.market, quiet_to_ms, stored.last_sync_ms) < patience_ms:
        return Stillness.QUIET
    others_moved = newest_ms - stored.as_of_ms >= patience_ms
    if asset.asset_class.never_closes or others_moved:
        return Stillness.UNEXPLAINED
    return Stillness.NONE


def _empty_to(stored: StoredAsset, as_of_ms: int) -> int:
    """The moment up to which bars were asked for since a price and there are none; else the price's own."""
    if stored.last_bar_ms is not None and stored.last_bar_ms > as_of_ms:
        return as_of_ms
    slot_ms = floor_to_bar(as_of_ms)
    asked = [span for span in stored.spans if span.state is IntervalState.ASKED]
    return next((max(as_of_ms, s.end_ms) for s in asked if s.start_ms <= slot_ms < s.end_ms), as_of_ms)
