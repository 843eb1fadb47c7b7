"""Tells listeners over Redis Pub/Sub that a price has changed; called after the commit, never before."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from assetbatch.market import Price
from assetbatch.state.connection import RedisClient, redis_errors
from assetbatch.words import iso


def channel(symbol: str) -> str:
    """The channel of a symbol."""
    return f"asset:update:{symbol}"


def message(price: Price) -> str:
    """The JSON of an event; absent values are null, the timestamp is ISO 8601 in UTC."""
    return msgspec.json.encode(
        {
            "symbol": price.symbol,
            "bid": price.bid,
            "ask": price.ask,
            "last_price": price.last_price,
            "timestamp": iso(price.as_of_ms),
        }
    ).decode()


class Events:
    """Publishes in one round trip per batch; with `stream_maxlen` also to a capped stream.

    The stream (`{prefix}:events`, field `json`) is for listeners who were away.
    """

    def __init__(self, client: RedisClient, prefix: str, stream_maxlen: int | None) -> None:
        self._client = client
        self._stream = f"{prefix}:events"
        self._stream_maxlen = stream_maxlen

    def publish(self, prices: Sequence[Price]) -> None:
        """Raises RedisError where Redis cannot be reached; the rows are stored by then."""
        if not prices:
            return
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for price in prices:
                text = message(price)
                pipeline.publish(channel(price.symbol), text)
                if self._stream_maxlen:
                    pipeline.xadd(self._stream, {"json": text}, maxlen=self._stream_maxlen, approximate=True)
            pipeline.execute()
