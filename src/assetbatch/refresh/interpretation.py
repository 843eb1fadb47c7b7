"""What an answer or a refusal of the provider means for the work it was asked for.

Pure: values in, `Findings` out. The state of the batch takes them over (`batch.BatchState.apply`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.calls import BarsCall, Call, PricesCall, asset_types
from assetbatch.domain.coverage import record, unanswered
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import moment, plural
from assetbatch.domain.market_hours import last_midnight, open_ms_between
from assetbatch.domain.models import (
    BAR_MS,
    Bar,
    CoveredInterval,
    IntervalFault,
    IntervalState,
    Price,
    StoredAsset,
    floor_to_bar,
)
from assetbatch.domain.queueing import Fault
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import OPEN, Status
from assetbatch.domain.units import DAY_MS, HOUR_MS, MINUTE_MS
from assetbatch.domain.work import Work, WorkKind, days_range
from assetbatch.provider.refusals import Refusal

if TYPE_CHECKING:
    from assetbatch.provider.answers import BarsAnswer, PricesAnswer

FUTURE_MS = MINUTE_MS
"""How far ahead of our clock a price may be dated."""

SETTLED_AFTER_MS = 25 * MINUTE_MS
"""How old a slot without a bar must be for the provider to have none: plans lag by up to 15 minutes."""

HOLE_MS = HOUR_MS
"""Within bars, a longer stretch of open hours without any is believed when the provider answers so twice."""

EMPTY_MS = DAY_MS
"""The same of a stretch at either end of an answer, where the data may simply begin or end."""

MOST_PAGES = 100
"""Maximum number of pages of one range, and so the share of the range that each is to bring; a range fits one
page of the size that the provider documents."""

FAULT_WORDS = {
    IntervalFault.UNUSABLE_BAR: "the provider's bar is of no use",
    IntervalFault.UNCONFIRMED: "the provider answered without any bar; asked once more",
}
"""What people read of a fault."""

LATE_AT_MOST_MS = 2 * DAY_MS
"""By then the provider has published whatever it has."""

_SUCCESS = Status.SUCCESS  # a member of an enum is looked up by Python code, which thousands of assets feel


class Consequence(msgspec.Struct, frozen=True):
    """What follows from a refusal that has taught nothing of the plan by which it could be asked otherwise:
    the sync status, whether another try cannot help, whether the batch makes no further call, what the
    ledger says of bars asked for, whose fault it is, whether it shows that the provider is at work."""

    status: Status
    final: bool = False
    ends_batch: bool = False
    span: IntervalState | None = None
    fault: Fault = Fault.ITEM
    at_work: bool = True


CONSEQUENCES: Mapping[RefusalKind, Consequence] = {
    RefusalKind.KEY: Consequence(Status.DEFERRED, ends_batch=True, at_work=False),
    RefusalKind.NOT_IN_PLAN: Consequence(Status.NOT_ENTITLED, final=True, span=IntervalState.NOT_IN_PLAN),
    RefusalKind.TODAY_NOT_YET: Consequence(Status.NOT_ENTITLED, final=True, span=IntervalState.FAILED),
    RefusalKind.TIMEFRAME: Consequence(Status.NOT_ENTITLED, final=True, span=IntervalState.NOT_IN_PLAN),
    RefusalKind.UNKNOWN_TICKER: Consequence(Status.NOT_FOUND, final=True, span=IntervalState.FAILED),
    RefusalKind.TOO_MANY_CALLS: Consequence(Status.DEFERRED, ends_batch=True, at_work=False),
    RefusalKind.PROVIDER_DOWN: Consequence(
        Status.FAILED, span=IntervalState.FAILED, fault=Fault.PROVIDER, at_work=False
    ),
    RefusalKind.NONSENSE: Consequence(
        Status.FAILED, span=IntervalState.FAILED, fault=Fault.PROVIDER, at_work=False
    ),
}
"""The one place that says what each class of refusal leads to: the table "Refusals" of
docs/how-calls-are-spent.md is this one."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one piece of work. `final` where another try cannot help; `fault` says whose it is;
    `answers` is how many calls of the same start the provider had answered when this one failed."""

    work: Work
    status: Status
    price: Price | None = None
    bars: int = 0
    error: str | None = None
    final: bool = False
    fault: Fault = Fault.ITEM
    answers: int = 0


class Page(msgspec.Struct, frozen=True):
    """The rest of a range: the answer that leads to it, where it begins, and the bars that came before.

    `number` pages have come by `at_ms`; what lies before `begun_ms` was known before the first of them.
    """

    answer: BarsAnswer
    from_ms: int
    bars: list[Bar]
    number: int
    begun_ms: int
    at_ms: int


class ClassRefusal(msgspec.Struct, frozen=True):
    """All assets of a class that an answer was asked for are refused in it; a single one of them condemns
    only itself, and is named."""

    asset_type: AssetType
    message: str
    ticker: str | None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one call: results of its work, bars to store and what the ledger learns, by symbol.

    Work without a result waits: for the `next_page` of its range, or to be asked for in another way
    because its class is among `refused_classes`. `bars_refused` and `prices_refused` count elements that
    were of no use.
    """

    results: Sequence[Result] = ()
    asked_ms: int | None = None
    """When it was asked, if an answer came."""
    bars: Mapping[str, Sequence[Bar]] = {}
    bars_refused: int = 0
    prices_refused: int = 0
    spans: Mapping[str, Sequence[CoveredInterval]] = {}
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
    """Judge each ticker by itself. Where all of a class are refused, they are left to be asked for in another
    way; that their class is refused follows only where there are two."""
    refused = []
    for asset_type in asset_types(call) if answer.errors else ():
        of_type = [item for item in work if item.asset.asset_type is asset_type]
        refusals = [answer.errors.get(item.asset.polygon_ticker) for item in of_type]
        lacking = [refusal for refusal in refusals if refusal and refusal.kind is RefusalKind.NOT_IN_PLAN]
        if lacking and len(lacking) == len(of_type):
            alone = of_type[0].asset.polygon_ticker if len(of_type) == 1 else None
            refused.append(ClassRefusal(asset_type, lacking[0].message, alone))
            work = [item for item in work if item.asset.asset_type is not asset_type]
    results = [_from_prices(item, answer, stored, now_ms) for item in work]
    return Findings(
        asked_ms=now_ms,
        results=results,
        prices_refused=sum(untrue_prices(answer).values()),
        refused_classes=refused,
    )


def untrue_prices(answer: PricesAnswer) -> dict[str, int]:
    """What an answer has by reason that cannot be true or was not asked for."""
    return {reason: count for reason, count in answer.refused.items() if reason not in ("empty", "duplicate")}


def _from_prices(item: Work, answer: PricesAnswer, stored: Mapping[str, StoredAsset], now_ms: int) -> Result:
    ticker = item.asset.polygon_ticker
    price = answer.prices.get(ticker)
    if price is not None and price.as_of_ms <= now_ms + FUTURE_MS:
        if price.symbol != item.asset.symbol:  # two spellings of a symbol have one ticker
            price = msgspec.structs.replace(price, symbol=item.asset.symbol)
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
    """Take the price from one day's bar; there may be none. The provider stamps it with the day's start or
    its end, so that the day that has just ended may look like the next one; a later one is from the
    future."""
    if price is None:
        return Findings(
            asked_ms=now_ms,
            results=[
                _nothing(item, stored, f"the provider has no previous day of {item.asset.polygon_ticker}")
                for item in work
            ],
        )
    ended_ms = last_midnight(now_ms)
    if price.as_of_ms > ended_ms + DAY_MS + HOUR_MS:  # an hour more: summer time ends
        error = f"the previous day is from the future ({moment(price.as_of_ms)})"
        return Findings(
            asked_ms=now_ms, results=[Result(work=item, status=Status.FAILED, error=error) for item in work]
        )
    price = msgspec.structs.replace(price, as_of_ms=min(price.as_of_ms, ended_ms))
    return Findings(
        asked_ms=now_ms, results=[Result(work=item, status=_SUCCESS, price=price) for item in work]
    )


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
    is. With a further page the work waits for that; a page beyond the last bar that can be is not asked."""
    asset = call.work[0].asset
    before = stored[asset.symbol].spans if asset.symbol in stored else ()
    from_ms = page.from_ms if page else floor_to_bar(call.start_ms)
    end_ms = _end_of(call, now_ms)
    to_ms = answered_to(call, answer, now_ms, known.newest_ms(asset.asset_type))
    if answer.next_url is not None and not open_ms_between(asset.market, to_ms, end_ms):
        answer = msgspec.structs.replace(answer, next_url=None)
    seen_to_ms = min(now_ms, call.end_ms + 1)
    finished = [bar for bar in answer.bars if bar.end_ms <= seen_to_ms] if asset.bars else []
    spans = ledger_of(asset.market, answer, before, from_ms, to_ms, now_ms) if asset.bars else []
    bars = [*page.bars, *answer.bars] if page else answer.bars
    results: list[Result] = []
    following = None
    if answer.next_url is not None:
        begun_ms = page.begun_ms if page else _known_to(before, from_ms)
        number = page.number + 1 if page else 1
        following = Page(answer, max(from_ms, to_ms), bars, number, begun_ms, now_ms)
        error = _why_pages_end(call, page, following)
        if error:
            spans += failed_range(call, following, IntervalState.FAILED, error, now_ms)
            results = [Result(work=item, status=Status.FAILED, error=error) for item in work]
            following = None
    else:
        for item in work:
            if item.kind is WorkKind.HISTORY:
                spans += too_old(item, known, now_ms)
            results.append(_from_bars(item, call, bars, stored, seen_to_ms))
    return Findings(
        results=results,
        asked_ms=now_ms,
        bars={asset.symbol: finished} if finished else {},
        bars_refused=answer.refused.total(),
        spans={asset.symbol: spans} if spans else {},
        next_page=following,
    )


def _known_to(spans: Sequence[CoveredInterval], start_ms: int) -> int:
    """The end of the ASKED span around a moment, or the moment itself."""
    return next((span.end_ms for span in spans if _is_asked_at(span, start_ms)), start_ms)


def _is_asked_at(span: CoveredInterval, at_ms: int) -> bool:
    return span.state is IntervalState.ASKED and span.start_ms <= at_ms < span.end_ms


def _why_pages_end(call: BarsCall, before: Page | None, page: Page) -> str | None:
    """Why no further page of a range is asked for though there is one; None where it is."""
    if before is not None and page.from_ms <= before.from_ms:
        return f"the provider's pages lead nowhere: page {page.number} brought nothing"
    if page.number >= MOST_PAGES or _is_slow(call, page, page.number - 1):
        return _never_end(page)
    return None


def _is_slow(call: BarsCall, page: Page, shares: int) -> bool:
    """Whether the pages of a range have brought less than so many of the `MOST_PAGES` shares of it."""
    whole_ms = _end_of(call, page.at_ms) - page.begun_ms
    return max(0, page.from_ms - page.begun_ms) * MOST_PAGES < whole_ms * shares


def _never_end(page: Page) -> str:
    count = plural(page.number, "page")
    return f"the provider's pages do not end: {count} brought bars up to {moment(page.from_ms)}"


def unended_findings(call: BarsCall, work: Sequence[Work], page: Page) -> Findings:
    """No call is left for the next page of a range. Its work waits for another cycle as long as the pages
    bring the range forward; it fails where they do not, or it would wait for ever."""
    goes_on = work and work[0].asset.bars  # else nothing is stored, and the next cycle begins anew
    if goes_on and not _is_slow(call, page, page.number):
        return Findings()
    error = _never_end(page)
    spans = failed_range(call, page, IntervalState.FAILED, error, page.at_ms)
    return Findings(
        results=[Result(work=item, status=Status.FAILED, error=error) for item in work],
        spans={call.work[0].asset.symbol: spans} if spans else {},
    )


def _from_bars(
    item: Work, call: BarsCall, bars: Sequence[Bar], stored: Mapping[str, StoredAsset], seen_to_ms: int
) -> Result:
    if not bars and item.kind is WorkKind.PRICE:
        span = f"from {moment(call.start_ms)} to {moment(call.end_ms + 1)}"
        return _nothing(item, stored, f"the provider has no bars of {item.asset.polygon_ticker} {span}")
    price = None
    if item.kind is WorkKind.PRICE:
        price = price_from_bars(item.asset.symbol, bars, seen_to_ms)
    count = len(bars) if item.asset.bars else 0
    return Result(work=item, status=_SUCCESS, price=price, bars=count)


def failed_range(
    call: BarsCall, page: Page | None, state: IntervalState, error: str, now_ms: int
) -> list[CoveredInterval]:
    """What the ledger learns of the range of a call, or of what is left of it after some pages, that brought
    nothing."""
    start_ms = page.from_ms if page else floor_to_bar(call.start_ms)
    end_ms = _end_of(call, now_ms)
    keeps_bars = call.work[0].asset.bars
    return (
        [CoveredInterval(start_ms, end_ms, state, now_ms, error)] if keeps_bars and start_ms < end_ms else []
    )


def too_old(item: Work, known: Entitlements, now_ms: int) -> list[CoveredInterval]:
    """The part of a page of the past that lies before the plan's history."""
    start_ms, end_ms = days_range(item)
    edge_ms = min(end_ms, known.history_from_ms(item.asset.asset_type, now_ms))
    return (
        [CoveredInterval(start_ms, edge_ms, IntervalState.NOT_IN_PLAN, now_ms)] if start_ms < edge_ms else []
    )


# --- refusals ---


def refusal_findings(
    call: Call,
    work: Sequence[Work],
    page: Page | None,
    refusal: Refusal,
    now_ms: int,
    fault: Fault,
    answers: int = 0,
) -> Findings:
    """A call was refused, or a page of it, and nothing shows how else to ask: so is all of its work; after so
    many `answers` to calls of the same start."""
    consequence = CONSEQUENCES[refusal.kind]
    spans: list[CoveredInterval] = []
    if consequence.span and isinstance(call, BarsCall):
        spans = failed_range(call, page, consequence.span, refusal.message, now_ms)
    results = [
        Result(
            work=item,
            status=consequence.status,
            error=refusal.message,
            final=consequence.final,
            fault=fault,
            answers=answers,
        )
        for item in work
    ]
    return Findings(results=results, spans={call.work[0].asset.symbol: spans} if spans else {})


def answered_to(call: BarsCall, answer: BarsAnswer, now_ms: int, newest_ms: int) -> int:
    """The moment up to which an answer tells all there is, from the start of its range on.

    With more pages to come that is the end of its last element. Otherwise all of the range, except what
    the provider may only be late with: slots of the last minutes, and those later than the newest data that
    it has shown of any asset of the class (`newest_ms`; where it has shown none, of the last two days).
    """
    end_ms = _end_of(call, now_ms)
    starts_ms = [*(bar.t_ms for bar in answer.bars[-1:]), *answer.faulty_ms[-1:], *answer.misplaced_ms[-1:]]
    last_ms = min(max(starts_ms) + BAR_MS, end_ms) if starts_ms else call.start_ms
    if answer.next_url is not None:
        return last_ms
    known_ms = newest_ms + HOUR_MS if newest_ms else now_ms - LATE_AT_MOST_MS
    return max(last_ms, min(end_ms, floor_to_bar(min(known_ms, now_ms - SETTLED_AFTER_MS))))


def _end_of(call: BarsCall, now_ms: int) -> int:
    """The end of the last slot of a range that has ended."""
    return floor_to_bar(min(call.end_ms + 1, now_ms))


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


def ledger_of(
    market: Market,
    answer: BarsAnswer,
    before: Sequence[CoveredInterval],
    start_ms: int,
    end_ms: int,
    now_ms: int,
) -> list[CoveredInterval]:
    """What an answer tells of `[start_ms, end_ms)` beside what was known `before`.

    A slot is FAILED where its bar was of no use or misplaced. A slot without a bar is FAILED where elements
    could not even be placed, or where so much is missing that the provider has to answer so once more. All
    else is ASKED: stored, or nothing that the provider has.
    """
    if start_ms >= end_ms:
        return []
    unplaced = f"{plural(answer.unplaced, 'element')} of the answer could not be placed"
    misplaced = f"{plural(len(answer.misplaced_ms), 'element')} of the answer came for another time or ticker"
    is_continued = any(_is_asked_at(span, start_ms - BAR_MS) for span in before)
    continues = any(_is_asked_at(span, end_ms) for span in before)

    def missing(from_ms: int, to_ms: int) -> list[CoveredInterval]:
        if not answer.unplaced and to_ms - from_ms <= HOLE_MS:
            return []
        open_ms = open_ms_between(market, from_ms, to_ms)
        if not open_ms or answer.unplaced:
            return (
                [CoveredInterval(from_ms, to_ms, IntervalState.FAILED, now_ms, unplaced)] if open_ms else []
            )
        within = (from_ms > start_ms or is_continued) and (to_ms < end_ms or continues)
        if not (open_ms > HOLE_MS if within else open_ms >= EMPTY_MS):
            return []
        return [
            _failed(piece.start_ms, piece.end_ms, now_ms, IntervalFault.UNCONFIRMED)
            for piece in unanswered(before, from_ms, to_ms)
            if piece.fault is not IntervalFault.UNCONFIRMED
        ]

    faulty, odd = set(answer.faulty_ms), {*answer.faulty_ms, *answer.misplaced_ms}
    starts_ms: Sequence[int] = [bar.t_ms for bar in answer.bars]
    if odd:
        starts_ms = sorted({*starts_ms, *odd})
    failed: list[CoveredInterval] = []
    at_ms = start_ms
    for t_ms in starts_ms:
        if not start_ms <= t_ms < end_ms:
            continue
        if t_ms > at_ms:
            failed += missing(at_ms, t_ms)
        at_ms = t_ms + BAR_MS
        if t_ms in faulty:
            failed.append(_failed(t_ms, at_ms, now_ms, IntervalFault.UNUSABLE_BAR))
        elif t_ms in odd:
            failed.append(CoveredInterval(t_ms, at_ms, IntervalState.FAILED, now_ms, misplaced))
    failed += missing(at_ms, end_ms)
    failed = record((), failed)  # neighbours that failed alike are one
    return _with_the_rest_asked(failed, start_ms, end_ms, now_ms)


def _failed(start_ms: int, end_ms: int, now_ms: int, fault: IntervalFault) -> CoveredInterval:
    return CoveredInterval(start_ms, end_ms, IntervalState.FAILED, now_ms, FAULT_WORDS[fault], fault)


def _with_the_rest_asked(
    failed: Sequence[CoveredInterval], start_ms: int, end_ms: int, now_ms: int
) -> list[CoveredInterval]:
    spans = []
    at_ms = start_ms
    for span in failed:
        if at_ms < span.start_ms:
            spans.append(CoveredInterval(at_ms, span.start_ms, IntervalState.ASKED, now_ms))
        spans.append(span)
        at_ms = span.end_ms
    if at_ms < end_ms:
        spans.append(CoveredInterval(at_ms, end_ms, IntervalState.ASKED, now_ms))
    return spans
