"""The names of all keys in Redis; docs/redis-keys.md says what each holds.

They share one hash tag, so that every script is legal on Redis Cluster. What belongs to an API key (window,
restrictions of the plan) carries a fingerprint of it, because the provider's limit belongs to the key:
installations with other prefixes share it.
"""

from __future__ import annotations

import hashlib
import re

from assetbatch.secret import Secret

SHARED_PREFIX = "{assetbatch}"
"""Where the window of an API key lies, whatever the prefix of an installation."""


def fingerprint(api_key: Secret) -> str:
    """Return twelve hex digits that tell API keys apart without giving them away."""
    return hashlib.blake2b(api_key.reveal().encode(), digest_size=6, person=b"assetbatch").hexdigest()


def window_name(shared_by: str) -> str:
    """Return the name of a window that several API keys share; no fingerprint is like it."""
    return f"name:{shared_by}"


def shared_prefix(prefix: str, *, cluster: bool) -> str:
    """Return the prefix of what all installations with one API key share.

    On a cluster that is the hash tag of `prefix`: one script must find all its keys in one slot.
    """
    tag = re.search(r"\{[^}]+\}", prefix)
    return tag[0] if cluster and tag else SHARED_PREFIX


def _in_keys(command: str) -> str:
    """Return a command as keys spell it, in every version: during an upgrade two share the locks."""
    return command.replace("-", "_")


class Keys:
    """Key names below a prefix such as `{assetbatch}`; an API key's below `shared` (default: the same)."""

    def __init__(self, prefix: str, shared: str = "") -> None:
        self.prefix = prefix
        self._shared = shared or prefix
        self.queue_items = f"{prefix}:queue:items"
        lanes = ("critical", "high", "medium", "low", "bars", "history")
        self.queue_waiting = tuple(f"{prefix}:queue:{name}" for name in lanes)
        self.queue_leased = f"{prefix}:queue:leased"
        self.queue_delayed = f"{prefix}:queue:delayed"
        self.queue_dead = f"{prefix}:queue:dead"
        self.queue_dead_items = f"{prefix}:queue:dead_items"
        self.queue_errors = f"{prefix}:queue:errors"
        self.queue_stamp = f"{prefix}:queue:stamp"
        self.queue_told = f"{prefix}:queue:told"
        self.spare = f"{prefix}:spare"

    @property
    def queue(self) -> list[str]:
        """The twelve keys that every script of the queue names first, in their order."""
        return [
            self.queue_items,
            *self.queue_waiting,
            self.queue_leased,
            self.queue_delayed,
            self.queue_dead,
            self.queue_dead_items,
            self.queue_errors,
        ]

    def queue_reply(self, token: str) -> str:
        """Return the key of what a take answered, kept for a minute."""
        return f"{self.prefix}:queue:reply:{token}"

    def window(self, name: str) -> list[str]:
        """Return the keys of a window, in the order of the scripts; `lua/_window.lua` describes them.

        Seven; two more where an earlier version kept a window below the prefix.
        """
        parts = ("blocked", "reservation", "waiters", "waiters_until", "log_owner", "last_grant")
        base = f"{self._shared}:window:{name}"
        keys = [base, *(f"{base}:{part}" for part in parts)]
        if self.has_former:
            former = f"{self.prefix}:window:{name}"
            keys += [former, f"{former}:blocked"]
        return keys

    @property
    def has_former(self) -> bool:
        """Whether earlier versions kept what belongs to an API key elsewhere: below the prefix."""
        return self.prefix != self._shared

    def refusals(self, plan: str, *, former: bool = False) -> str:
        """Return the key of what a plan (fingerprint of the API key, tier) does not include.

        `former`: the key of earlier versions.
        """
        return f"{self.prefix if former else self._shared}:refusals:{plan}"

    def sightings(self, plan: str, *, former: bool = False) -> str:
        """Return the key of what a plan has shown, by asset class; `former`: the key of earlier versions."""
        return f"{self.prefix if former else self._shared}:sightings:{plan}"

    def page_lengths(self, plan: str) -> str:
        """Return the key of how long a page of bars may be, by market or ticker."""
        return f"{self._shared}:page_lengths:{plan}"

    def references(self, plan: str) -> str:
        """Return the key of when reference data were last asked for, by name."""
        return f"{self.prefix}:references:{plan}"

    @property
    def special_days(self) -> str:
        """The days of the stock exchange that the provider lists."""
        return f"{self.prefix}:special_days"

    def lock(self, command: str) -> str:
        """Return the key of the places of those that run a command."""
        return f"{self.prefix}:lock:{_in_keys(command)}"

    def job(self, command: str) -> str:
        """Return the key of when a command last started and ended, and how."""
        return f"{self.prefix}:job:{_in_keys(command)}"

    def cycles(self, command: str) -> str:
        """Return the key of the last cycles of a command, newest first."""
        return f"{self.prefix}:cycles:{_in_keys(command)}"

    @property
    def queue_owner(self) -> str:
        """The server on which the queue was last known to be whole."""
        return f"{self.prefix}:queue:owner"

    def queue_mark(self, token: str) -> str:
        """Return the key of the server on which the queue began to be derived again."""
        return f"{self.prefix}:queue:mark:{token}"

    @property
    def call_ms(self) -> str:
        """How long the last calls took, in ms, the latest first."""
        return f"{self.prefix}:call_ms"

    @property
    def answered(self) -> str:
        """When the provider last answered anybody, in ms."""
        return f"{self.prefix}:answered"

    @property
    def finer(self) -> str:
        """The symbols whose past was wanted once more in smaller bars, within the last day."""
        return f"{self.prefix}:finer"

    @property
    def waits(self) -> str:
        """The moments of the last hour at which a call had to wait for the window."""
        return f"{self.prefix}:waits"

    @property
    def counters(self) -> str:
        """What is counted for monitors."""
        return f"{self.prefix}:counters"

    def series(self, metric: str) -> str:
        """Return the key of the last 24 hours of a metric."""
        return f"{self.prefix}:series:{metric}"
