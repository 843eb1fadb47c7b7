"""When reference data were last asked for, and the days of the stock exchange that the provider lists."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from assetbatch.domain.nyse import SpecialDay, SpecialDays
from assetbatch.domain.references import Asked
from assetbatch.domain.units import DAY_MS
from assetbatch.state.connection import RedisClient, redis_errors
from assetbatch.state.keys import Keys

KEPT_MS = 40 * DAY_MS
"""How long it is remembered what was asked, after the last call."""

_DAYS = msgspec.json.Decoder(dict[str, SpecialDay])


def decode_special_days(text: str | None) -> SpecialDays:
    """Return the listed days of the exchange as `ReferenceStore.keep_special_days` has written them."""
    from datetime import date

    return {date.fromisoformat(day): special for day, special in _DAYS.decode(text or "{}").items()}


class ReferenceStore:
    """What one plan was asked for, by name, for all processes of an installation. All methods raise
    RedisError when Redis cannot be asked."""

    def __init__(self, client: RedisClient, keys: Keys, plan: str) -> None:
        self._client = client
        self._asked = keys.references(plan)
        self._special_days = keys.special_days

    def load(self) -> dict[str, Asked]:
        """Return when each was last asked for."""
        with redis_errors():
            found = self._client.hgetall(self._asked)
        return {name: msgspec.json.decode(text, type=Asked) for name, text in found.items()}

    def remember(self, name: str, asked: Asked) -> None:
        """Replace what was remembered of the last call for it."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hset(self._asked, name, msgspec.json.encode(asked).decode())
            pipeline.pexpire(self._asked, KEPT_MS)
            pipeline.execute()

    def forget(self, names: Collection[str]) -> None:
        """Remember these no longer: the names of a market change, and the hash lives on."""
        if names:
            with redis_errors():
                self._client.hdel(self._asked, *names)

    def special_days(self) -> SpecialDays:
        """Return the listed days of the exchange."""
        with redis_errors():
            return decode_special_days(self._client.get(self._special_days))

    def keep_special_days(self, days: SpecialDays) -> None:
        """Replace the listed days of the exchange."""
        text = msgspec.json.encode({day.isoformat(): special for day, special in days.items()})
        with redis_errors():
            self._client.set(self._special_days, text.decode())
