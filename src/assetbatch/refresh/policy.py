"""How a batch spends calls: one policy for the priority assets, one for the queue, and two for
stored bars that are verified."""

from __future__ import annotations

import msgspec

from assetbatch.domain.queueing import CallKind


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between the cycle of the priority assets and the run of the queue."""

    kind: CallKind
    """Which slots of the window its calls may use."""
    one_call_each: bool
    """Make at most one call for each piece of work, the first call of each before any second one. Work whose
    call has shown a restriction of the plan waits for the next cycle."""
    probes_today: bool
    """Ask for the running day if nobody knows whether the plan shows it. A refusal costs a call."""
    flushes_between_calls: bool
    """Store between two calls if much is unsaved, and not only before a wait and at the end."""
    waits: bool = True
    """Wait for a slot that is not free."""

    def max_calls(self, work_count: int) -> int:
        """Return the maximum number of calls for this much work. Two for each leave room to learn the
        plan."""
        return work_count if self.one_call_each else 2 * work_count + 2


PRIORITY = Policy(kind=CallKind.PRIORITY, one_call_each=True, probes_today=False, flushes_between_calls=False)

QUEUE = Policy(kind=CallKind.QUEUE, one_call_each=False, probes_today=True, flushes_between_calls=True)

VERIFY = Policy(kind=CallKind.QUEUE, one_call_each=False, probes_today=False, flushes_between_calls=True)
"""Stored bars are asked for again."""

SPARE = Policy(
    kind=CallKind.QUEUE, one_call_each=False, probes_today=False, flushes_between_calls=True, waits=False
)
"""The same with slots that nobody else wants."""
