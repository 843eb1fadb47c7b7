"""The listings of stocks: since when, whether still, and under which other ticker.

One call names a ticker. One more says since when it is its company's, for a stock that keeps bars. For a
ticker that is not listed any more, what it was on the day of its last trade leads to what became of it; of a
ticker without any trade the list of those that have ended says what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import unanswered
from assetbatch.domain.listings import (
    Details,
    Listing,
    ListingState,
    TickerChange,
    after_changes,
    after_details,
    after_former,
    after_not_found,
    is_anothers,
    last_trade_day,
    may_be_gone,
    wants_listing,
)
from assetbatch.domain.models import Changes, CoveredInterval, IntervalState, StoredAsset
from assetbatch.domain.references import Asked, AskOutcome, Reference, ReferenceKind
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.work import parse_work_id
from assetbatch.refresh.references.handler import Answer, ReferenceHandler, Stored
from assetbatch.state.queue import DEAD_LETTERS_KEPT

if TYPE_CHECKING:
    from assetbatch.provider.client import ProviderClient
    from assetbatch.provider.refusals import Refusal
    from assetbatch.services import Services


def of_listing(symbol: str) -> Reference:
    """Return the call that names the ticker of a symbol."""
    return Reference(ReferenceKind.LISTING, symbol)


def of_former(symbol: str, day: date | None) -> Reference:
    """Return the call that names it as it was on a day, or else when it ended."""
    return Reference(ReferenceKind.FORMER, f"{symbol}@{day or ''}")


def of_renames(symbol: str, figi: str) -> Reference:
    """Return the call for the tickers of its company; without a FIGI the ticker stands for that."""
    return Reference(ReferenceKind.RENAMES, f"{symbol}@{figi}")


class _OfStock(ReferenceHandler[Answer]):
    """What the calls about one stock have in common. What was asked is kept with the stock; only what the
    plan refuses is remembered for all of them."""

    def due(
        self,
        _services: Services,
        _stored: Mapping[str, StoredAsset],
        _asked: Mapping[str, Asked],
        _now_ms: int,
    ) -> Sequence[Reference]:
        """Return nothing: another call leads to it."""
        return ()

    def is_wanted(self, services: Services, reference: Reference) -> bool:
        """Return whether the stock is still configured."""
        return reference.symbol in services.config.assets_by_symbol

    def asked_as(self, reference: Reference) -> str:
        """Return the same name for all stocks: what the plan refuses, it refuses for all."""
        return reference.kind.value

    def remember(self, services: Services, reference: Reference, asked: Asked) -> None:
        """Remember what is refused for all stocks, and what has failed for one."""
        if asked.outcome is AskOutcome.REFUSED:
            super().remember(services, reference, asked)
        elif asked.outcome is AskOutcome.FAILED:
            services.reference_store.remember(reference.name, asked)


class ListingHandler(_OfStock[Details]):
    """What the reference says of a ticker today."""

    def due(
        self,
        services: Services,
        stored: Mapping[str, StoredAsset],
        asked: Mapping[str, Asked],
        now_ms: int,
    ) -> Sequence[Reference]:
        """Return a call for each stock that is new, silent or not listed, unless the plan refuses them.

        Of the members of a rule only for those that keep bars or have ended: the rule's own calls say who is
        gone.
        """
        refused = asked.get(ReferenceKind.LISTING.value)
        if refused is not None and refused.is_refused(now_ms):
            return ()
        known, members = services.entitlements(), services.config.members_by_symbol
        wanted = [
            of_listing(asset.symbol)
            for asset in services.config.assets
            if (of_asset := stored.get(asset.symbol)) is not None
            if (asset.bars or asset.symbol not in members or of_asset.has_ended)
            if wants_listing(asset, of_asset, known, now_ms)
        ]
        failed = {name for name, one in asked.items() if one.is_failed(now_ms)}
        return [reference for reference in wanted if reference.name not in failed]

    def send(
        self, services: Services, provider: ProviderClient, reference: Reference, seconds: float
    ) -> Details:
        """Make one request."""
        return provider.details(_asset(services, reference).polygon_ticker, deadline_seconds=seconds)

    def store(self, services: Services, reference: Reference, answer: Details, now_ms: int) -> Stored:
        """Keep what it says. For a stock that keeps bars it is asked since when the ticker is its own. If it
        is another company's now, look for what became of the one before."""
        asset, stored = _asset(services, reference), _stored(services, reference)
        before = stored.listing if stored else None
        if before and is_anothers(before, answer):
            after = after_not_found(before, now_ms)
            _save(services, reference, after, now_ms)
            return Stored("another company's", [of_renames(reference.symbol, before.figi)])
        after = after_details(before, answer, last_trade_day(asset.market, stored), now_ms)
        _save(services, reference, after, now_ms)
        is_new = before is None or before.state is ListingState.UNLISTED
        follows = is_new and asset.bars and not after.has_ended
        return Stored(_words(after), [of_renames(reference.symbol, after.figi)] if follows else ())

    def take_refusal(
        self, services: Services, reference: Reference, refusal: Refusal, now_ms: int
    ) -> Stored | None:
        """Look for what became of a stock that has no trade or has fallen silent, if its ticker is not
        listed."""
        if refusal.kind is not RefusalKind.UNKNOWN_TICKER:
            return None
        asset, stored = _asset(services, reference), _stored(services, reference)
        after = after_not_found(stored.listing if stored else None, now_ms)
        _save(services, reference, after, now_ms)
        if stored is None or not may_be_gone(asset, stored, services.entitlements(), now_ms):
            return Stored(_words(after))
        of, day = reference.symbol, last_trade_day(asset.market, stored)
        return Stored(_words(after), [of_renames(of, after.figi) if after.figi else of_former(of, day)])


class FormerHandler(_OfStock[Details | None]):
    """What the reference says of a ticker on the day of its last trade, or of its end where it has no trade:
    the name of its company."""

    def send(
        self, services: Services, provider: ProviderClient, reference: Reference, seconds: float
    ) -> Details | None:
        """Make one request."""
        ticker = _asset(services, reference).polygon_ticker
        if not reference.about:
            return provider.ended(ticker, deadline_seconds=seconds)
        return provider.details(ticker, date.fromisoformat(reference.about), deadline_seconds=seconds)

    def store(self, services: Services, reference: Reference, answer: Details | None, now_ms: int) -> Stored:
        """Ask for the changes of the company's ticker, or take the ticker for delisted. One that never was is
        neither."""
        stored = _stored(services, reference)
        if answer is None or stored is None or stored.listing is None:
            return Stored("never listed")
        _save(services, reference, after_former(stored.listing, answer, now_ms), now_ms)
        if not answer.figi:
            return _keep_changes(services, reference, (), now_ms)
        return Stored(follows=[of_renames(reference.symbol, answer.figi)])

    def take_refusal(
        self, services: Services, reference: Reference, refusal: Refusal, now_ms: int
    ) -> Stored | None:
        """Take a ticker with trades for delisted if nothing is known of it."""
        if not _is_no_answer(refusal):
            return None
        return _keep_changes(services, reference, (), now_ms) if reference.about else Stored("never listed")


class RenamesHandler(_OfStock[tuple[TickerChange, ...]]):
    """The tickers that the company of a stock has had. The endpoint is experimental: its refusal is no
    error."""

    def send(
        self, services: Services, provider: ProviderClient, reference: Reference, seconds: float
    ) -> tuple[TickerChange, ...]:
        """Make one request."""
        of = reference.about or _asset(services, reference).polygon_ticker
        return provider.ticker_changes(of, deadline_seconds=seconds)

    def store(
        self, services: Services, reference: Reference, answer: tuple[TickerChange, ...], now_ms: int
    ) -> Stored:
        """Keep since when the ticker is its company's, or what became of it."""
        return _keep_changes(services, reference, answer, now_ms)

    def take_refusal(
        self, services: Services, reference: Reference, refusal: Refusal, now_ms: int
    ) -> Stored | None:
        """Go on without an answer."""
        if not _is_no_answer(refusal):
            return None
        if refusal.kind is not RefusalKind.UNKNOWN_TICKER and refusal.sent:
            self.remember(services, reference, Asked(now_ms, AskOutcome.REFUSED, refusal.message))
        return _keep_changes(services, reference, (), now_ms)


def _is_no_answer(refusal: Refusal) -> bool:
    """Return whether a refusal is not to be expected to change soon. An experimental endpoint may go."""
    is_gone = refusal.kind is RefusalKind.NONSENSE and (refusal.http_status or 0) // 100 == 4
    return is_gone or refusal.kind in (RefusalKind.UNKNOWN_TICKER, RefusalKind.NOT_IN_PLAN)


def _asset(services: Services, reference: Reference) -> Asset:
    return services.config.assets_by_symbol[reference.symbol]


def _stored(services: Services, reference: Reference) -> StoredAsset | None:
    return services.store.load([reference.symbol]).get(reference.symbol)


def _keep_changes(
    services: Services, reference: Reference, changes: Sequence[TickerChange], now_ms: int
) -> Stored:
    """Keep what the changes of its company's ticker say of a stock; none if they could not be had."""
    asset, stored = _asset(services, reference), _stored(services, reference)
    if stored is None or stored.listing is None:
        return Stored()
    last_day = last_trade_day(asset.market, stored)
    after = after_changes(stored.listing, asset.polygon_ticker, changes, last_day, now_ms)
    _save(services, reference, after, now_ms)
    return Stored(_words(after))


def _save(services: Services, reference: Reference, after: Listing, now_ms: int) -> None:
    """Keep what is known of a listing. Bars from before its first day are not wanted. What has failed of a
    stock that has ended is over."""
    services.store.save_listing(reference.symbol, after)
    if after.has_ended:
        letters = services.queue.dead_letters(DEAD_LETTERS_KEPT)
        services.queue.drop_dead(
            [letter.id for letter in letters if parse_work_id(letter.id).symbol == reference.symbol]
        )
    stored = _stored(services, reference)
    if stored is None or not stored.coverage or not after.from_ms:
        return
    before = unanswered(stored.coverage, stored.coverage[0].start_ms, after.from_ms)
    not_wanted = [
        CoveredInterval(one.start_ms, one.end_ms, IntervalState.NOT_WANTED)
        for one in before
        if one.state not in (IntervalState.NOT_IN_PLAN, IntervalState.NOT_WANTED)
    ]
    if not_wanted:
        services.store.save(Changes(coverage={reference.symbol: not_wanted}), now_ms)


def _words(listing: Listing) -> str:
    if listing.has_ended:
        word = "renamed to" if listing.state is ListingState.RENAMED else "delisted since"
        return f"{word} {listing.ending}"
    if listing.state is ListingState.UNLISTED:
        return "not listed"
    return f"listed since {listing.first_day}" if listing.first_day else "listed"
