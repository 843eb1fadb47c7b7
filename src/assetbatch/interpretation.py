"""What an answer or a refusal of the vendor means for the work it was asked for.

Pure: values in, `Findings` out. The state of the batch takes them over (`batch.BatchState.apply`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from assetbatch.assets import AssetType
from assetbatch.entitlements import DAY_MS, HOUR_MS, Entitlements
from assetbatch.hours import last_midnight, open_ms_between
from assetbatch.ledger import OF_NO_USE, open_stretches
from assetbatch.market import BAR_MS, Bar, Price, Span, SpanState, StoredAsset
from assetbatch.planning import (
    BarsCall,
    Call,
    PricesCall,
    Work,
    WorkKind,
    asset_types,
    days_range,
)
from assetbatch.status import OPEN, Status
from assetbatch.vendor.refusals import Refusal, RefusalKind
from assetbatch.words import moment, plural

if TYPE_CHECKING:
    from assetbatch.vendor.answers import BarsAnswer, PricesAnswer

FUTURE_MS = 60_000
"""How far ahead of our clock a price may be dated."""

SETTLED_AFTER_MS = 25 * 60_000
"""How old a slot without a bar must be for the vendor to have none: plans lag by up to 15 minutes."""

EMPTY = "the vendor answered without any bar; asked once more"

LATE_AT_MOST_MS = 2 * DAY_MS
"""By then the vendor has published whatever it has."""

_SUCCESS = Status.SUCCESS  # a member of an enum is looked up by Python code, which thousands of assets feel


class Consequence(msgspec.Struct, frozen=True):
    """What follows from a refusal that has taught nothing of the plan by which it could be asked otherwise:
    the sync status, whether another try cannot help, whether the batch makes no further call, what the
    ledger says of bars asked for."""

    status: Status
    final: bool = False
    ends_batch: bool = False
    span: SpanState | None = None


CONSEQUENCES: Mapping[RefusalKind, Consequence] = {
    RefusalKind.KEY: Consequence(Status.DEFERRED, ends_batch=True),
    RefusalKind.NOT_IN_PLAN: Consequence(Status.NOT_ENTITLED, final=True, span=SpanState.NOT_IN_PLAN),
    RefusalKind.TODAY_NOT_YET: Consequence(Status.NOT_ENTITLED, final=True, span=SpanState.FAILED),
    RefusalKind.TIMEFRAME: Consequence(Status.NOT_ENTITLED, final=True, span=SpanState.NOT_IN_PLAN),
    RefusalKind.UNKNOWN_TICKER: Consequence(Status.NOT_FOUND, final=True, span=SpanState.FAILED),
    RefusalKind.TOO_MANY_CALLS: Consequence(Status.DEFERRED, ends_batch=True),
    RefusalKind.VENDOR_DOWN: Consequence(Status.FAILED, span=SpanState.FAILED),
    RefusalKind.NONSENSE: Consequence(Status.FAILED, span=SpanState.FAILED),
}
"""The one place that says what each class of refusal leads to (the README's table is this one)."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one piece of work. `final` where another try cannot help."""

    work: Work
    status: Status
    price: Price | None = None
    bars: int = 0
    error: str | None = None
    final: bool = False


class Page(msgspec.Struct, frozen=True):
    """The rest of a range: the answer that leads to it, where it begins, and the bars that came before."""

    answer: BarsAnswer
    from_ms: int
    bars: list[Bar]


class ClassRefusal(msgspec.Struct, frozen=True):
    """A class of assets that a good answer refuses as a whole."""

    asset_type: AssetType
    message: str


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one call: results of its work, bars to store and what the ledger learns, by symbol.

    Work without a result waits: for the `next_page` of its range, or to be asked for in another way
    because its class is among `refused_classes`. `bars_refused` counts elements that were of no use.
    """

    results: Sequence[Result] = ()
    bars: Mapping[str, Sequence[Bar]] = {}
    bars_asked_ms: int = 0
    bars_refused: int = 0
    spans: Mapping[str, Sequence[Span]] = {}
    next_page: Page | None = None
    refused_classes: Sequence[ClassRefusal] = ()


# --- prices ---


def prices_findings(
    call: PricesCall,
    work: Sequence[Work],
    answer: PricesAnswer,
    stored: Mapping[str, StoredAsset],
    now_ms: int,
) -> Findings:
    """Judge each ticker by itself; a class that is refused as a whole is left to be asked in another way."""
    refused = []
    for asset_type in asset_types(call) if answer.errors else ():
        of_type = [item for item in work if item.asset.asset_type is asset_type]
        refusals = [answer.errors.get(item.asset.polygon_ticker) for item in of_type]
        lacking = [refusal for refusal in refusals if refusal and refusal.kind is RefusalKind.NOT_IN_PLAN]
        if lacking and len(lacking) == len(of_type):
            refused.append(ClassRefusal(asset_type, lacking[0].message))
            work = [item for item in work if item.asset.asset_type is not asset_type]
    results = [_from_prices(item, answer, stored, now_ms) for item in work]
    return Findings(results=results, refused_classes=refused)


def _from_prices(item: Work, answer: PricesAnswer, stored: Mapping[str, StoredAsset], now_ms: int) -> Result:
    ticker = item.asset.polygon_ticker
    price = answer.prices.get(ticker)
    if price is not None and price.as_of_ms <= now_ms + FUTURE_MS:
        return Result(work=item, status=_SUCCESS, price=price)
    if refusal := answer.errors.get(ticker):
        consequence = CONSEQUENCES[refusal.kind]
        status = Status.FAILED if consequence.status in OPEN else consequence.status
        return Result(work=item, status=status, error=refusal.message, final=consequence.final)
    if price is not None:  # stored, it would keep out every true price until then
        error = f"the price of {ticker} is from the future ({moment(price.as_of_ms)})"
        return Result(work=item, status=Status.FAILED, error=error)
    # snapshots are empty after midnight, and of markets leave out what they do not have
    return _nothing(item, stored, f"the answer has no price of {ticker}")


def _nothing(item: Work, stored: Mapping[str, StoredAsset], error: str) -> Result:
    """An answer without data: nothing newer for what is stored, no data for what never was."""
    before = stored.get(item.asset.symbol)
    if before is None or before.as_of_ms is None:
        return Result(work=item, status=Status.NO_DATA, error=error)
    return Result(work=item, status=_SUCCESS)


def previous_day_findings(
    work: Sequence[Work], price: Price | None, stored: Mapping[str, StoredAsset], now_ms: int
) -> Findings:
    """Take the price from one day's bar; there may be none. The vendor stamps it with the day's start or its
    end, so that the day that has just ended may look like the next one."""
    if price is None:
        return Findings(
            results=[
                _nothing(item, stored, f"the vendor has no previous day of {item.asset.polygon_ticker}")
                for item in work
            ]
        )
    price = msgspec.structs.replace(price, as_of_ms=min(price.as_of_ms, last_midnight(now_ms)))
    return Findings(results=[Result(work=item, status=_SUCCESS, price=price) for item in work])


# --- bars ---


def bars_findings(
    call: BarsCall,
    work: Sequence[Work],
    page: Page | None,
    answer: BarsAnswer,
    stored: Mapping[str, StoredAsset],
    known: Entitlements,
    now_ms: int,
) -> Findings:
    """Keep finished bars, take the price from a forming one too, and say how far the answer tells all there
    is. With a further page the work waits for that."""
    asset = call.work[0].asset
    from_ms = page.from_ms if page else _floor(call.start_ms)
    seen_to_ms = min(now_ms, call.end_ms + 1)
    to_ms = answered_to(call, answer, now_ms, known.newest_ms(asset.asset_type))
    finished = [bar for bar in answer.bars if bar.end_ms <= seen_to_ms] if asset.bars else []
    spans = _ledger_of_page(call, page, answer, stored, from_ms, to_ms, now_ms) if asset.bars else []
    bars = [*page.bars, *answer.bars] if page else answer.bars
    results: list[Result] = []
    following = None
    if answer.next_url is not None:
        following = Page(answer, max(from_ms, to_ms), bars)
        if page is not None and following.from_ms <= page.from_ms:  # it leads nowhere
            error = "the vendor's pages lead nowhere"
            spans += failed_range(call, following, SpanState.FAILED, error, now_ms)
            results = [Result(work=item, status=Status.FAILED, error=error) for item in work]
            following = None
    else:
        for item in work:
            if item.kind is WorkKind.HISTORY:
                spans += too_old(item, known, now_ms)
            results.append(_from_bars(item, call, bars, stored, seen_to_ms))
    return Findings(
        results=results,
        bars={asset.symbol: finished} if finished else {},
        bars_asked_ms=now_ms,
        bars_refused=answer.refused.total(),
        spans={asset.symbol: spans} if spans else {},
        next_page=following,
    )


def _ledger_of_page(
    call: BarsCall,
    page: Page | None,
    answer: BarsAnswer,
    stored: Mapping[str, StoredAsset],
    start_ms: int,
    end_ms: int,
    now_ms: int,
) -> list[Span]:
    """What an answer tells; one without any bar of a day or more of trading is doubted the first time."""
    asset = call.work[0].asset
    alone = not answer.bars and not answer.faulty_ms and page is None and not answer.next_url
    if alone and open_ms_between(asset.market, start_ms, end_ms) >= DAY_MS:
        before = open_stretches(stored[asset.symbol].spans, start_ms, end_ms)
        if any(span.error != EMPTY for span in before):
            return [Span(start_ms, end_ms, SpanState.FAILED, now_ms, EMPTY)]
    return ledger_of(answer, start_ms, end_ms, now_ms)


def _from_bars(
    item: Work, call: BarsCall, bars: Sequence[Bar], stored: Mapping[str, StoredAsset], seen_to_ms: int
) -> Result:
    if not bars and item.kind is WorkKind.PRICE:
        span = f"from {moment(call.start_ms)} to {moment(call.end_ms + 1)}"
        return _nothing(item, stored, f"the vendor has no bars of {item.asset.polygon_ticker} {span}")
    price = None
    if item.kind is WorkKind.PRICE:
        price = price_from_bars(item.asset.symbol, bars, seen_to_ms)
    count = len(bars) if item.asset.bars else 0
    return Result(work=item, status=_SUCCESS, price=price, bars=count)


def failed_range(call: BarsCall, page: Page | None, state: SpanState, error: str, now_ms: int) -> list[Span]:
    """What the ledger learns of the range of a call, or of what is left of it after some pages, that brought
    nothing."""
    start_ms = page.from_ms if page else _floor(call.start_ms)
    end_ms = _floor(min(call.end_ms + 1, now_ms))
    keeps_bars = call.work[0].asset.bars
    return [Span(start_ms, end_ms, state, now_ms, error)] if keeps_bars and start_ms < end_ms else []


def too_old(item: Work, known: Entitlements, now_ms: int) -> list[Span]:
    """The part of a page of the past that lies before the plan's history."""
    start_ms, end_ms = days_range(item)
    edge_ms = min(end_ms, known.history_from_ms(item.asset.asset_type, now_ms))
    return [Span(start_ms, edge_ms, SpanState.NOT_IN_PLAN, now_ms)] if start_ms < edge_ms else []


# --- refusals ---


def refusal_findings(
    call: Call, work: Sequence[Work], page: Page | None, refusal: Refusal, now_ms: int
) -> Findings:
    """A call was refused, or a page of it, and nothing shows how else to ask: so is all of its work."""
    consequence = CONSEQUENCES[refusal.kind]
    spans: list[Span] = []
    if consequence.span and isinstance(call, BarsCall):
        spans = failed_range(call, page, consequence.span, refusal.message, now_ms)
    results = [
        Result(work=item, status=consequence.status, error=refusal.message, final=consequence.final)
        for item in work
    ]
    return Findings(results=results, spans={call.work[0].asset.symbol: spans} if spans else {})


def answered_to(call: BarsCall, answer: BarsAnswer, now_ms: int, newest_ms: int) -> int:
    """The moment up to which an answer tells all there is, from the start of its range on.

    With more pages to come that is the end of its last element. Otherwise all of the range, except what
    the vendor may only be late with: slots of the last minutes, and those later than the newest data that
    it has shown of any asset of the class (`newest_ms`; where it has shown none, of the last two days).
    """
    end_ms = _floor(min(call.end_ms + 1, now_ms))
    starts_ms = [*(bar.t_ms for bar in answer.bars[-1:]), *answer.faulty_ms[-1:]]
    last_ms = min(max(starts_ms) + BAR_MS, end_ms) if starts_ms else call.start_ms
    if answer.next_url is not None:
        return last_ms
    known_ms = newest_ms + HOUR_MS if newest_ms else now_ms - LATE_AT_MOST_MS
    return max(last_ms, min(end_ms, _floor(min(known_ms, now_ms - SETTLED_AFTER_MS))))


def _floor(at_ms: int) -> int:
    return at_ms - at_ms % BAR_MS


def price_from_bars(symbol: str, bars: Sequence[Bar], seen_to_ms: int) -> Price:
    """The price that follows from ascending bars: the last close, as of the end of its bar or the moment it
    was asked at, whichever is earlier; the daily values are those of its New York day."""
    last = bars[-1]
    midnight = last_midnight(last.t_ms)
    day = [bar for bar in bars if bar.t_ms >= midnight]
    return Price(
        symbol=symbol,
        last_price=last.close,
        as_of_ms=min(last.end_ms, seen_to_ms),
        daily_open=day[0].open,
        daily_high=max(bar.high for bar in day),
        daily_low=min(bar.low for bar in day),
        daily_close=last.close,
    )


def ledger_of(answer: BarsAnswer, start_ms: int, end_ms: int, now_ms: int) -> list[Span]:
    """What an answer tells of `[start_ms, end_ms)`: slots whose bar was of no use are failed, the rest is
    asked. Where some elements could not even be placed, no missing slot is one the vendor has nothing for."""
    if start_ms >= end_ms:
        return []
    unplaced = answer.refused["undecodable"] + answer.refused["time"]
    if unplaced:
        error = f"{plural(unplaced, 'element')} of the answer could not be read"
        return [Span(start_ms, end_ms, SpanState.FAILED, now_ms, error)]
    spans = []
    at_ms = start_ms
    for faulty in sorted(t_ms for t_ms in answer.faulty_ms if start_ms <= t_ms < end_ms):
        spans.append(Span(at_ms, faulty, SpanState.ASKED, now_ms))
        at_ms = faulty + BAR_MS
        spans.append(Span(faulty, at_ms, SpanState.FAILED, now_ms, OF_NO_USE))
    spans.append(Span(at_ms, end_ms, SpanState.ASKED, now_ms))
    return [span for span in spans if span.start_ms < span.end_ms]
