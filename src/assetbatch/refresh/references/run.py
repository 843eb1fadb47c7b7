"""Ask for reference data: one call for each, with the slots, the bounds and the accounts of all calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from assetbatch.deadline import monotonic
from assetbatch.domain.formatting import format_duration
from assetbatch.domain.queueing import Fault
from assetbatch.domain.references import REFUSED_MS, Asked, AskOutcome, Reference
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.status import Status
from assetbatch.errors import DatabaseError
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.batch import BatchReport
from assetbatch.refresh.engine import Engine, raise_if_key_refused
from assetbatch.refresh.interpretation import CONSEQUENCES
from assetbatch.refresh.permits import Permits
from assetbatch.refresh.policy import QUEUE, Policy
from assetbatch.refresh.references import HANDLERS
from assetbatch.refresh.references.handler import Stored
from assetbatch.state.window import Grant

if TYPE_CHECKING:
    from assetbatch.services import Services

log = logging.getLogger("assetbatch")


class ReferenceResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one call for reference data."""

    reference: Reference
    status: Status
    detail: str = ""
    """What it has brought, or its error."""
    follows: Sequence[Reference] = ()
    """The calls that are to follow it."""
    fault: Fault = Fault.ITEM
    """Whose fault a failure is."""
    answers: int = 0
    """How many calls of the same start the provider had answered when this one failed."""


class ReferenceOwner(Protocol):
    """Hears what becomes of the calls; that of the queue holds leases."""

    def start(self, ids: Sequence[str]) -> Collection[str]:
        """Count an attempt of these items, whose call goes out now. Return those that somebody else has taken
        over; for them none goes out."""

    def on_reference(self, result: ReferenceResult) -> None:
        """Hear what became of a call: what it has brought is stored."""


class ReferenceRun:
    """Asks for reference data, one call after the other."""

    def __init__(
        self, services: Services, engine: Engine, owner: ReferenceOwner, policy: Policy = QUEUE
    ) -> None:
        self._services = services
        self._engine = engine
        self._owner = owner
        self._policy = policy
        self._report = BatchReport()

    def ask(self, references: Sequence[Reference], grant: Grant | None = None) -> BatchReport:
        """Ask for these until there is a reason to end; what is left then stays as it is.

        `grant` is a slot that is held already; it is given back if no call needs it. Raise RedisError,
        DatabaseError, KeyRefusedError, or what the owner raises.
        """
        engine = self._engine
        permits = Permits(
            engine.window,
            self._policy.kind,
            engine.time,
            engine.reporter,
            before_wait=lambda: None,
            grant=grant,
        )
        try:
            for reference in references:
                if refused := self._known_refusal(reference):
                    self._take_refusal(reference, refused)
                elif not self._ask(reference, permits):
                    break
        finally:
            permits.close()
        raise_if_key_refused(self._report)
        return self._report

    def _known_refusal(self, reference: Reference) -> Refusal | None:
        """Return what the plan is known to say of a call, so that it need not be made."""
        asked = self._services.reference_store.load()
        shown = HANDLERS[reference.kind].known_refusal(asked, reference, self._services.now_ms())
        return Refusal(RefusalKind.NOT_IN_PLAN, shown.error, sent=False) if shown else None

    def _ask(self, reference: Reference, permits: Permits) -> bool:
        """Make the call, unless somebody else makes it. Return whether another one may follow."""
        engine = self._engine
        provider, store = engine.provider(), engine.store()
        while True:
            if permits.acquire(may_wait=self._policy.waits):
                return False
            store.record_call()
            if self._owner.start([reference.id]):
                return True
            if permits.is_usable and engine.time.left > 0:  # else the servers took their time
                break
        handler = HANDLERS[reference.kind]
        words = reference.words
        grant, ends_at = engine.call_begins(words, permits)
        self._report.calls += 1
        started, answer, refusal = monotonic(), None, None
        try:
            answer = handler.send(self._services, provider, reference, ends_at - started)
        except Refusal as raised:
            refusal = raised
        seconds = monotonic() - started
        try:
            permits.complete(grant, was_sent=refusal is None or refusal.sent)
        finally:
            engine.call_ended(words, refusal, seconds)
        if refusal:
            self._take_refusal(reference, refusal, was_asked=True)
            return not CONSEQUENCES[refusal.kind].ends_batch
        self._report.answers += 1
        self._keep(reference, lambda now_ms: handler.store(self._services, reference, answer, now_ms))
        return True

    def _keep(self, reference: Reference, store: Callable[[int], Stored | None]) -> bool:
        """Store what a call has brought, and tell the owner. Return False if it was nothing."""
        now_ms = self._services.now_ms()
        try:
            stored = store(now_ms)
            if stored is None:
                return False
            HANDLERS[reference.kind].remember(self._services, reference, Asked(now_ms))
        except DatabaseError as error:
            self._tell(reference, Status.FAILED, error.message, fault=Fault.NOBODY)
            raise
        if stored.words:
            log.info("%s: %s", reference.words, stored.words)
        self._tell(reference, Status.SUCCESS, stored.words, follows=stored.follows)
        return True

    def _take_refusal(self, reference: Reference, refusal: Refusal, *, was_asked: bool = False) -> None:
        engine, services = self._engine, self._services
        consequence, handler = CONSEQUENCES[refusal.kind], HANDLERS[reference.kind]
        self._report.refused(refusal)
        if refusal.kind is RefusalKind.TOO_MANY_CALLS:
            engine.block(refusal)
        if consequence.ends_batch:
            return
        if self._keep(reference, lambda now_ms: handler.take_refusal(services, reference, refusal, now_ms)):
            return
        is_refused = consequence.status is Status.NOT_ENTITLED
        if was_asked:
            outcome = AskOutcome.REFUSED if is_refused else AskOutcome.FAILED
            handler.remember(services, reference, Asked(services.now_ms(), outcome, refusal.message))
        if was_asked and is_refused:
            log.warning(
                "%s: the plan does not have it: %s (asked again in %s)",
                reference.words,
                refusal.message,
                format_duration(REFUSED_MS),
                extra={"is_event": True},
            )
        self._tell(reference, consequence.status, refusal.message, fault=engine.fault_of(refusal))

    def _tell(
        self,
        reference: Reference,
        status: Status,
        detail: str,
        *,
        follows: Sequence[Reference] = (),
        fault: Fault = Fault.ITEM,
    ) -> None:
        result = ReferenceResult(
            reference=reference,
            status=status,
            detail=detail,
            follows=follows,
            fault=fault,
            answers=self._engine.answers,
        )
        self._report.references.append(result)
        self._owner.on_reference(result)
