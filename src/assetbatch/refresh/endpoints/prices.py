"""What the endpoints have in common that bring the prices of many assets in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar

import msgspec

from assetbatch.domain.asset_classes import class_of_type
from assetbatch.domain.calls import GroupedDayCall, MarketSnapshotCall, PricesCall, SnapshotCall, asset_types
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.formatting import moment
from assetbatch.domain.market_hours import is_open
from assetbatch.domain.models import StoredAsset
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import OPEN, Status
from assetbatch.domain.work import Work
from assetbatch.refresh.endpoints.endpoint import Endpoint, ShownRestriction
from assetbatch.refresh.interpretation import (
    CONSEQUENCES,
    FUTURE_MS,
    ClassRefusal,
    Findings,
    Page,
    Result,
    nothing_came,
)

if TYPE_CHECKING:
    from assetbatch.provider.answers import PricesAnswer
    from assetbatch.refresh.learner import Learner
    from assetbatch.refresh.reporter import Reporter

AnyPricesCall = TypeVar("AnyPricesCall", SnapshotCall, MarketSnapshotCall, GroupedDayCall)

_SUCCESS = (
    Status.SUCCESS
)  # Python code looks up a member of an enum, which costs time with thousands of assets


class PricesEndpoint(Endpoint[AnyPricesCall]):
    """An endpoint that brings the prices of many assets in one call."""

    is_shared = True
    restricts: ClassVar[Restriction]
    """What the plan lacks if it refuses the endpoint, or a class within an answer."""

    def observe(
        self,
        call: AnyPricesCall,
        answer: PricesAnswer,
        now_ms: int,
        learner: Learner,
        reporter: Reporter,
    ) -> None:
        """Tell how new the prices are, and report those that cannot be true."""
        if untrue := untrue_prices(answer):
            reporter.odd_prices(untrue)
        learner.saw_prices(call, answer, now_ms)

    def findings(
        self,
        call: AnyPricesCall,
        work: Sequence[Work],
        _page: Page | None,
        answer: PricesAnswer,
        stored: Mapping[str, StoredAsset],
        _known: Entitlements,
        now_ms: int,
    ) -> Findings:
        """Return the price of each asset, or why there is none."""
        return prices_findings(call, work, answer, stored, now_ms)

    def restriction(self, _call: AnyPricesCall, kind: RefusalKind, _now_ms: int) -> ShownRestriction | None:
        """Return the restriction of the endpoint: no single ticker is to blame."""
        return ShownRestriction(self.restricts) if kind in _BLAMES_NO_TICKER else None


_BLAMES_NO_TICKER = (
    RefusalKind.NOT_IN_PLAN,
    RefusalKind.TIMEFRAME,
    RefusalKind.TODAY_NOT_YET,
    RefusalKind.UNKNOWN_TICKER,
)
"""Refusals of a call for many tickers as a whole. The tickers are asked for in another way."""


def symbols_by_ticker(work: Sequence[Work]) -> dict[str, str]:
    """Return the symbol of each ticker that a call is for."""
    return {item.asset.polygon_ticker: item.asset.symbol for item in work}


def prices_findings(
    call: PricesCall,
    work: Sequence[Work],
    answer: PricesAnswer,
    stored: Mapping[str, StoredAsset],
    now_ms: int,
) -> Findings:
    """Judge each ticker by itself. If all tickers of a class are refused, they are left to be asked for in
    another way; their class counts as refused only if there are two or more, and is not sold by ticker. So is
    a ticker without any price whose snapshot is cleared, as it is while an exchange is closed."""
    refused = []
    for asset_type in asset_types(call) if answer.errors else ():
        of_type = [item for item in work if item.asset.asset_type is asset_type]
        refusals = [answer.errors.get(item.asset.polygon_ticker) for item in of_type]
        lacking = [refusal for refusal in refusals if refusal and refusal.kind is RefusalKind.NOT_IN_PLAN]
        if lacking and len(lacking) == len(of_type):
            if len(of_type) == 1 or class_of_type(asset_type).is_sold_by_ticker:
                tickers: list[str | None] = [item.asset.polygon_ticker for item in of_type]
            else:
                tickers = [None]
            refused += [ClassRefusal(asset_type, lacking[0].message, ticker) for ticker in tickers]
            work = [item for item in work if item.asset.asset_type is not asset_type]
    cleared = frozenset[str]()
    if answer.empty and not isinstance(call, GroupedDayCall):
        cleared = frozenset(
            item.asset.polygon_ticker for item in work if _is_cleared(item, answer, stored, now_ms)
        )
        work = [item for item in work if item.asset.polygon_ticker not in cleared]
    results = [_from_prices(item, answer, stored, now_ms) for item in work]
    return Findings(
        asked_ms=now_ms,
        results=results,
        prices_refused=sum(untrue_prices(answer).values()),
        refused_classes=refused,
        cleared=sorted(cleared),
        days=answer.days,
    )


def _is_cleared(item: Work, answer: PricesAnswer, stored: Mapping[str, StoredAsset], now_ms: int) -> bool:
    asset, before = item.asset, stored.get(item.asset.symbol)
    return (
        asset.polygon_ticker in answer.empty
        and asset.asset_class.has_trading_days
        and (before is None or before.as_of_ms is None)
        and not is_open(asset.market, now_ms)
    )


def untrue_prices(answer: PricesAnswer) -> dict[str, int]:
    """Return how many prices of an answer cannot be true or were not asked for, by reason."""
    return {reason: count for reason, count in answer.refused.items() if reason not in ("empty", "duplicate")}


def _from_prices(item: Work, answer: PricesAnswer, stored: Mapping[str, StoredAsset], now_ms: int) -> Result:
    ticker = item.asset.polygon_ticker
    price = answer.prices.get(ticker)
    if price is not None and price.as_of_ms <= now_ms + FUTURE_MS:
        if price.symbol != item.asset.symbol:  # two spellings of a symbol share a ticker
            price = msgspec.structs.replace(price, symbol=item.asset.symbol)
        return Result(work=item, status=_SUCCESS, price=price)
    if refusal := answer.errors.get(ticker):
        consequence = CONSEQUENCES[refusal.kind]
        status = Status.FAILED if consequence.status in OPEN else consequence.status
        return Result(work=item, status=status, error=refusal.message, final=consequence.final)
    if price is not None:  # it would keep out every true price until then
        error = f"the price of {ticker} is from the future ({moment(price.as_of_ms)})"
        return Result(work=item, status=Status.FAILED, error=error)
    # A snapshot is empty after midnight, and that of a market leaves out what it does not have.
    return nothing_came(item, stored, f"the answer has no price of {ticker}")
