from __future__ import annotations

from typing import ClassVar, cast

from assetbatch.domain.asset_classes import AssetType, Market, Product
from assetbatch.domain.entitlements import KnownRestriction, Observation, Restriction
from assetbatch.domain.pages import Doubt, PageLength
from assetbatch.domain.records import Command, CycleRecord
from assetbatch.state.connection import RedisClient
from assetbatch.state.entitlement_store import EntitlementStore, Remembered, plan_name
from assetbatch.state.history import CYCLES_KEPT, History
from assetbatch.state.keys import Keys
from assetbatch.state.locks import Locks

from .conftest import FakeClock


class TestLocks:
    def test_one_holder_at_a_time(self, redis_client: RedisClient, keys: Keys, clock: FakeClock) -> None:
        locks = Locks(redis_client, keys, clock)
        with locks.hold("run_priority", 60) as first, locks.hold("run_priority", 60) as second:
            assert (bool(first), bool(second)) == (True, False)
        with locks.hold("run_priority", 60) as again:
            assert again

    def test_as_many_holders_as_allowed(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        locks = Locks(redis_client, keys, clock)
        with locks.hold("q", 60, 2) as one, locks.hold("q", 60, 2) as two, locks.hold("q", 60, 2) as three:
            assert (bool(one), bool(two), bool(three)) == (True, True, False)

    def test_a_refused_start_does_not_release_the_holders_lock(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        locks = Locks(redis_client, keys, clock)
        with locks.hold("q", 60):
            with locks.hold("q", 60):
                pass
            with locks.hold("q", 60) as third:
                assert not third

    def test_a_dead_holders_lock_ends_with_its_bound(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        locks = Locks(redis_client, keys, clock)
        dead = locks.hold("q", 60)
        assert dead.__enter__()  # and never leaves
        clock.advance(59.9)
        with locks.hold("q", 60) as held:
            assert not held
        clock.advance(0.1)
        with locks.hold("q", 60) as held:
            assert held

    def test_the_servers_time_counts_where_none_is_given(self, redis_client: RedisClient, keys: Keys) -> None:
        def server_ms() -> int:
            seconds, microseconds = cast("tuple[int, int]", redis_client.time())
            return seconds * 1000 + microseconds // 1000

        locks = Locks(redis_client, keys)
        before_ms = server_ms()
        with locks.hold("q", 60):
            (end_ms,) = locks.held("q")
            assert before_ms + 60_000 <= end_ms <= server_ms() + 60_000

    def test_no_place_ends_later_than_its_own_bound_after_the_clock_was_set_back(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        locks = Locks(redis_client, keys, clock)
        dead = [locks.hold("q", bound_seconds, 3) for bound_seconds in (60, 70, 80)]
        assert all(one.__enter__() for one in dead)  # and none leaves
        clock.advance(-3600)
        with locks.hold("q", 600, 3) as held:
            assert not held
        assert locks.held("q") == [clock() + seconds * 1000 for seconds in (60, 70, 80)]
        clock.advance(10)
        with locks.hold("q", 600, 3):
            pass
        assert locks.held("q") == [clock() + seconds * 1000 for seconds in (50, 60, 70)], "nor is it renewed"

    def test_a_place_without_a_bound_ends_after_that_of_the_next_start(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        locks = Locks(redis_client, keys, clock)
        redis_client.zadd(keys.lock("q"), {"a place of another version": clock() + 3_600_000})
        with locks.hold("q", 60) as held:
            assert not held
        assert locks.held("q") == [clock() + 60_000]

    def test_nothing_is_left_a_day_after_the_last_start(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        locks = Locks(redis_client, keys, clock)
        dead = locks.hold("q", 60)
        assert dead.__enter__()
        assert 86_000_000 < redis_client.pttl(keys.lock("q")) <= 86_400_000

    def test_a_place_that_a_dead_process_held_is_freed_and_taken(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        dead = Locks(redis_client, keys, clock).hold("q", 60)
        assert dead.__enter__()

        def free_dead() -> bool:
            return bool(redis_client.delete(keys.lock("q")))

        with Locks(redis_client, keys, clock, free_dead).hold("q", 60) as held:
            assert held


class TestAPlaceThatRedisHasForgotten:
    def test_is_kept_where_nobody_else_has_it(self, redis_client: RedisClient, keys: Keys) -> None:
        locks = Locks(redis_client, keys)
        with locks.hold("q", 60) as place:
            assert place
            redis_client.delete(keys.lock("q"))
            assert place.keep()
            with locks.hold("q", 60) as other:
                assert not other

    def test_is_gone_where_another_start_has_it(self, redis_client: RedisClient, keys: Keys) -> None:
        locks = Locks(redis_client, keys)
        with locks.hold("q", 60) as place:
            assert place
            redis_client.delete(keys.lock("q"))
            with locks.hold("q", 60) as other:
                assert other
                assert not place.keep()
                assert other.keep()

    def test_or_not_ends_no_later_for_being_asked_for(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        locks = Locks(redis_client, keys, clock)
        with locks.hold("q", 60) as place:
            assert place
            ends = locks.held("q")
            clock.advance(30)
            assert place.keep()
            assert locks.held("q") == ends


class TestJournal:
    def test_remembers_starts_and_ends(self, redis_client: RedisClient, keys: Keys) -> None:
        history = History(redis_client, keys)
        history.start("run_priority", 1000)
        started = history.start("run_priority", 2000)
        assert (started.starts_ms, started.slowest_call_ms, started.answered_ms) == ((1000, 2000), None, 0)
        history.finish("run_priority", CycleRecord(started_ms=2000, duration_ms=5, result="ok", refreshed=3))
        job = history.job("run_priority")
        assert (job.last_started_ms, job.last_finished_ms, job.last_result, job.last_error) == (
            2000,
            2005,
            "ok",
            None,
        )
        assert history.cycles("run_priority")[0].refreshed == 3

    def test_of_a_version_that_spelled_commands_otherwise_is_read_and_its_lock_kept(
        self, redis_client: RedisClient, keys: Keys
    ) -> None:
        cycle = '{"started_ms": 7, "duration_ms": 5, "result": "ok"}'
        redis_client.hset(f"{keys.prefix}:job:run_priority", "last_started", 7)
        redis_client.lpush(f"{keys.prefix}:cycles:run_priority", cycle)
        history = History(redis_client, keys)
        assert history.job(Command.RUN_PRIORITY).last_started_ms == 7
        assert history.cycles(Command.RUN_PRIORITY)[0].started_ms == 7
        with Locks(redis_client, keys).hold(Command.RUN_PRIORITY, 60):
            assert redis_client.zcard(f"{keys.prefix}:lock:run_priority") == 1

    def test_knows_the_slowest_of_the_last_hundred_calls_of_all_commands(
        self, redis_client: RedisClient, keys: Keys
    ) -> None:
        history = History(redis_client, keys)
        cycle = CycleRecord(started_ms=1, duration_ms=1, result="ok")
        history.finish("run_priority", cycle, [9000, 40], answered_ms=7)
        history.finish("run_queue", cycle, [1200] * 98)
        history.finish("run_queue", cycle)
        started = history.start("run_queue", 2)
        assert (started.slowest_call_ms, started.answered_ms) == (9000, 7)
        history.finish("run_queue", cycle, [300])
        assert history.start("run_queue", 3).slowest_call_ms == 1200
        assert redis_client.llen(keys.call_ms) == 100

    def test_knows_of_a_start_before_whose_end_nobody_has_recorded(
        self, redis_client: RedisClient, keys: Keys
    ) -> None:
        history = History(redis_client, keys)
        cycle = CycleRecord(started_ms=2000, duration_ms=0, result="ok")
        assert history.start("run_queue", 1000).unended_ms is None
        assert history.start("run_queue", 2000).unended_ms == 1000
        history.finish("run_queue", cycle)
        assert history.start("run_queue", 3000).unended_ms is None

    def test_a_command_that_never_started_has_nothing(self, redis_client: RedisClient, keys: Keys) -> None:
        job = History(redis_client, keys).job("run_queue")
        assert (job.last_started_ms, job.skipped, job.starts_ms) == (None, 0, ())

    def test_keeps_a_bounded_number_of_cycles(self, redis_client: RedisClient, keys: Keys) -> None:
        history = History(redis_client, keys)
        for number in range(CYCLES_KEPT + 5):
            history.finish("q", CycleRecord(started_ms=number, duration_ms=1, result="ok"))
        assert len(history.cycles("q")) == CYCLES_KEPT
        assert history.cycles("q")[0].started_ms == CYCLES_KEPT + 4

    def test_counts_the_waits_of_the_last_hour(self, redis_client: RedisClient, keys: Keys) -> None:
        history = History(redis_client, keys)
        history.waited(1_000, "a")
        history.waited(3_000_000, "b")
        assert history.waits_of_last_hour(3_000_000) == 2
        assert history.waits_of_last_hour(3_700_000) == 1

    def test_counts_skipped_starts(self, redis_client: RedisClient, keys: Keys) -> None:
        history = History(redis_client, keys)
        history.skip("q")
        history.skip("q")
        assert history.job("q").skipped == 2


def test_what_a_plan_shows_and_lacks_is_remembered_for_all_processes_of_its_key(
    redis_client: RedisClient, keys: Keys
) -> None:
    refusal = KnownRestriction(
        restriction=Restriction.SNAPSHOT,
        asset_type=AssetType.FOREX,
        since_ms=1,
        until_ms=2,
        message="not entitled",
    )
    sighting = Observation(asset_type=AssetType.CRYPTO, at_ms=3, newest_ms=2)
    memory = EntitlementStore(redis_client, keys, {Product.CURRENCIES: "k"})
    memory.remember(refusal)
    memory.remember(sighting)
    doubt = Doubt("EURUSD", 1, 2)
    length = PageLength(of=Market.FOREX, since_ms=1, until_ms=2, whole=True, doubts=(doubt,))
    memory.remember(length)
    remembered = EntitlementStore(redis_client, keys, {Product.CURRENCIES: "k"}).load()
    assert remembered == Remembered([refusal], [sighting], [length])
    assert EntitlementStore(redis_client, keys, {Product.CURRENCIES: "another key"}).load() == Remembered(
        [], [], []
    )


def test_another_plan_of_a_product_forgets_nothing_of_the_others(
    redis_client: RedisClient, keys: Keys
) -> None:
    def refused(asset_type: AssetType) -> KnownRestriction:
        return KnownRestriction(
            restriction=Restriction.TODAY, asset_type=asset_type, since_ms=1, until_ms=2, message="no"
        )

    def memory(stocks: str) -> EntitlementStore:
        plans = {Product.CURRENCIES: "free", Product.STOCKS: stocks}
        return EntitlementStore(redis_client, keys, {of: plan_name("k", of, plans[of]) for of in plans})

    forex, stocks = refused(AssetType.FOREX), refused(AssetType.STOCKS)
    lengths = [PageLength(of=of, since_ms=1, until_ms=2, whole=True) for of in (Market.METAL, "AAPL")]
    everything: list[KnownRestriction | PageLength] = [forex, stocks, *lengths]
    for known in everything:
        memory("basic").remember(known)
    assert memory("free").load() == Remembered([forex, stocks], [], lengths)  # two names of one plan
    assert memory("starter").load() == Remembered([forex], [], lengths[:1])


class TestRestrictionsInRedis:
    """Versions that run side by side read one another's."""

    STORED: ClassVar[dict[str, bytes]] = {
        "history|crypto": (
            b'{"lack":"history","asset_type":"crypto","since_ms":1,"until_ms":2,"message":"too old",'
            b'"edge_ms":1700000000000,"tickers":["X:BTCUSD"],"general":true}'
        ),
        "last_day|forex": (
            b'{"lack":"last_day","asset_type":"forex","since_ms":1,"until_ms":2,"message":"not yet",'
            b'"edge_ms":1790000000000,"tickers":["C:EURUSD"],"general":true}'
        ),
        "bars|forex": (
            b'{"lack":"bars","asset_type":"forex","since_ms":1,"until_ms":2,"message":"no",'
            b'"edge_ms":null,"tickers":["C:XAUUSD"],"general":false}'
        ),
    }
    """As the version of November 2026 wrote them."""

    def load(self, client: RedisClient, keys: Keys) -> dict[Restriction, KnownRestriction]:
        client.hset(keys.refusals("k"), mapping=self.STORED)
        return {
            known.restriction: known
            for known in EntitlementStore(client, keys, {Product.CURRENCIES: "k"}).load().restrictions
        }

    def test_are_read_from_before(self, redis_client: RedisClient, keys: Keys) -> None:
        found = self.load(redis_client, keys)
        assert found[Restriction.HISTORY].history_starts_ms == 1_700_000_000_000
        assert found[Restriction.HISTORY].unpublished_since_ms is None
        assert found[Restriction.LAST_DAY].unpublished_since_ms == 1_790_000_000_000
        assert found[Restriction.LAST_DAY].history_starts_ms is None
        assert (found[Restriction.BARS].tickers, found[Restriction.BARS].general) == (("C:XAUUSD",), False)

    def test_are_written_as_before(self, redis_client: RedisClient, keys: Keys) -> None:
        for known in self.load(redis_client, keys).values():
            EntitlementStore(redis_client, keys, {Product.CURRENCIES: "other"}).remember(known)
        written = redis_client.hgetall(keys.refusals("other"))
        assert written == {field: text.decode() for field, text in self.STORED.items()}
