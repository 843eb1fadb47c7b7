"""What starts of the real commands in one process need, on a clock that stands still during each."""

from __future__ import annotations

from assetbatch.deadline import Deadline
from assetbatch.domain.queueing import LONGEST_CALL_SECONDS, CallLimit
from assetbatch.services import Services
from assetbatch.state.locks import Locks
from assetbatch.state.queue import Queue
from assetbatch.state.spare_calls import SpareCalls
from assetbatch.state.window import Window, WindowSettings
from tests.world import SetClock


class Unslept(Deadline):
    """The time of a start that is over once it would sleep: the clock stands still meanwhile."""

    is_over = False

    def wait(self, seconds: float) -> bool:
        self.is_over = True
        return self.stopped is None

    def remaining(self) -> float:
        return 0.0 if self.is_over else super().remaining()


def give_clock(
    services: Services, clock: SetClock, provider: object, *, window_name: str, limit: CallLimit
) -> None:
    """Let all parts of these services go by one clock, and ask this provider."""
    keys, now_ms = services.keys, clock.now_ms
    settings = WindowSettings(keys, window_name, limit, LONGEST_CALL_SECONDS)
    window = Window(services.redis, settings, clock_ms=now_ms)
    queue = Queue(
        services.redis,
        keys,
        max_size=1000,
        retry_max_attempts=3,
        retry_delay_seconds=60,
        clock_ms=now_ms,
    )
    vars(services).update(
        clock=clock,
        window=window,
        queue=queue,
        locks=Locks(services.redis, keys, now_ms),
        spare_calls=SpareCalls(services.redis, keys, window, clock_ms=now_ms),
        provider=provider,
    )
