"""Each promise broken on purpose, from outside: the judges of the fire find it, and nothing else.

Every test runs one load twice: on the code as it is, where its judge must stay silent, and on a sabotaged
one, where it must not. All but the last run on a virtual clock.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assetbatch.domain.queueing import CallKind, Denied, Lane
from assetbatch.sandbox import windows_over_limit
from assetbatch.state.connection import RedisClient
from assetbatch.state.keys import Keys
from assetbatch.state.window import Grant, Window
from tests.fire import arena, simulation
from tests.fire.arena import Arena
from tests.fire.judges import (
    asked_again_within,
    asked_without_lease,
    held_twice,
    lost,
    out_of_order,
    starved,
    waited,
)
from tests.fire.simulation import START_MS, Evidence, Load, Sabotaged, accounts

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
ITEMS = [(f"S{number:03}", Lane.MEDIUM) for number in range(400)]


@pytest.fixture
def fresh() -> Callable[[], Keys]:
    """Keys of their own for each load."""
    return lambda: Keys(f"{{test-{uuid.uuid4().hex[:12]}}}")


def over(evidence: Evidence) -> int:
    """The judge of the first promise, as the fire asks it."""
    return len(windows_over_limit(evidence.arrivals, simulation.LIMIT, simulation.WINDOW_MS))


class Hasty(Window):
    """Completes a call on its grant: a plain sliding log."""

    def ask(self, kind: CallKind, call_id: str | None = None, **options: Any) -> Grant | Denied:
        answer = super().ask(kind, call_id, **options)
        if isinstance(answer, Grant):
            super().complete(answer)
        return answer

    def complete(self, grant: Grant, **_: Any) -> None:
        """Too late: that was done on the grant."""


class TestTheBudget:
    """Promise 1. Calls lag up to half a second behind their grants; a fifth of the workers die calling."""

    SECONDS = 60

    def calls(
        self,
        client: RedisClient,
        keys: Keys,
        window: Callable[[Load, int], Window] = lambda load, _number: load.window(),
        *,
        dies: float = 0.2,
    ) -> Evidence:
        load = Load(client, keys, lag_ms=500, dies=dies)
        load.queue.enqueue(ITEMS)
        for number in range(8):
            load.add(load.worker(window(load, number)))
        return load.run(self.SECONDS)

    def callers(self, client: RedisClient, keys: Keys, window: Callable[[Load, int], Window]) -> Evidence:
        """Processes that ask the window itself, as priority cycles do; `calls` are takes of the queue."""
        load = Load(client, keys, lag_ms=500)
        for number in range(8):
            load.add(load.caller(window(load, number)))
        return load.run(self.SECONDS)

    def test_holds_as_it_is(self, redis_client: RedisClient, fresh: Callable[[], Keys]) -> None:
        calm = self.calls(redis_client, fresh(), dies=0.0)
        deadly = self.calls(redis_client, fresh())
        asking = self.callers(redis_client, fresh(), lambda load, _number: load.window())
        assert deadly.deaths > 5
        for evidence in (calm, deadly, asking):
            assert len(evidence.arrivals) > 50
            assert over(evidence) == 0

    def test_an_entry_dated_at_its_grant_is_found(
        self, redis_client: RedisClient, fresh: Callable[[], Keys]
    ) -> None:
        sabotaged = Sabotaged(redis_client, ("whole(now + w.lead_ms), call_id", "whole(now), call_id"))
        evidence = self.calls(sabotaged, fresh())
        assert sabotaged.replaced
        assert over(evidence) > 0

    def test_a_call_completed_on_its_grant_is_found(
        self, redis_client: RedisClient, fresh: Callable[[], Keys]
    ) -> None:
        assert over(self.callers(redis_client, fresh(), lambda load, _number: load.window(kind=Hasty))) > 0

    def test_a_window_of_each_process_own_is_found(
        self, redis_client: RedisClient, fresh: Callable[[], Keys]
    ) -> None:
        evidence = self.calls(redis_client, fresh(), lambda load, number: load.window(name=f"own{number}"))
        assert over(evidence) > 0

    def test_a_fixed_window_is_found(self, redis_client: RedisClient, fresh: Callable[[], Keys]) -> None:
        fixed = "redis.call('ZREMRANGEBYSCORE', w.calls, '-inf', whole(now - now % w.window_ms - 1))"
        sabotaged = Sabotaged(
            redis_client,
            ("redis.call('ZREMRANGEBYSCORE', w.calls, '-inf', whole(now - w.window_ms))", fixed),
            ("whole(now + w.lead_ms), call_id", "whole(now), call_id"),
        )
        evidence = self.calls(sabotaged, fresh(), dies=0.0)
        assert sabotaged.replaced
        assert over(evidence) > 0

    def test_the_clients_clocks_in_the_place_of_the_servers_are_found(
        self, redis_client: RedisClient, fresh: Callable[[], Keys]
    ) -> None:
        assert (
            over(self.callers(redis_client, fresh(), lambda load, n: load.window(skew_ms=n % 2 * 1000))) > 0
        )


class TestPriority:
    """Promise 2. Eight greedy workers, and a cycle of three calls every ten seconds."""

    def cycles(self, client: RedisClient, keys: Keys) -> Evidence:
        load = Load(client, keys, lag_ms=100, dies=0.1)
        load.queue.enqueue(ITEMS)
        load.add(load.priority(load.window()))
        for _ in range(8):
            load.add(load.worker(load.window()))
        evidence = load.run(120)
        assert len(evidence.priority_waits) > 3
        assert over(evidence) == 0
        return evidence

    def test_does_not_wait_as_it_is(self, redis_client: RedisClient, fresh: Callable[[], Keys]) -> None:
        assert waited(self.cycles(redis_client, fresh()).priority_waits) == []

    def test_a_queue_that_asks_as_priority_is_found(
        self, redis_client: RedisClient, fresh: Callable[[], Keys]
    ) -> None:
        begins = "local function window_of(keys, first, options)"
        sabotaged = Sabotaged(redis_client, (begins, f"{begins} options.kind = 'priority'"))
        evidence = self.cycles(sabotaged, fresh())
        assert sabotaged.replaced
        assert waited(evidence.priority_waits) != []


class TestWork:
    """Promise 3. A fifth of the workers die while they call, another fifth stalls beyond its lease; what
    is not in the queue is put there again every half second."""

    def work(self, client: RedisClient, keys: Keys, *, again: bool) -> tuple[Load, Evidence]:
        load = Load(client, keys, lag_ms=100, dies=0.2, stalls=0.2 if again else 0.0)
        items = ITEMS[: 4 if again else 60]
        if again:
            load.add(load.enqueue_all(items, 500))
        else:
            load.queue.enqueue(items)
        for _ in range(8):
            load.add(load.worker(load.window()))
        evidence = load.run(90)
        assert evidence.deaths > 5
        assert evidence.stalled > 5 or not again
        assert over(evidence) == 0
        return load, evidence

    def twice(self, evidence: Evidence) -> tuple[int, int, int]:
        """The three judges of the fire."""
        asked = [(arrival.path, arrival.at) for arrival in evidence.arrivals]
        return (
            len(held_twice(evidence.holds)),
            len(asked_without_lease(asked, evidence.holds)),
            len(asked_again_within(asked, 10)),
        )

    def test_none_is_lost_as_it_is(self, redis_client: RedisClient, fresh: Callable[[], Keys]) -> None:
        load, evidence = self.work(redis_client, fresh(), again=False)
        assert len(evidence.done) > 40
        assert lost([item for item, _ in ITEMS[:60]], *accounts(load)) == []

    def test_work_that_is_taken_without_a_lease_is_found(
        self, redis_client: RedisClient, fresh: Callable[[], Keys]
    ) -> None:
        leased = "redis.call('ZADD', q.leased, unpack(leases))"
        sabotaged = Sabotaged(redis_client, (leased, "redis.call('HDEL', q.items, unpack(ids))"))
        load, evidence = self.work(sabotaged, fresh(), again=False)
        missing = lost([item for item, _ in ITEMS[:60]], *accounts(load))
        assert sabotaged.replaced == 1
        assert len(missing) == evidence.deaths

    def test_none_is_worked_twice_as_it_is(
        self, redis_client: RedisClient, fresh: Callable[[], Keys]
    ) -> None:
        assert self.twice(self.work(redis_client, fresh(), again=True)[1]) == (0, 0, 0)

    def test_a_lease_that_ends_at_once_is_found(
        self, redis_client: RedisClient, fresh: Callable[[], Keys]
    ) -> None:
        at_the_call = ("whole(clock_ms(options) + options.lease_ms)", "whole(clock_ms(options))")
        sabotaged = Sabotaged(redis_client, at_the_call)
        held, _, _ = self.twice(self.work(sabotaged, fresh(), again=True)[1])
        assert sabotaged.replaced == 1
        assert held > 0

    def test_a_finish_without_the_leases_token_is_found(
        self, redis_client: RedisClient, fresh: Callable[[], Keys]
    ) -> None:
        sabotaged = Sabotaged(redis_client, ("holder_of(text) == token and not", "holder_of(text) and not"))
        held, _, _ = self.twice(self.work(sabotaged, fresh(), again=True)[1])
        assert sabotaged.replaced == 1  # in finish; nothing is released here
        assert held > 0


class TestOrder:
    """Promise 4. One item a minute is served; where waits are judged, one HIGH item a minute comes in."""

    BOUND_MS = 4 * HOUR_MS + 10 * MINUTE_MS

    def line(self, client: RedisClient, keys: Keys) -> Evidence:
        """Forty items of all classes, whose ids run against the order in which they come."""
        load = Load(client, keys)
        for number in range(40):
            load.queue.enqueue([(f"A{99 - number}", tuple(Lane)[number % 4])])
            load.now_ms += 1
        for _ in range(40):
            load.now_ms += MINUTE_MS
            load.take_one()
        return load.evidence

    def waits(self, client: RedisClient, keys: Keys) -> dict[str, float]:
        """How long MEDIUM and LOW items waited, or have waited after eight hours of too much HIGH work."""
        load = Load(client, keys)
        load.queue.enqueue([("medium", Lane.MEDIUM), ("low", Lane.LOW)])
        load.queue.enqueue([("first", Lane.HIGH)])
        served: dict[str, float] = {}
        for number in range(8 * 60):
            load.now_ms += MINUTE_MS
            load.queue.enqueue([(f"high {number}", Lane.HIGH)])
            served[load.take_one()] = load.now_ms - START_MS
        return {item: served.get(item, load.now_ms - START_MS) for item in ("medium", "low")}

    def test_is_kept_as_it_is(self, redis_client: RedisClient, fresh: Callable[[], Keys]) -> None:
        evidence = self.line(redis_client, fresh())
        assert len(evidence.takes) == 40
        assert out_of_order(evidence.takes, START_MS) == []
        waits = self.waits(redis_client, fresh())
        assert starved(waits, self.BOUND_MS) == []
        assert waits["medium"] < waits["low"]

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            pytest.param("#places + 2] = enqueued_us, id", "#places + 2] = '0', id", id="by id"),
            pytest.param("or score < scores[best]", "or score > scores[best]", id="last come first"),
            pytest.param(
                "return enqueued_us - 1000000000000000", "return enqueued_us", id="CRITICAL like HIGH"
            ),
        ],
    )
    def test_another_order_is_found(
        self, redis_client: RedisClient, fresh: Callable[[], Keys], old: str, new: str
    ) -> None:
        sabotaged = Sabotaged(redis_client, (old, new))
        evidence = self.line(sabotaged, fresh())
        assert sabotaged.replaced
        assert out_of_order(evidence.takes, START_MS) != []

    def test_strict_classes_starve_the_lowest(
        self, redis_client: RedisClient, fresh: Callable[[], Keys]
    ) -> None:
        sabotaged = Sabotaged(redis_client, ("STEP_US = 7200000000", "STEP_US = 100000000000000"))
        waits = self.waits(sabotaged, fresh())
        assert sabotaged.replaced
        assert starved(waits, self.BOUND_MS) == ["medium", "low"]


class TestRealProcesses:
    """The fire's own provider, log and processes, for a few seconds."""

    LAG_SECONDS = 0.5

    def test_a_plain_sliding_log_is_found(
        self, tmp_path: Path, redis_url: str, database_url: str, prefix: str
    ) -> None:
        scripts = [
            ("whole(now + w.lead_ms), call_id", "whole(now), call_id"),
            (
                "redis.call('ZADD', calls_key, whole(clock_ms(options) + 1 + options.arrival_ms), call_id)",
                "",
            ),  # complete
        ]
        with Arena(tmp_path, redis_url, database_url, prefix, backlog=100, latency=(0.01, 0.05)) as site:
            until = time.monotonic() + 20
            for number in range(8):
                site.start(
                    "run-queue", 30, seed=number, until=until, lag_seconds=self.LAG_SECONDS, scripts=scripts
                )
            for process in site.processes:
                process.wait(60)
            arrivals = site.arrivals()
        assert windows_over_limit(arrivals, arena.LIMIT, arena.WINDOW_SECONDS) != []
