"""The queue's real scripts beside a model in plain Python, driven through sequences that hypothesis makes up.

After every step the keys on the server are read raw and compared with the model, so that a record without
a place, an id in two places or a key left behind shows at once and not only when it does harm. Faults at
boundaries are found only by those who stand there: few ids, a small queue, a retry delay as long as a lease,
ticks to the millisecond before, at and after each moment that counts. The call window is left out here (it
has its own tests): refusals would hide most of the queue's steps.
"""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import assetbatch.state.queue
from assetbatch.domain.queueing import Enqueued, Failure, Fault, Lane
from assetbatch.secret import Secret
from assetbatch.state.connection import RedisClient, connect
from assetbatch.state.keys import Keys
from assetbatch.state.queue import Lease, Queue
from tests.conftest import examples

from .conftest import FakeClock
from .model_queue import LANES, RISES_TO_HIGH, Model, Work

CRITICAL, HIGH, MEDIUM, LOW, BARS, HISTORY = LANES
UNIT_MS = 1000  # of leases and delays alike, so that they end together
SPAN_MS = 7_200_000

Thing = TypeVar("Thing")
Step = tuple[str, dict[str, Any]]

IDS = "DBEAC"  # two more than there is room for; in no order that the order of service could be taken for
AN_ID = st.sampled_from(IDS)
ITEMS = st.lists(st.tuples(AN_ID, st.sampled_from(LANES)), min_size=1, max_size=4)
PICK = st.integers(0, 2)  # one of some things, whatever their number is
COUNT = st.sampled_from([1, 2, 5])
BESIDE_MS = st.sampled_from([0, -1, 1])
LEASE_MS = st.sampled_from([UNIT_MS, 2 * UNIT_MS])


def step(name: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.fixed_dictionaries(arguments))


ENDS = st.sampled_from(["finish", "fail", "fail for good", "nobody", "provider", "release", "start", "start"])
ALONE = st.sampled_from([None, None, 1, 2])
STEPS = st.one_of(
    step("enqueue", items=ITEMS),
    step(
        "enqueue_when_something_has_risen",
        pick=PICK,
        lane=st.sampled_from([HIGH, HIGH, MEDIUM, LOW, BARS]),
        beside_ms=BESIDE_MS,
        then=st.sampled_from(["nothing", "take", "enqueue"]),
    ),
    step("take", count=COUNT, lease_ms=LEASE_MS, alone=ALONE),
    step("take_and_start", count=COUNT),
    step("take_when_a_lease_or_delay_ends", count=COUNT, pick=PICK, beside_ms=BESIDE_MS),
    step("take_again_after_a_lost_reply", count=COUNT, pick=PICK),
    step("end_all_of_a_lease", what=ENDS, pick=PICK),
    step("end_some_of_a_lease", what=ENDS, pick=PICK, others=st.lists(AN_ID, max_size=2)),
    step("end_what_was_held_once", what=ENDS, pick=PICK, ids=st.lists(AN_ID, min_size=1, max_size=4)),
    step("retry_dead", ids=st.lists(AN_ID, min_size=1, max_size=3)),
    step("drop_dead", ids=st.lists(AN_ID, min_size=1, max_size=2)),
    step("cancel", ids=st.lists(AN_ID, min_size=1, max_size=3)),
    step("pass_time", ms=st.sampled_from([1, UNIT_MS, UNIT_MS - 1, -1, -UNIT_MS, -SPAN_MS])),
    st.one_of(*map(step, ["start_a_new_process", "flush_the_scripts", "forget_the_answers", "look"])),
)


class QueueMachine(RuleBasedStateMachine):
    """Each step is done by the queue and by the model; their answers and what they hold must be the same.

    There is one rule for all steps: of several, hypothesis leaves a random half out of each example, and
    without `enqueue` or `take` nothing happens in it.
    """

    client: RedisClient

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keys(f"{{model-{uuid.uuid4().hex[:12]}}}")
        self.clock = FakeClock(1_800_000_000_000)
        self.tokens = ["a stranger"]

    @initialize(
        max_size=st.sampled_from([3, 2]),
        attempts=st.sampled_from([2, 1, 3]),
        delay_ms=st.sampled_from([UNIT_MS, UNIT_MS, 0]),
        letters_kept=st.sampled_from([1, 2]),
    )
    def a_queue(self, max_size: int, attempts: int, delay_ms: int, letters_kept: int) -> None:
        self.model = Model(max_size, attempts, delay_ms, letters_kept)
        self.start_a_new_process()

    @rule(step=STEPS, later_ms=st.sampled_from([0, 1]))
    def step(self, step: Step, later_ms: int) -> None:
        self.clock.now_ms += later_ms
        name, arguments = step
        getattr(self, name)(**arguments)

    def teardown(self) -> None:
        if left := self.client.keys(f"{self.keys.prefix}*"):
            self.client.delete(*left)

    # Work comes in.

    def enqueue(self, items: list[tuple[str, Lane]]) -> None:
        answer, right = self.queue.enqueue(items), self.model.enqueue(self.clock(), items)
        assert sorted_fields(answer) == sorted_fields(right)

    def enqueue_when_something_has_risen(self, pick: int, lane: Lane, beside_ms: int, then: str) -> None:
        """A newcomer when something below its lane has risen to it, nearly, or just beyond."""
        elders = [work for work in self.model.waiting() if work.lane.rank > lane.rank]
        newcomer, another = [each for each in IDS if each not in self.model.works][:2]
        if not elders:
            self.enqueue([(newcomer, LANES[lane.rank + 1])])
            return
        elder = nth(elders, pick)
        spans = RISES_TO_HIGH[elder.lane] - RISES_TO_HIGH[lane]
        self.clock.now_ms = elder.enqueued_us // 1000 + spans * SPAN_MS + beside_ms
        self.enqueue([(newcomer, lane)])
        if then == "enqueue":
            self.enqueue([(another, CRITICAL)])
        elif then == "take":
            self.take(5, UNIT_MS)

    # Work goes out.

    def take(self, count: int, lease_ms: int, alone: int | None = None) -> None:
        self.tokens.append(f"t{len(self.tokens)}")
        self.take_with(self.tokens[-1], count, lease_ms, alone)

    def take_and_start(self, count: int) -> None:
        self.take(count, UNIT_MS)
        held = [each for each in self.model.works if self.model.held(self.tokens[-1], each)]
        self.end("start", self.tokens[-1], held)

    def take_when_a_lease_or_delay_ends(self, count: int, pick: int, beside_ms: int) -> None:
        ends = [work.lease_ends_ms or work.retry_at_ms for work in self.model.works.values()]
        self.clock.now_ms = nth([end for end in ends if end] or [self.clock()], pick) + beside_ms
        self.take(count, UNIT_MS)

    def take_again_after_a_lost_reply(self, count: int, pick: int) -> None:
        self.take_with(nth(self.tokens[::-1], pick), count, UNIT_MS)

    def take_with(self, token: str, count: int, lease_ms: int, alone: int | None = None) -> None:
        taken = self.queue.take(count, lease_ms / 1000, token=token, alone=alone)
        assert taken == self.model.take(self.clock(), token, count, lease_ms, alone)

    # A holder comes back; where none is, somebody takes work first.

    def end_all_of_a_lease(self, what: str, pick: int) -> None:
        token = self.holder(pick)
        self.end(what, token, [each for each in self.model.works if self.model.held(token, each)])

    def end_some_of_a_lease(self, what: str, pick: int, others: list[str]) -> None:
        token = self.holder(pick)
        held = [each for each in self.model.works if self.model.held(token, each)]
        self.end(what, token, [*held[:1], *others])

    def end_what_was_held_once(self, what: str, pick: int, ids: list[str]) -> None:
        self.end(what, nth(self.tokens[::-1], pick), ids)

    def holder(self, pick: int) -> str:
        if not self.model.leased():
            self.take(2, UNIT_MS)
        leased = self.model.leased()
        return str(nth(leased, pick).holder) if leased else self.tokens[-1]

    def end(self, what: str, token: str, ids: list[str]) -> None:
        now_ms, queue, model = self.clock(), self.queue, self.model
        match what:
            case "finish":
                assert queue.finish(token, ids) == model.finish(token, ids)
            case "release":
                assert queue.release(token, ids) == model.release(token, ids)
            case "start":
                ids = list(dict.fromkeys(ids))
                assert queue.start(token, ids, UNIT_MS / 1000) == model.start(now_ms, token, ids, UNIT_MS)
            case _:
                final, fault = what == "fail for good", Fault(what) if what in list(Fault) else Fault.ITEM
                failures = [Failure(each, f"of {token}: {what}", final, fault) for each in ids]
                answered_ms = now_ms - UNIT_MS
                assert queue.fail(token, failures, answered_ms) == model.fail(
                    now_ms, token, failures, answered_ms
                )

    # Somebody looks after the dead letters.

    def retry_dead(self, ids: list[str]) -> None:
        assert self.queue.retry_dead(ids) == self.model.retry_dead(self.clock(), ids)

    def drop_dead(self, ids: list[str]) -> None:
        assert self.queue.drop_dead(ids) == self.model.drop_dead(ids)

    def cancel(self, ids: list[str]) -> None:
        assert self.queue.cancel(ids) == self.model.cancel(ids)

    # The world around it.

    def pass_time(self, ms: int) -> None:
        self.clock.now_ms += ms

    def start_a_new_process(self) -> None:
        assetbatch.state.queue.DEAD_LETTERS_KEPT = self.model.letters_kept  # the test puts it back
        self.queue = Queue(
            self.client,
            self.keys,
            max_size=self.model.max_size,
            retry_max_attempts=self.model.max_attempts,
            retry_delay_seconds=self.model.delay_ms / 1000,
            clock_ms=self.clock,
        )

    def flush_the_scripts(self) -> None:
        self.client.script_flush()

    def forget_the_answers(self) -> None:
        """As the server does after a minute."""
        for token in self.model.answers:
            self.client.delete(self.keys.queue_reply(token))
        self.model.answers.clear()

    def look(self) -> None:
        by_class = sorted(self.model.waiting(), key=lambda work: (work.lane.rank, work.enqueued_us))
        for count in (1, 5):
            assert self.queue.dead_letters(count) == self.model.dead_letters()[:count]
            assert self.queue.peek(count) == [work.id for work in by_class][:count]
        assert self.queue.items() == self.model.items()

    # What holds after every step.

    @invariant()
    def the_figures_are_those_of_the_model_and_within_their_bounds(self) -> None:
        state = self.queue.state()
        assert state == self.model.state(self.clock())
        assert state.size <= self.model.max_size
        assert state.dead <= self.model.letters_kept

    @invariant()
    def every_id_is_in_one_place_and_every_key_holds_what_it_should(self) -> None:
        stored = self.stored()
        replies = {self.keys.queue_reply(token) for token in self.model.answers}
        assert {name: stored.pop(name) for name in list(stored) if name in replies} == dict.fromkeys(
            replies, True
        )
        assert stored == self.expected()

    def stored(self) -> dict[str, object]:
        """What each key below the prefix holds; of a string other than the stamp, whether it will expire."""
        zsets = {
            *self.keys.queue_waiting,
            self.keys.queue_leased,
            self.keys.queue_delayed,
            self.keys.queue_dead,
        }
        hashes = {self.keys.queue_items, self.keys.queue_dead_items, self.keys.queue_errors}
        names: list[str] = self.client.keys(f"{self.keys.prefix}*")
        pipeline = self.client.pipeline(transaction=False)
        for name in names:
            if name in zsets:
                pipeline.zrange(name, 0, -1, withscores=True)
            elif name in hashes:
                pipeline.hgetall(name)
            elif name == self.keys.queue_stamp:
                pipeline.get(name)
            else:
                pipeline.pttl(name)
        stored: dict[str, object] = {}
        for name, value in zip(names, pipeline.execute(), strict=True):
            if name in zsets:
                stored[name] = dict(value)
            elif isinstance(value, int):
                stored[name] = 0 < value <= 60_000
            else:
                stored[name] = value
        return stored

    def expected(self) -> dict[str, object]:
        """Return the same from the model, after the head of `_queue.lua`; Redis has no empty collections."""
        keys, model = self.keys, self.model
        works, letters = model.works.values(), model.letters.items()
        holds: dict[str, object] = {
            name: {work.id: work.enqueued_us for work in works if work.waiting and work.lane is lane}
            for name, lane in zip(keys.queue_waiting, LANES, strict=True)
        }
        holds[keys.queue_items] = {work.id: record(work, holder(work)) for work in works}
        holds[keys.queue_leased] = {work.id: work.lease_ends_ms for work in model.leased()}
        holds[keys.queue_delayed] = {work.id: work.retry_at_ms for work in model.delayed()}
        holds[keys.queue_errors] = {
            work.id: f"{work.failed_ms}:{work.last_error}" for work in works if work.last_error is not None
        }
        holds[keys.queue_dead] = {item_id: letter.died_ms for item_id, letter in letters}
        holds[keys.queue_dead_items] = {
            item_id: record(letter.work, letter.error) for item_id, letter in letters
        }
        holds[keys.queue_stamp] = str(model.last_enqueued_us) if model.last_enqueued_us else None
        return {name: content for name, content in holds.items() if content}


def record(work: Work, end: str) -> str:
    return f"{work.lane.rank}:{work.attempts}:{work.enqueued_us}:{end}"


def holder(work: Work) -> str:
    life = f":{work.life_ms}" if work.holder else ""
    return f"{work.holder or ''}{life}{':started' if work.started else ''}"


def sorted_fields(enqueued: Enqueued) -> list[list[str]]:
    """Which ids were added, raised, duplicates and dropped; their order is not promised."""
    return [sorted(ids) for ids in msgspec.structs.astuple(enqueued)]


def nth(things: list[Thing], pick: int) -> Thing:
    return things[pick % len(things)]


@pytest.mark.timeout(300)  # a failure is made small before it is told
def test_the_scripts_do_what_the_model_does(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assetbatch.state.queue, "DEAD_LETTERS_KEPT", 1)  # and undo what the machines set
    client = connect(Secret(redis_url))
    machine = type("BoundQueueMachine", (QueueMachine,), {"client": client})
    try:
        run_state_machine_as_test(
            machine,
            # Most faults need two items and two processes at once: twice the examples.
            settings=settings(examples(2), suppress_health_check=list(HealthCheck)),
        )
    finally:
        client.close()


class TestFoundByTheMachine:
    def test_an_id_that_had_to_go_and_came_back_within_one_batch_is_told_as_added(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue = Queue(
            redis_client, keys, max_size=1, retry_max_attempts=3, retry_delay_seconds=60, clock_ms=clock
        )
        enqueued = queue.enqueue([("A", MEDIUM), ("B", HIGH), ("A", CRITICAL)])
        assert queue.peek(5) == ["A"]
        assert (enqueued.added, enqueued.dropped) == (("A",), ("B",))

    def test_work_that_has_risen_a_whole_class_is_served_before_what_comes_in_at_that_moment(
        self, redis_client: RedisClient, keys: Keys, clock: FakeClock
    ) -> None:
        queue = Queue(
            redis_client, keys, max_size=9, retry_max_attempts=3, retry_delay_seconds=60, clock_ms=clock
        )
        queue.enqueue([("old", MEDIUM)])
        clock.now_ms += SPAN_MS
        queue.enqueue([("young", HIGH)])
        taken = queue.take(2, 60.0)
        assert isinstance(taken, Lease)
        assert [item.id for item in taken.items] == ["old", "young"]
