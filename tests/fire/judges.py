"""The judges of the promises 1 to 4 and 6: pure functions of what was seen that return the breaches.

The judge of the first promise is `assetbatch.sandbox.windows_over_limit`, over the provider's log of
arrivals. All moments of one run are of one clock and in one unit; which one does not matter here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from assetbatch.domain.queueing import Lane

CLASS_SPAN_US = 2 * 3600 * 1_000_000
"""By how much a class gives way to the one above it (README: "The queue"), written down once more."""


@dataclass(frozen=True)
class Hold:
    """The time for which `token` held the item: never longer than it did.

    From the moment at which the answer to the take was in, to the moment at which it was to be given up
    (finished, failed, handed back), its holder was dead, or the lease ran out at the earliest: counted from
    the moment before the take was sent.
    """

    item: str
    token: str
    start: float
    end: float


@dataclass(frozen=True)
class Take:
    """An item was taken some time between `called` and `answered`; `stamp_us` is when it was enqueued."""

    item: str
    line: Lane
    stamp_us: int
    called: float
    answered: float

    @property
    def place(self) -> int:
        """Where it stands in line: CRITICAL first, then by age, each class two hours behind the one above."""
        if self.line is Lane.CRITICAL:
            return self.stamp_us - 10**15
        return self.stamp_us + (self.line.rank - 1) * CLASS_SPAN_US


@dataclass(frozen=True)
class Event:
    """A message that was heard, and the row as it was read right after that: (price, timestamp) each."""

    symbol: str
    message: tuple[float | None, str]
    row: tuple[float | None, str] | None


def held_twice(holds: Iterable[Hold]) -> list[tuple[Hold, Hold]]:
    """Two holders of one item at once. Since a Hold is never longer than the truth, each pair is a breach."""
    by_item: dict[str, list[Hold]] = {}
    for hold in holds:
        by_item.setdefault(hold.item, []).append(hold)
    pairs = []
    for of_item in by_item.values():
        of_item.sort(key=lambda hold: hold.start)
        pairs += [(one, other) for one, other in pairwise(of_item) if other.start < one.end]
    return pairs


def asked_without_lease(asked: Iterable[tuple[str, float]], holds: Iterable[Hold]) -> list[tuple[str, float]]:
    """Arrivals at the provider, (item, moment), at which nobody held the item.

    Together with `held_twice` it says of the provider's own log that no item was worked twice at once.
    """
    by_item: dict[str, list[Hold]] = {}
    for hold in holds:
        by_item.setdefault(hold.item, []).append(hold)
    return [
        (item, at)
        for item, at in asked
        if not any(hold.start <= at <= hold.end for hold in by_item.get(item, ()))
    ]


def asked_again_within(asked: Iterable[tuple[str, float]], least: float) -> list[tuple[str, float, float]]:
    """Items that were asked for twice within less than `least`, by the provider's log alone."""
    last: dict[str, float] = {}
    found = []
    for item, at in sorted(asked, key=lambda one: one[1]):
        if item in last and at - last[item] < least:
            found.append((item, last[item], at))
        last[item] = at
    return found


def lost(enqueued: Iterable[str], *accounts: Collection[str]) -> list[str]:
    """What was enqueued and is in none of the accounts: done, waiting, leased, delayed, dead."""
    return [item for item in enqueued if not any(item in account for account in accounts)]


def work_lost_or_doubled(
    enqueued: Iterable[str],
    done: Collection[str],
    in_queue: Mapping[str, Collection[str]],
    held: Sequence[Hold],
    asked: Sequence[tuple[str, float]],
    retry_delay: float,
) -> dict[str, object]:
    """The breaches of promise 3 by the name of what is broken: nothing is lost, nothing worked twice at once.
    `in_queue` are the ids in each of the queue's sets, and its `records`."""
    records = in_queue["records"]
    places = [in_queue[name] for name in ("critical", "high", "medium", "low", "leased", "delayed")]
    found = {
        "lost": lost(enqueued, done, in_queue["dead"], records),
        "records in no set": lost(records, *places),
        "held twice": held_twice(held),
        "asked without a lease": asked_without_lease(asked, held),
        "asked again too soon": asked_again_within(asked, retry_delay),
    }
    return {name: breaches for name, breaches in found.items() if breaches}


def out_of_order(takes: Iterable[Take], waiting_since: float) -> list[tuple[Take, Take]]:
    """(taken too early, passed over): the second stood before the first in line and was taken after it.

    Of each item only the first take counts, so all items must have been waiting since `waiting_since`:
    takes before that are left out. Takes that overlap in time may have gone either way.
    """
    first: dict[str, Take] = {}
    for take in sorted(takes, key=lambda one: one.called):
        if take.called >= waiting_since:
            first.setdefault(take.item, take)
    line = sorted(first.values(), key=lambda take: take.place)
    found = []
    for position, passed in enumerate(line):
        found += [(early, passed) for early in line[position + 1 :] if early.answered < passed.called]
    return found


def starved(waits: Mapping[str, float], deadline: float) -> list[str]:
    """Items that waited for longer than the deadline; what was never served waited to the end of the run."""
    return [item for item, waited in waits.items() if waited > deadline]


def waited(cycles: Sequence[int]) -> list[int]:
    """Of the waits of each priority cycle, those that are not 0."""
    return [waits for waits in cycles if waits]


def events_without_row(events: Iterable[Event]) -> list[Event]:
    """Events of which the row that they tell of was not there yet."""
    return [event for event in events if event.row != event.message]


def use(arrivals: Iterable[float], limit: int, window: float) -> float:
    """The share of the budget that was used while there was always work: 1.0 is a call for every free slot.

    Between an arrival and the `limit`-th after it there is at least one window; were it exactly one
    each time, nothing would be wasted. So the share is the window over the mean of these gaps. The wake-up
    of the next process and any slot left idle lower it, the run's beginning and end do not. A settled
    slot counts from its answer on: give the window plus a call's cost, and 1.0 is what can be reached.
    """
    times = sorted(arrivals)
    gaps = [later - earlier for earlier, later in zip(times, times[limit:], strict=False)]
    return window * len(gaps) / sum(gaps)
