"""What the plan of an API key shows and lacks: learned once, remembered by all, asked again after a while."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from assetbatch.domain.entitlements import KnownRestriction, Observation
from assetbatch.domain.units import DAY_MS
from assetbatch.state.connection import RedisClient, redis_errors
from assetbatch.state.keys import Keys

_KEPT_MS = 40 * DAY_MS


class Remembered(NamedTuple):
    """All that is remembered, expired or not: who plans decides by the time."""

    refusals: list[KnownRestriction]
    sightings: list[Observation]


class EntitlementStore:
    """The memory of one plan, a field per lack or sighting and asset class; all methods raise RedisError
    when Redis cannot be asked."""

    def __init__(self, client: RedisClient, keys: Keys, plan: str) -> None:
        self._client = client
        self._former: dict[str, str] = {}
        """Keys of earlier versions, and where what they hold belongs."""
        if keys.has_former:
            for name in (keys.refusals, keys.sightings):
                self._former[name(plan, former=True)] = name(plan)
        self._refusals = keys.refusals(plan)
        self._sightings = keys.sightings(plan)

    def load(self) -> Remembered:
        """Reads everything, in one round trip; moves what an earlier version has learned."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for key in self._former:
                pipeline.hgetall(key)
            pipeline.hvals(self._refusals)
            pipeline.hvals(self._sightings)
            *former, refusals, sightings = pipeline.execute()
            if any(former):
                self._move(former)
                return self.load()
        return Remembered(
            [msgspec.json.decode(text, type=KnownRestriction) for text in refusals],
            [msgspec.json.decode(text, type=Observation) for text in sightings],
        )

    def remember(self, known: KnownRestriction | Observation) -> None:
        """Replaces what was known about this lack, or shown, of this asset class."""
        if isinstance(known, KnownRestriction):
            key, field = self._refusals, f"{known.lack.value}|{known.asset_type.value}"
        else:
            key, field = self._sightings, known.asset_type.value
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hset(key, field, msgspec.json.encode(known).decode())
            pipeline.pexpire(key, _KEPT_MS)
            pipeline.execute()

    def _move(self, former: list[dict[str, str]]) -> None:
        pipeline = self._client.pipeline(transaction=True)
        for (old, key), fields in zip(self._former.items(), former, strict=True):
            for field, text in fields.items():
                pipeline.hsetnx(key, field, text)  # what was learned since is newer
            pipeline.pexpire(key, _KEPT_MS)
            pipeline.delete(old)
        pipeline.execute()
