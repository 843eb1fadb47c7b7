"""Installations with prefixes of their own share what belongs to an API key."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assetbatch.domain.asset_classes import AssetType, Product
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.queueing import CallKind, CallLimit, Denied
from assetbatch.state.connection import RedisClient
from assetbatch.state.entitlement_store import EntitlementStore
from assetbatch.state.keys import SHARED_PREFIX, Keys, window_name
from assetbatch.state.window import Grant, Window, WindowSettings

from .conftest import FakeClock

INTERVAL_MS = 300_000


def window_of(
    client: RedisClient, clock: FakeClock, prefix: str, shared: str = SHARED_PREFIX, limit: int = 5
) -> Window:
    return Window(
        client, WindowSettings(Keys(prefix, shared), "abc", CallLimit(limit, 60_000), 10.0), clock_ms=clock
    )


@pytest.fixture
def ours(redis_client: RedisClient, clock: FakeClock) -> Window:
    return window_of(redis_client, clock, "{ours}")


@pytest.fixture
def theirs(redis_client: RedisClient, clock: FakeClock) -> Window:
    return window_of(redis_client, clock, "{theirs}")


def use(window: Window, kind: CallKind, times: int) -> None:
    for _ in range(times):
        answer = window.ask(kind)
        assert isinstance(answer, Grant), answer
        window.complete(answer)


def reason(window: Window) -> str:
    """Why the queue has no call; its turn is given up."""
    answer = window.ask(CallKind.QUEUE, "asks")
    if isinstance(answer, Grant):
        window.cancel(answer)
        return "granted"
    window.abandon_wait("asks")
    return answer.reason


class TestTwoInstallations:
    def test_have_one_budget(self, ours: Window, theirs: Window) -> None:
        use(ours, CallKind.QUEUE, 3)
        use(theirs, CallKind.QUEUE, 2)
        assert isinstance(ours.ask(CallKind.PRIORITY), Denied)

    def test_keep_slots_for_the_cycles_of_both_that_start_together(
        self, ours: Window, theirs: Window, clock: FakeClock
    ) -> None:
        starts_ms = clock.now_ms + 30_000
        ours.reserve(starts_ms, 2, INTERVAL_MS)
        theirs.reserve(starts_ms, 2, INTERVAL_MS)
        assert ours.state().reserved == 4
        use(ours, CallKind.QUEUE, 1)
        assert (reason(ours), reason(theirs)) == ("reserved", "reserved")
        clock.now_ms = starts_ms
        use(ours, CallKind.PRIORITY, 2)
        assert reason(ours) == "reserved"
        use(theirs, CallKind.PRIORITY, 2)

    def test_keep_them_one_after_the_other_within_a_window(
        self, ours: Window, theirs: Window, clock: FakeClock
    ) -> None:
        ours.reserve(clock.now_ms + 10_000, 2, INTERVAL_MS)
        theirs.reserve(clock.now_ms + 40_000, 2, INTERVAL_MS)  # those of the first still count then
        use(ours, CallKind.QUEUE, 1)
        assert reason(ours) == "reserved"
        clock.advance(10)
        use(ours, CallKind.PRIORITY, 2)
        assert reason(ours) == "reserved"
        clock.advance(30)
        use(theirs, CallKind.PRIORITY, 2)

    def test_keep_no_more_than_the_larger_where_their_cycles_lie_a_window_apart(
        self, ours: Window, theirs: Window, clock: FakeClock
    ) -> None:
        ours.reserve(clock.now_ms + 5_000, 2, INTERVAL_MS)
        theirs.reserve(clock.now_ms + 65_001, 3, INTERVAL_MS)
        use(ours, CallKind.QUEUE, 2)
        clock.advance(5)
        use(ours, CallKind.PRIORITY, 2)

    def test_use_only_what_each_has_reserved(self, ours: Window, theirs: Window, clock: FakeClock) -> None:
        ours.reserve(clock.now_ms, 2, INTERVAL_MS)
        theirs.reserve(clock.now_ms, 2, INTERVAL_MS)
        use(theirs, CallKind.PRIORITY, 3)
        assert ours.state().reserved == 2

    def test_keep_no_more_than_there_is(self, ours: Window, theirs: Window, clock: FakeClock) -> None:
        ours.reserve(clock.now_ms, 4, INTERVAL_MS)
        theirs.reserve(clock.now_ms, 4, INTERVAL_MS)
        assert ours.state().reserved == 5

    def test_forget_one_that_is_gone(
        self, ours: Window, theirs: Window, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        theirs.reserve(clock.now_ms, 5, INTERVAL_MS)
        clock.now_ms += 3 * INTERVAL_MS + 59_999
        assert reason(ours) == "reserved"
        clock.now_ms += 1
        assert reason(ours) == "granted"
        ours.reserve(clock.now_ms, 1, INTERVAL_MS)
        assert redis_client.hkeys(ours.keys[2]) == ["{ours}"]

    def test_are_a_hundred_at_the_most(self, redis_client: RedisClient, clock: FakeClock) -> None:
        for number in range(150):
            window = window_of(redis_client, clock, f"{{{number}}}")
            window.reserve(clock.now_ms, 1, INTERVAL_MS)
            assert redis_client.hlen(window.keys[2]) <= 101
        assert window.state().reserved >= 1

    def test_with_keys_of_one_account_share_the_window_that_both_name(
        self, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        limit = CallLimit(2, 60_000)
        keys = [Keys(prefix, SHARED_PREFIX) for prefix in ("{ours}", "{theirs}")]
        both = [
            Window(redis_client, WindowSettings(key, window_name("desk"), limit, 10.0), clock_ms=clock)
            for key in keys
        ]
        for window in both:
            use(window, CallKind.QUEUE, 1)
        assert isinstance(both[0].ask(CallKind.QUEUE), Denied)


class TestAnEarlierVersion:
    """It kept a key's window and memory below the prefix of each installation."""

    def former(self, client: RedisClient, clock: FakeClock) -> Window:
        return window_of(client, clock, "{ours}", shared="{ours}")

    def test_leaves_calls_that_count(self, ours: Window, redis_client: RedisClient, clock: FakeClock) -> None:
        former = self.former(redis_client, clock)
        use(ours, CallKind.QUEUE, 1)  # another host is up to date already
        use(former, CallKind.QUEUE, 4)
        assert isinstance(ours.ask(CallKind.QUEUE, "asks"), Denied)
        assert not redis_client.exists(former.keys[0])
        clock.advance(60.1)
        use(ours, CallKind.QUEUE, 1)

    def test_may_still_run(self, ours: Window, redis_client: RedisClient, clock: FakeClock) -> None:
        former = self.former(redis_client, clock)
        use(ours, CallKind.QUEUE, 2)
        grant = former.ask(CallKind.QUEUE)
        assert isinstance(grant, Grant)
        use(ours, CallKind.QUEUE, 1)  # moves its entry
        former.complete(grant)
        use(ours, CallKind.QUEUE, 1)
        assert isinstance(ours.ask(CallKind.QUEUE), Denied)

    def test_leaves_what_the_provider_has_forbidden(
        self, ours: Window, theirs: Window, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        former = self.former(redis_client, clock)
        use(theirs, CallKind.QUEUE, 1)
        until_ms = former.block(600)
        answer = ours.ask(CallKind.QUEUE)
        assert isinstance(answer, Denied)
        assert (answer.retry_at_ms, answer.reason) == (until_ms, "blocked")
        assert isinstance(theirs.ask(CallKind.QUEUE), Denied)

    def test_leaves_no_reservation_that_is_misread(
        self, ours: Window, redis_client: RedisClient, clock: FakeClock
    ) -> None:
        fields = {"at": clock.now_ms, "slots": 5, "interval": INTERVAL_MS, "grace": 60_000, "used": 0}
        redis_client.hset(ours.keys[2], mapping=fields)
        assert reason(ours) == "granted"
        ours.reserve(clock.now_ms, 1, INTERVAL_MS)
        assert redis_client.hkeys(ours.keys[2]) == ["{ours}"]

    def test_leaves_what_is_known_of_the_plan(self, redis_client: RedisClient) -> None:
        known = Entitlements(end_of_day=True, restrictions=[], observations=[])
        old, new = (
            known.refused(Restriction.INTRADAY, asset_type, "no", 1, ticker="X:A")
            for asset_type in (AssetType.CRYPTO, AssetType.FOREX)
        )
        EntitlementStore(redis_client, Keys("{ours}"), {Product.CURRENCIES: "k"}).remember(old)
        both = [
            EntitlementStore(redis_client, Keys(p, SHARED_PREFIX), {Product.CURRENCIES: "k"})
            for p in ("{ours}", "{theirs}")
        ]
        both[1].remember(new)
        assert both[1].load().restrictions == [new]
        for memory in both:
            assert sorted(one.asset_type for one in memory.load().restrictions) == ["crypto", "forex"]
        assert not redis_client.keys("{ours}*")

    def test_is_not_believed_against_what_was_learned_since(self, redis_client: RedisClient) -> None:
        known = Entitlements(end_of_day=True, restrictions=[], observations=[])
        old, new = (
            known.refused(Restriction.TODAY, AssetType.FOREX, "no", at, ticker="C:A") for at in (1, 2)
        )
        EntitlementStore(redis_client, Keys("{ours}"), {Product.CURRENCIES: "k"}).remember(old)
        memory = EntitlementStore(redis_client, Keys("{ours}", SHARED_PREFIX), {Product.CURRENCIES: "k"})
        memory.remember(new)
        assert memory.load().restrictions == [new]


class TestACallThatWasNotMade:
    def test_gives_its_slot_back(self, ours: Window) -> None:
        grants = [ours.ask(CallKind.QUEUE) for _ in range(5)]
        assert isinstance(grants[0], Grant)
        ours.cancel(grants[0])
        assert ours.state().remaining == 1

    def test_cannot_be_said_of_one_that_was_completed(self, ours: Window, clock: FakeClock) -> None:
        grant = ours.ask(CallKind.QUEUE)
        assert isinstance(grant, Grant)
        ours.complete(grant)
        ours.cancel(grant)
        assert ours.state().used == 1


class TestPriorityNeverWaitsForTheQueue:
    """However two installations' cycles lie to each other, where the limit has room for both."""

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        offset_ms=st.integers(0, 70_000),
        needs=st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda both: sum(both) <= 5),
        took_ms=st.integers(0, 12_000),
        every_ms=st.sampled_from([500, 1_000, 3_700, 9_000]),
        lag_ms=st.integers(0, 50_000),
    )
    def test_of_either(
        self,
        redis_client: RedisClient,
        offset_ms: int,
        needs: tuple[int, int],
        took_ms: int,
        every_ms: int,
        lag_ms: int,
    ) -> None:
        clock = FakeClock(1_800_000_000_000)
        shared = f"{{{uuid.uuid4().hex}}}"
        ours, theirs = (window_of(redis_client, clock, f"{shared}:{name}", shared) for name in "ab")
        first_ms = clock.now_ms + 80_000
        second_ms = first_ms + offset_ms
        starts = [(first_ms, ours, needs[0]), (second_ms, theirs, needs[1])]
        for at_ms, window, count in starts:
            window.reserve(at_ms, count, INTERVAL_MS)
        out: list[tuple[int, Grant]] = []

        def complete_until(moment_ms: int) -> None:
            """End calls when they end, however rarely the queue asks: none takes longer than its slot."""
            while out and out[0][0] <= moment_ms:
                ended_ms, grant = out.pop(0)
                clock.now_ms = max(clock.now_ms, ended_ms)
                ours.complete(grant)
            clock.now_ms = max(clock.now_ms, moment_ms)

        for now_ms in range(clock.now_ms, second_ms + lag_ms + 2 * every_ms, every_ms):
            events = [one for one in starts if one[0] + lag_ms * (one[0] == second_ms) <= now_ms]
            for event in events:  # a cycle may come late, within its grace
                starts.remove(event)
                at_ms, window, count = event
                complete_until(at_ms)
                use(window, CallKind.PRIORITY, count)
            complete_until(now_ms)
            for window in (ours, theirs):
                answer = window.ask(CallKind.QUEUE, f"{window.keys[0]}{now_ms}")
                if isinstance(answer, Grant):
                    out.append((clock.now_ms + took_ms, answer))
                else:
                    window.abandon_wait(f"{window.keys[0]}{now_ms}")
