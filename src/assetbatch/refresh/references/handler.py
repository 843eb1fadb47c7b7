"""What the mechanism asks of each kind of reference data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple, TypeVar

from assetbatch.domain.models import StoredAsset
from assetbatch.domain.queueing import Lane
from assetbatch.domain.references import Asked, Reference

if TYPE_CHECKING:
    from assetbatch.provider.client import ProviderClient
    from assetbatch.provider.refusals import Refusal
    from assetbatch.services import Services

Answer = TypeVar("Answer")


class Stored(NamedTuple):
    """What an answer has brought, in words for the log, and the calls that are to follow it."""

    words: str = ""
    follows: Sequence[Reference] = ()


class ReferenceHandler(ABC, Generic[Answer]):
    """One kind of reference data. An object has no state, and serves all calls of its kind."""

    lane: ClassVar[Lane] = Lane.BARS
    """Where its calls wait: after all prices, and before pages of the past, some of which they make
    needless."""

    @abstractmethod
    def due(
        self,
        services: Services,
        stored: Mapping[str, StoredAsset],
        asked: Mapping[str, Asked],
        now_ms: int,
    ) -> Sequence[Reference]:
        """Return the calls that are due. `stored` is what is stored of the assets that are registered, and
        `asked` what was remembered, by name. It is called with each `enqueue-secondary`, so it asks a server
        only where something is wanted at all."""

    @abstractmethod
    def is_wanted(self, services: Services, reference: Reference) -> bool:
        """Return whether a call from the queue still has a use with this configuration."""

    def is_configured(self, _services: Services, _reference: Reference) -> bool:
        """Return whether the configuration has what a call is about that is not wanted: it has been done
        meanwhile, or waits for something. Nobody need be told then that it leaves the queue."""
        return False

    @abstractmethod
    def send(
        self, services: Services, provider: ProviderClient, reference: Reference, seconds: float
    ) -> Answer:
        """Make one request, and return the answer within `seconds`. Raise Refusal. Ask no other server: the
        slot that is held gets old."""

    @abstractmethod
    def store(self, services: Services, reference: Reference, answer: Answer, now_ms: int) -> Stored:
        """Store what an answer has brought. The same answer twice changes nothing. Raise DatabaseError or
        RedisError."""

    def take_refusal(
        self, _services: Services, _reference: Reference, _refusal: Refusal, _now_ms: int
    ) -> Stored | None:
        """Return what a refusal brings that is an answer for this kind; None if it is none. A refusal by the
        plan comes again for each call of its name, without a call, as long as it is believed."""
        return None

    def asked_as(self, reference: Reference) -> str:
        """Return the name under which it is remembered what was asked and refused."""
        return reference.name

    def known_refusal(self, asked: Mapping[str, Asked], reference: Reference, now_ms: int) -> Asked | None:
        """Return what was asked before that shows that the plan lacks this; None if nothing does."""
        before = asked.get(self.asked_as(reference))
        return before if before is not None and before.is_refused(now_ms) else None

    def remember(self, services: Services, reference: Reference, asked: Asked) -> None:
        """Remember that it was asked for. A page that is not the last one is not remembered. Raise
        DatabaseError or RedisError."""
        services.reference_store.remember(self.asked_as(reference), asked)
