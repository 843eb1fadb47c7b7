"""What the plan of an API key does not include: asked once, remembered by all, asked again after a while."""

from __future__ import annotations

import msgspec

from assetbatch.entitlements import KnownRefusal
from assetbatch.state.connection import RedisClient, redis_errors
from assetbatch.state.keys import Keys

_KEPT_MS = 40 * 86_400_000


class Refusals:
    """The memory of refusals of one API key; all methods raise RedisError when Redis cannot be asked."""

    def __init__(self, client: RedisClient, keys: Keys, key_fingerprint: str) -> None:
        self._client = client
        self._key = keys.refusals(key_fingerprint)

    def load(self) -> list[KnownRefusal]:
        """All that is remembered, expired or not: who plans decides by the time."""
        with redis_errors():
            fields = self._client.hgetall(self._key)
        return [msgspec.json.decode(text, type=KnownRefusal) for text in fields.values()]

    def remember(self, refusal: KnownRefusal) -> None:
        """Replaces what was known about this lack of this asset class."""
        with redis_errors():
            field = f"{refusal.lack.value}|{refusal.asset_type.value}"
            self._client.hset(self._key, field, msgspec.json.encode(refusal).decode())
            self._client.pexpire(self._key, _KEPT_MS)
