"""The tickers of the markets that rules name, page by page, once a day."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from assetbatch.domain import rules
from assetbatch.domain.formatting import listed, plural
from assetbatch.domain.references import PAGE, Asked, AskOutcome, Reference, ReferenceKind, is_due
from assetbatch.errors import SchemaRefusedError
from assetbatch.refresh.references.handler import ReferenceHandler, Stored

if TYPE_CHECKING:
    from assetbatch.domain.assets import Rule
    from assetbatch.domain.models import StoredAsset
    from assetbatch.domain.rules import Walk
    from assetbatch.provider.answers import TickersPage
    from assetbatch.provider.client import ProviderClient
    from assetbatch.services import Services

log = logging.getLogger("assetbatch")

NAMES_SHOWN = 10
"""Maximum number of tickers that a line names."""


def page_of(rule: Rule, walk: Walk | None) -> Reference:
    """Return the call that goes on with the walk of a rule. Each page has an id of its own: the next one is
    queued while the one before it is leased."""
    calls = walk.calls if walk and not walk.is_finished else 0
    return Reference(ReferenceKind.TICKERS, f"{rule.key}{PAGE}{calls}" if calls else rule.key)


class TickersHandler(ReferenceHandler["TickersPage"]):
    """What is new is registered, and marked as gone what a walk that saw everything has not seen."""

    def due(
        self,
        services: Services,
        _stored: Mapping[str, StoredAsset],
        asked: Mapping[str, Asked],
        now_ms: int,
    ) -> Sequence[Reference]:
        """Return the next page of each rule whose members are to be looked up."""
        if not services.config.enabled_rules:
            return ()
        services.load_walks()
        return [
            page_of(rule, walk)
            for rule in services.config.enabled_rules
            if rules.is_due(walk := services.walks.get(rule.key), now_ms)
            and not _rests(asked.get(_first(rule).name), now_ms)
        ]

    def is_wanted(self, services: Services, reference: Reference) -> bool:
        """Return whether the rule is configured, and its members are to be looked up."""
        rule = _rule(services, reference)
        if rule is None:
            return False
        services.load_walks()
        return rules.is_due(services.walks.get(rule.key), services.now_ms())

    def is_configured(self, services: Services, reference: Reference) -> bool:
        """Return whether the rule is configured: `init` may have looked up its members meanwhile."""
        return _rule(services, reference) is not None

    def send(
        self, services: Services, provider: ProviderClient, reference: Reference, seconds: float
    ) -> TickersPage:
        """Ask for the page that the walk has come to."""
        rule = _known_rule(services, reference)
        walk = rules.continued(rule, services.walks.get(rule.key), services.now_ms())
        services.walks[rule.key] = walk
        query = rules.queries(rule)[walk.query]
        return provider.tickers(query, walk.after, deadline_seconds=seconds)

    def store(self, services: Services, reference: Reference, answer: TickersPage, now_ms: int) -> Stored:
        """Register the members of a page; the last one says what is gone."""
        rule = _known_rule(services, reference)
        unreadable = {"undecodable", "ticker"} & answer.refused.keys()
        walk = rules.advanced(
            rule,
            services.walks[rule.key],
            answer.last,
            now_ms,
            is_last_page=answer.is_last,
            is_whole=not unreadable,
        )
        config = services.config
        owners = {asset.symbol: asset.polygon_ticker for asset in config.written_assets}
        try:
            taken = services.store.take_page(
                rule, answer.tickers, walk, owners, config.database.tables, config.derived
            )
        except SchemaRefusedError as error:  # the prices must not wait for a table that takes no new rows
            self.remember(services, reference, Asked(now_ms, AskOutcome.FAILED, error.message))
            log.warning(
                "the members of %s cannot be registered: %s",
                rule.key,
                error.message.partition("\n")[0],
                extra={"is_event": True},
            )
            return Stored("no member can be registered")
        services.walks[rule.key] = walk
        services.forget_members()
        for clash in taken.clashes:
            log.log(
                logging.WARNING if taken.is_first else logging.INFO,  # said once, and not every day
                "%s: its symbol %s is that of %s, it is left out "
                "(hint: write it among the secondary assets, with another symbol)",
                clash.ticker,
                clash.symbol,
                clash.other,
                extra={"is_event": True},
            )
        words = [plural(len(answer.tickers), "ticker")]
        if taken.new:
            words.append(f"{plural(taken.new, 'member')} new")
        if taken.gone:
            words.append(f"gone: {listed(list(taken.gone), NAMES_SHOWN)}")
        if walk.is_finished:
            words.append(f"{plural(taken.members, 'member')} in all, {plural(walk.calls, 'call')}")
        return Stored(", ".join(words), () if walk.is_finished else (page_of(rule, walk),))

    def remember(self, services: Services, reference: Reference, asked: Asked) -> None:
        """Remember a refusal or a failure, and the end of a walk; the database knows how far one has come."""
        rule = _known_rule(services, reference)
        walk = services.walks.get(rule.key)
        if asked.outcome is not AskOutcome.ANSWERED or (walk and walk.is_finished):
            services.reference_store.remember(_first(rule).name, asked)


def _rests(asked: Asked | None, now_ms: int) -> bool:
    """Return whether a refusal or a failure lets a walk rest."""
    return bool(
        asked and asked.outcome is not AskOutcome.ANSWERED and not is_due(asked, rules.WALK_AGAIN_MS, now_ms)
    )


def _first(rule: Rule) -> Reference:
    return page_of(rule, None)


def _rule(services: Services, reference: Reference) -> Rule | None:
    key = reference.detail.partition(PAGE)[0]
    return next((rule for rule in services.config.enabled_rules if rule.key == key), None)


def _known_rule(services: Services, reference: Reference) -> Rule:
    rule = _rule(services, reference)
    assert rule is not None, "only a wanted reference is asked for"
    return rule
