"""The splits of stocks: those of the whole market once a day, those of all times once for each stock."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.formatting import listed, plural
from assetbatch.domain.market_hours import day_of, sessions
from assetbatch.domain.models import StoredAsset
from assetbatch.domain.references import Asked, AskOutcome, Reference, ReferenceKind, is_due
from assetbatch.domain.splits import (
    Listed,
    Request,
    Split,
    SplitState,
    parse_request,
    request_of_market,
    requests_of_history,
)
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.refresh.references.handler import ReferenceHandler, Stored

if TYPE_CHECKING:
    from assetbatch.provider.answers import SplitsAnswer
    from assetbatch.provider.client import ProviderClient
    from assetbatch.services import Services

log = logging.getLogger("assetbatch")

EVERY_MS = DAY_MS
"""How often the splits of the whole market are asked for."""

NAMES_SHOWN = 10
"""Maximum number of splits that a line names."""

_ANSWERED = Reference(ReferenceKind.SPLITS).name
"""Under which name the last answer about the whole market is remembered, whose id changes with its days."""

_RESTS = f"{_ANSWERED}:market"
_HISTORY_RESTS = f"{_ANSWERED}:history"
"""Under which names a refusal or a failure is remembered."""

_GOES_ON = f"{_ANSWERED}:everybody"
"""Under which name it is remembered when the last page of all times of the whole market has come, that leads
to another one."""

_GOES_ON_MS = HOUR_MS
"""How long that page is waited for, before the first one is asked for again: the queue may have been lost."""


class SplitsHandler(ReferenceHandler["SplitsAnswer"]):
    """Splits change no bar: the adjusted views apply them."""

    def due(
        self,
        services: Services,
        stored: Mapping[str, StoredAsset],
        asked: Mapping[str, Asked],
        now_ms: int,
    ) -> Sequence[Reference]:
        """Return the daily request if a stock is listed, the exchange opens today and the last answer is a
        day old; and requests for what is new."""
        tickers = _tickers(services)
        rests = asked.get(_RESTS)
        if not tickers or (_rests(rests, now_ms) and rests and rests.outcome is AskOutcome.REFUSED):
            return ()
        found: list[Request] = []
        answered = asked.get(_ANSWERED)
        today = day_of(now_ms)
        is_listed = any(symbol in stored and not stored[symbol].has_ended for symbol in tickers)
        # What is announced on a day without a session takes effect later.
        has_session = answered is None or bool(sessions(Market.STOCK, today))
        if is_listed and has_session and is_due(answered, EVERY_MS, now_ms) and not _rests(rests, now_ms):
            found.append(request_of_market(today, day_of(answered.at_ms) if answered else None))
        if not _rests(asked.get(_HISTORY_RESTS), now_ms):
            goes_on = (page := asked.get(_GOES_ON)) is not None and not page.is_past(_GOES_ON_MS, now_ms)
            history = requests_of_history(_unasked(services, tickers), set(tickers.values()))
            found += (one for one in history if not (one.is_of_everybody and goes_on))
        return [_reference(request) for request in found]

    def is_wanted(self, services: Services, reference: Reference) -> bool:
        """Return whether there are stocks, those that it asks about among them."""
        services.load_members()
        request, tickers = parse_request(reference.detail), _tickers(services)
        if request is None or not request.is_about(set(tickers.values())):
            return False
        return not request.is_of_everybody or bool(services.store.unasked_splits(tickers))

    def is_configured(self, services: Services, reference: Reference) -> bool:
        """Return whether there are stocks, of which all may have been asked for meanwhile."""
        return parse_request(reference.detail) is not None and bool(_tickers(services))

    def send(
        self, services: Services, provider: ProviderClient, reference: Reference, seconds: float
    ) -> SplitsAnswer:
        """Ask for one page."""
        request = _request(reference)
        tickers = () if request.is_of_market else request.tickers(set(_tickers(services).values()))
        days = request.days(day_of(services.now_ms()))
        return provider.splits(days, tickers, deadline_seconds=seconds)

    def store(self, services: Services, reference: Reference, answer: SplitsAnswer, now_ms: int) -> Stored:
        """Write what has changed. The last page says what the bars bear out."""
        request, tickers = _request(reference), _tickers(services)
        about = set(request.tickers(set(tickers.values())))
        asked = {symbol: ticker for symbol, ticker in tickers.items() if ticker in about}
        found = {
            symbol: Listed(answer.splits.get(ticker, ()), answer.useless.get(ticker, ()))
            for symbol, ticker in asked.items()
            if ticker in answer.splits or ticker in answer.useless
        }
        is_last = answer.rest is None
        is_history = is_last and request.is_history
        learned = services.store.learn_splits(
            found, asked, answer.settled, now_ms, asked=asked if is_history else None
        )
        _warn(
            "the provider lists several splits for one day, and they differ",
            learned.of_state(SplitState.CONFLICT),
        )
        if is_last:
            unfit = services.store.judge_splits(day_of(now_ms))
            _warn("the prices before and after do not fit the split, which counts all the same", unfit)
            if request.is_of_market:
                services.reference_store.remember(_ANSWERED, Asked(now_ms))
        elif request.is_of_everybody:
            services.reference_store.remember(_GOES_ON, Asked(now_ms))
        words = [f"{plural(len(learned.of_state(state)), 'split')} {state}" for state in SplitState]
        words = [one for one in words if not one.startswith("0 ")] or ["nothing new"]
        words += [f"not used: {count} {reason}" for reason, count in sorted(answer.refused.items())]
        follows = [_reference(request._replace(first=answer.rest.first))] if answer.rest else []
        return Stored(", ".join(words), follows)

    def remember(self, services: Services, reference: Reference, asked: Asked) -> None:
        """Remember a refusal, which is one of all splits, or a failure. What was answered is remembered when
        it is stored."""
        if asked.outcome is AskOutcome.ANSWERED:
            return
        of_all = asked.outcome is AskOutcome.REFUSED or not _request(reference).is_history
        services.reference_store.remember(_RESTS if of_all else _HISTORY_RESTS, asked)


def _tickers(services: Services) -> dict[str, str]:
    """Return the ticker of each stock that is kept, by its symbol."""
    assets = services.config.assets
    return {asset.symbol: asset.polygon_ticker for asset in assets if asset.asset_class.has_splits}


def _unasked(services: Services, tickers: Mapping[str, str]) -> list[str]:
    """Return the tickers whose splits of all times were not asked for. The members of rules wait for the
    first walk of their rule: they share the calls, and its pages come first."""
    unasked = services.store.unasked_splits(tickers)
    if unasked and AssetType.STOCKS in services.classes_looked_up_first():
        unasked = [symbol for symbol in unasked if symbol not in services.config.members_by_symbol]
    return [tickers[symbol] for symbol in unasked]


def _rests(asked: Asked | None, now_ms: int) -> bool:
    """Return whether a refusal or a failure lets the requests rest."""
    return asked is not None and not is_due(asked, EVERY_MS, now_ms)


def _reference(request: Request) -> Reference:
    return Reference(ReferenceKind.SPLITS, request.text)


def _request(reference: Reference) -> Request:
    request = parse_request(reference.detail)
    assert request is not None, "only a wanted reference is asked for"
    return request


def _warn(what: str, some: Sequence[tuple[str, Split]]) -> None:
    if some:
        names = [f"{symbol} on {split.execution_date}" for symbol, split in some]
        log.warning(
            "%s: %s (hint: status tells them as long as it lasts)",
            listed(names, NAMES_SHOWN),
            what,
            extra={"is_event": True},
        )
