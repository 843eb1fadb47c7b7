"""Calls that are out at the same time: threads that only ask and decode, while the caller decides, and one
that stores.

A plan that allows few calls has one out at a time, asked in the caller's own thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from assetbatch.deadline import monotonic
from assetbatch.domain.calls import Call, asset_types
from assetbatch.domain.queueing import CallLimit
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.batch import Ask
from assetbatch.state.window import Grant

if TYPE_CHECKING:
    from assetbatch.domain.asset_classes import AssetType

MOST_OUT = 8
"""Threads of a plan without a limit. An answer is worked off in a few ms: more of them would only wait."""

LONGEST_SECONDS = 3600.0
"""Far longer than any call may take; the deadline of the command ends a wait before."""

Shape = tuple[type, "AssetType"]


def calls_at_once(limit: CallLimit) -> int:
    """How many calls may be out together: a tenth of what is allowed in a second, at least one."""
    return max(1, min(MOST_OUT, limit.limit * 1000 // limit.window_ms // 10))


def calls_that_fit(limit: CallLimit, seconds: float, call_seconds: float) -> int:
    """How many calls at most can begin within `seconds`, where each may take as long as the slowest lately;
    at least one."""
    in_turn = calls_at_once(limit) * (1 + int(seconds / call_seconds))
    return max(1, min(in_turn, limit.limit * (1 + int(seconds * 1000 / limit.window_ms))))


def shapes(call: Call) -> frozenset[Shape]:
    """What the plan allows or refuses as one: an endpoint for a class of assets."""
    return frozenset((type(call), asset_type) for asset_type in asset_types(call))


def may_start(call: Call, proven: Iterable[Shape], out: Iterable[Call]) -> bool:
    """Whether a call may go out beside others: of a shape that was not answered yet in this cycle only one
    is, so that a refusal costs one call and not as many as there are threads."""
    unproven = shapes(call).difference(proven)
    return not unproven or not any(unproven & shapes(other) for other in out)


class Landed(msgspec.Struct, frozen=True):
    """A call that has come back after so many seconds, with what `send` returned or the refusal it raised."""

    ask: Ask
    grant: Grant
    answer: Any
    refusal: Refusal | None
    seconds: float


class Flights:
    """Up to `most` calls at once, whose results only the caller's thread takes; a context manager.

    A single one is made in the caller's own thread. The others' threads are daemons: a call that outlives
    its cycle (each ends by its own deadline) holds up nobody.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._out: dict[str, Ask] = {}
        self._todo: SimpleQueue[Callable[[], Landed] | None] = SimpleQueue()
        self._landed: SimpleQueue[Landed | BaseException] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._todo.put(None)

    @property
    def out(self) -> list[Ask]:
        """What was started and has not been taken by `next`."""
        return list(self._out.values())

    @property
    def full(self) -> bool:
        """Whether no further call may be started now."""
        return len(self._out) >= self.most

    def start(self, ask: Ask, grant: Grant, send: Callable[[], Any]) -> None:
        """Lets `send`, which may raise Refusal, make a call."""
        self._out[grant.call_id] = ask
        if self.most == 1:
            self._landed.put(_fly(ask, grant, send))
            return
        if len(self._threads) < len(self._out):
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()
        self._todo.put(lambda: _fly(ask, grant, send))

    def _work(self) -> None:
        while fly := self._todo.get():
            try:
                self._landed.put(fly())
            except BaseException as error:  # noqa: BLE001 - raised again where it is taken
                self._landed.put(error)

    def next(self, seconds: float = LONGEST_SECONDS) -> Landed | None:
        """The next call that has come back; None if none does within `seconds`. Raises what `send` raised,
        but for a refusal."""
        try:
            landed = self._landed.get(timeout=seconds) if seconds > 0 else self._landed.get_nowait()
        except Empty:
            return None
        if isinstance(landed, BaseException):
            raise landed
        del self._out[landed.grant.call_id]
        return landed


class Aside:
    """One thing at a time that a thread does beside the caller: it is begun, and its outcome fetched later.

    The thread is a daemon: what outlives the cycle ends with the process.
    """

    def __init__(self) -> None:
        self._outcome: SimpleQueue[Any] = SimpleQueue()
        self.busy = False

    @property
    def done(self) -> bool:
        """Whether an outcome lies ready."""
        return not self._outcome.empty()

    def begin(self, work: Callable[[], Any]) -> None:
        """Lets a thread do `work`; what was begun before must have been fetched."""
        assert not self.busy, "one thing at a time"

        def run() -> None:
            try:
                self._outcome.put(work())
            except BaseException as error:  # noqa: BLE001 - raised again where it is fetched
                self._outcome.put(error)

        self.busy = True
        threading.Thread(target=run, daemon=True).start()

    def fetch(self, seconds: float = LONGEST_SECONDS) -> Any:
        """What the work returned, waited for; raises what it raised, and TimeoutError after `seconds`."""
        try:
            outcome = self._outcome.get(timeout=seconds)
        except Empty:
            raise TimeoutError from None
        self.busy = False
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def _fly(ask: Ask, grant: Grant, send: Callable[[], Any]) -> Landed:
    started = monotonic()
    answer, refusal = None, None
    try:
        answer = send()
    except Refusal as raised:
        refusal = raised
    return Landed(ask, grant, answer, refusal, monotonic() - started)
