"""Tells listeners over Redis Pub/Sub that a price has changed; called after the commit, never before.

What was published last is known by its moment, so that the next cycle makes good what a crash between the
commit and the publishing has left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from assetbatch.market import Price, StoredAsset
from assetbatch.state.connection import RedisClient, redis_errors, script
from assetbatch.words import iso

EVENTS_AT_ONCE = 500
"""So many events one script may hold up the server for."""


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
    """Publishes in a round trip per batch (of 500); with `stream_maxlen` also to a capped stream.

    The stream (`{prefix}:events`, field `json`) is for listeners who were away. The hash
    `{prefix}:published` holds the moment (ms) of each symbol's last published price.
    """

    def __init__(self, client: RedisClient, prefix: str, stream_maxlen: int | None) -> None:
        self._client = client
        self._stream = f"{prefix}:events"
        self._published = f"{prefix}:published"
        self._stream_maxlen = stream_maxlen
        self._publish = script(client, "publish")

    def publish(self, prices: Sequence[Price]) -> None:
        """Raises RedisError where Redis cannot be reached; the rows are stored by then."""
        for at in range(0, len(prices), EVENTS_AT_ONCE):
            args: list[str | int] = [self._stream_maxlen or ""]
            for price in prices[at : at + EVENTS_AT_ONCE]:
                args += [channel(price.symbol), message(price), price.symbol, price.as_of_ms]
            with redis_errors():
                self._publish(keys=[self._published, self._stream], args=args)

    def make_good(self, stored: Iterable[StoredAsset]) -> list[Price]:
        """Publishes the stored prices whose moment was never published, and returns them.

        Nobody can know whether a message that was lost with its sender had gone out: a listener may hear
        the same price twice. Raises RedisError.
        """
        priced = [asset for asset in stored if asset.as_of_ms is not None and asset.last_price is not None]
        if not priced:
            return []
        with redis_errors():
            moments = self._client.hmget(self._published, [asset.symbol for asset in priced])
        missed = [
            Price(
                symbol=asset.symbol,
                last_price=asset.last_price or 0.0,
                as_of_ms=asset.as_of_ms or 0,
                bid=asset.bid,
                ask=asset.ask,
            )
            for asset, published in zip(priced, moments, strict=True)
            if published is None or int(published) < (asset.as_of_ms or 0)
        ]
        self.publish(missed)
        return missed
