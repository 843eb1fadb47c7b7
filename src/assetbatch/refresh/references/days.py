"""Days of the past of whole markets, for the members of rules: newest first, behind all else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.formatting import format_duration, plural
from assetbatch.domain.market_days import is_useful, left_alone, missing_days, wanted_from
from assetbatch.domain.models import Changes, DayBar, MarketDay
from assetbatch.domain.pauses import NOTHING_AGAIN_MS
from assetbatch.domain.queueing import Lane
from assetbatch.domain.references import Asked, AskOutcome, Reference, ReferenceKind, is_due
from assetbatch.domain.units import DAY_MS
from assetbatch.refresh.references.handler import ReferenceHandler, Stored

if TYPE_CHECKING:
    from assetbatch.domain.assets import Rule
    from assetbatch.domain.models import StoredAsset
    from assetbatch.provider.answers import PricesAnswer
    from assetbatch.provider.client import ProviderClient
    from assetbatch.services import Services

QUEUED_AT_ONCE = 25
"""Maximum number of days of a market that are queued at once: what the free plan can ask for until the next
start of `enqueue-secondary`."""


class DaysHandler(ReferenceHandler["PricesAnswer"]):
    """A day that comes is stored of every member. One whose answer is of no use is asked for again."""

    lane = Lane.HISTORY

    def due(
        self,
        services: Services,
        _stored: Mapping[str, StoredAsset],
        asked: Mapping[str, Asked],
        now_ms: int,
    ) -> Sequence[Reference]:
        """Return the newest days that are missing and that the plan may show."""
        found: list[Reference] = []
        for asset_type in dict.fromkeys(rule.every for rule in services.config.enabled_rules):
            if not _are_members_known(services, asset_type):
                continue
            for reference in islice(_missing(services, asset_type, now_ms), QUEUED_AT_ONCE):
                if self.known_refusal(asked, reference, now_ms):
                    break
                if is_due(asked.get(reference.name), DAY_MS, now_ms):
                    found.append(reference)
        return found

    def is_wanted(self, services: Services, reference: Reference) -> bool:
        """Return whether a rule with members wants the day, and the members of its market are known."""
        read = _read(reference)
        if read is None or not _are_members_known(services, read[0]):
            return False
        return _is_from(_with_members(services), *read, services.now_ms())

    def is_configured(self, services: Services, reference: Reference) -> bool:
        """Return whether a rule would want the day, if it had its members."""
        read = _read(reference)
        return read is not None and _is_from(services.config.enabled_rules, *read, services.now_ms())

    def send(
        self, _services: Services, provider: ProviderClient, reference: Reference, seconds: float
    ) -> PricesAnswer:
        """Make one request."""
        asset_type, day = _known(reference)
        return provider.grouped_day(asset_type, day, {}, deadline_seconds=seconds)

    def store(self, services: Services, reference: Reference, answer: PricesAnswer, now_ms: int) -> Stored:
        """Store the bar of each registered asset."""
        services.load_members()  # a page of tickers may have come since the start
        asset_type, day = _known(reference)
        days: dict[str, list[DayBar]] = {}
        for ticker, bar in answer.days.items():
            for symbol in services.config.symbols_of(ticker):
                days[symbol] = [bar]
        bars = len(answer.days)
        useful = is_useful(bars, answer.useless_days)
        came = MarketDay(asset_type.value, day, bars if useful else 0)
        services.store.save(Changes(days=days, market_days=[came]), now_ms)
        words = f"{plural(len(days), 'bar')} stored"
        if not useful:
            words += f", {plural(answer.useless_days, 'row')} of no use; asked again in "
            words += f"{format_duration(NOTHING_AGAIN_MS[0])} at the earliest"
        return Stored(words)

    def known_refusal(self, asked: Mapping[str, Asked], reference: Reference, now_ms: int) -> Asked | None:
        """Return the refusal of this day or of a newer one: a plan shows the days since one of them."""
        asset_type, day = _known(reference)
        for name, before in asked.items():
            of = _of_name(name)
            if of is not None and of[0] is asset_type and of[1] >= day and before.is_refused(now_ms):
                return before
        return None

    def remember(self, services: Services, reference: Reference, asked: Asked) -> None:
        """Remember a refusal or a failure; the database knows which days have come."""
        if asked.outcome is not AskOutcome.ANSWERED:
            super().remember(services, reference, asked)


def _are_members_known(services: Services, asset_type: AssetType) -> bool:
    """Return whether the members of each rule for a class are known: a day is asked for once, for all of
    them."""
    services.load_walks()
    return all(
        (walk := services.walks.get(rule.key)) is not None and walk.knows_members
        for rule in services.config.enabled_rules
        if rule.every is asset_type
    )


def _with_members(services: Services) -> list[Rule]:
    """Return the rules that something fits: for nobody else a day would be stored."""
    services.load_members()
    return [rule for rule in services.config.enabled_rules if rule.key in services.rules_with_members]


def _is_from(rules: Iterable[Rule], asset_type: AssetType, day: date, now_ms: int) -> bool:
    first = wanted_from(rules, asset_type, now_ms)
    return first is not None and day >= first


def _missing(services: Services, asset_type: AssetType, now_ms: int) -> Sequence[Reference]:
    first = wanted_from(_with_members(services), asset_type, now_ms)
    if first is None:
        return ()
    answered = left_alone(services.store.market_days(asset_type.value, first), now_ms)
    days = missing_days(asset_type, first, answered, services.entitlements(), now_ms)
    return [Reference(ReferenceKind.DAYS, f"{asset_type.value}:{day.isoformat()}") for day in days]


def _of_name(name: str) -> tuple[AssetType, date] | None:
    kind, _, detail = name.partition(":")
    return _read(Reference(ReferenceKind.DAYS, detail)) if kind == ReferenceKind.DAYS else None


def _read(reference: Reference) -> tuple[AssetType, date] | None:
    asset_type, _, day = reference.detail.partition(":")
    try:
        return AssetType(asset_type), date.fromisoformat(day)
    except ValueError:
        return None


def _known(reference: Reference) -> tuple[AssetType, date]:
    read = _read(reference)
    assert read is not None, "only a wanted reference is asked for"
    return read
