"""Run requests in parallel. Worker threads send and decode; all decisions stay in the caller's thread.

With a plan that allows few calls, one request at a time runs in the caller's own thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from assetbatch.deadline import monotonic
from assetbatch.domain.calls import BarsCall, Call, asset_types
from assetbatch.domain.pages import PageKind
from assetbatch.domain.queueing import CallLimit
from assetbatch.domain.work import WorkKind
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.batch import Request
from assetbatch.state.window import Grant

if TYPE_CHECKING:
    from assetbatch.domain.asset_classes import AssetType, Market

MAX_IN_FLIGHT = 8
"""Maximum number of calls at once, on a plan without a limit. The caller takes over an answer in a few ms:
more calls would only wait for it."""

MAX_ROWS = 140_000
"""Maximum number of bars that are on their way together, unless one call alone may bring more: from the
provider, unsaved, or into the database. A bar takes 0.6 kB on its way."""

MAX_PAGE_ROWS = 50_000
"""Maximum number of bars of one answer: the provider's largest `limit`."""

MAX_WAIT_SECONDS = 3600.0
"""Maximum wait for an answer; the deadline of the command ends each wait before."""

Shape = tuple[type, "AssetType | Market"]


def calls_at_once(limit: CallLimit) -> int:
    """Return how many calls may be in flight together: a tenth of what a second allows, at least one."""
    return max(1, min(MAX_IN_FLIGHT, limit.limit * 1000 // limit.window_ms // 10))


def calls_that_fit(limit: CallLimit, seconds: float, call_seconds: float) -> int:
    """Return how many calls at most can begin within `seconds`, if each takes `call_seconds`; at least
    one."""
    in_turn = calls_at_once(limit) * (1 + int(seconds / call_seconds))
    return max(1, min(in_turn, limit.limit * (1 + int(seconds * 1000 / limit.window_ms))))


def shapes(call: Call) -> frozenset[Shape]:
    """Return what the answer to one call shows for others: whether the plan has an endpoint for a class of
    assets, and how long the pages of the past of a market may be."""
    found: set[Shape] = {(type(call), asset_type) for asset_type in asset_types(call)}
    if isinstance(call, BarsCall):
        found |= {(PageKind, item.asset.market) for item in call.work if item.kind is WorkKind.HISTORY}
    return frozenset(found)


def may_start(call: Call, proven: Iterable[Shape], in_flight: Iterable[Call]) -> bool:
    """Return whether a call may go out beside those in flight.

    Of a shape that was not answered yet in this cycle, one call is in flight at a time: a refusal then costs
    one call and not one for each thread, and a longer page that comes whole saves calls of all others.
    """
    unproven = shapes(call).difference(proven)
    return not unproven or not any(unproven & shapes(other) for other in in_flight)


def has_room(call: Call, in_flight: Iterable[Call], rows: int) -> bool:
    """Return whether memory has room for what a call may bring, beside those in flight and `rows` bars that
    came and are not stored."""
    awaited = sum(map(_rows, in_flight))
    return not awaited or awaited + rows + _rows(call) <= MAX_ROWS


def _rows(call: Call) -> int:
    """Return how many bars a call brings at most."""
    if not isinstance(call, BarsCall):
        return 0
    return min(MAX_PAGE_ROWS, (call.end_ms + 1 - call.start_ms) // call.work[0].asset.bars.ms)


class Completed(msgspec.Struct, frozen=True):
    """A request that has ended after so many seconds, with the answer or the refusal."""

    request: Request
    grant: Grant
    answer: Any
    refusal: Refusal | None
    seconds: float


class InFlight:
    """Up to `limit` requests at once. Only the caller's thread takes what they bring.

    A single one runs in the caller's own thread. The other threads are daemons: a request that outlives its
    cycle (each ends by its own deadline) holds up nobody.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._requests: dict[str, Request] = {}
        self._tasks: SimpleQueue[Callable[[], Completed] | None] = SimpleQueue()
        self._completed: SimpleQueue[Completed | BaseException] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def close(self) -> None:
        """Let each thread end after its request."""
        for _ in self._threads:
            self._tasks.put(None)

    @property
    def is_parallel(self) -> bool:
        """Whether requests run in threads beside the caller."""
        return self._limit > 1

    @property
    def requests(self) -> list[Request]:
        """The requests that were started and not taken by `next`."""
        return list(self._requests.values())

    @property
    def is_full(self) -> bool:
        """Whether no further request may start now."""
        return len(self._requests) >= self._limit

    def prepare(self) -> None:
        """Have a thread for the next request, so that `start` cannot fail."""
        if self.is_parallel and len(self._threads) <= len(self._requests):
            thread = threading.Thread(target=self._work, daemon=True)
            thread.start()
            self._threads.append(thread)

    def start(self, request: Request, grant: Grant, send: Callable[[], Any]) -> None:
        """Run `send`, which may raise Refusal, after `prepare`."""
        self._requests[grant.call_id] = request
        if self.is_parallel:
            self._tasks.put(lambda: _send(request, grant, send))
        else:
            self._completed.put(_send(request, grant, send))

    def _work(self) -> None:
        while task := self._tasks.get():
            try:
                self._completed.put(task())
            except BaseException as error:  # noqa: BLE001 - raised again where it is taken
                self._completed.put(error)

    def next(self, seconds: float = MAX_WAIT_SECONDS) -> Completed | None:
        """Return the next request that has ended, or None if none ends within `seconds`. Raise what `send`
        raised, except for a refusal."""
        try:
            completed = self._completed.get(timeout=seconds) if seconds > 0 else self._completed.get_nowait()
        except Empty:
            return None
        if isinstance(completed, BaseException):
            raise completed
        del self._requests[completed.grant.call_id]
        return completed


def _send(request: Request, grant: Grant, send: Callable[[], Any]) -> Completed:
    started = monotonic()
    answer, refusal = None, None
    try:
        answer = send()
    except Refusal as raised:
        refusal = raised
    return Completed(request, grant, answer, refusal, monotonic() - started)
