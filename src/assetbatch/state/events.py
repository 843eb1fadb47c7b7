"""Tells listeners over Redis Pub/Sub that a price has changed; called after the commit, never before.

What was published last is known by its moment, so that the next cycle makes good what a crash between the
commit and the publishing has left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from assetbatch.domain.formatting import iso
from assetbatch.domain.models import Price, StoredAsset
from assetbatch.state.connection import RedisClient, redis_errors, script

EVENTS_AT_ONCE = 500
"""So many events one script may hold up the server for."""

MOMENTS_AT_ONCE = 2000
"""Of so many prices one script looks up what was published last."""

CHANNELS = "asset:update:"
"""The beginning of each channel's name; the symbol follows."""


def channel(symbol: str) -> str:
    """The channel of a symbol."""
    return CHANNELS + symbol


class _Event(msgspec.Struct):
    """What a listener hears; absent values are null, the timestamp is ISO 8601 in UTC."""

    symbol: str
    bid: float | None
    ask: float | None
    last_price: float
    timestamp: str


_ENCODER = msgspec.json.Encoder()


def message(price: Price) -> str:
    """The JSON of an event."""
    event = _Event(price.symbol, price.bid, price.ask, price.last_price, iso(price.as_of_ms))
    return _ENCODER.encode(event).decode()


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
        self._unpublished = script(client, "unpublished")

    def publish(self, prices: Sequence[Price]) -> None:
        """Raises RedisError where Redis cannot be reached; the rows are stored by then."""
        for at in range(0, len(prices), EVENTS_AT_ONCE):
            news: list[str] = []
            for price in prices[at : at + EVENTS_AT_ONCE]:
                news += [price.symbol, message(price), str(price.as_of_ms)]
            args = [self._stream_maxlen or "", CHANNELS, _ENCODER.encode(news)]
            with redis_errors():
                self._publish(keys=[self._published, self._stream], args=args)

    def make_good(self, stored: Iterable[StoredAsset]) -> list[Price]:
        """Publishes the stored prices whose moment was never published, and returns them.

        Nobody can know whether a message that was lost with its sender had gone out: a listener may hear
        the same price twice. Raises RedisError.
        """
        priced = [asset for asset in stored if asset.as_of_ms is not None and asset.last_price is not None]
        missed: list[Price] = []
        for at in range(0, len(priced), MOMENTS_AT_ONCE):
            some = priced[at : at + MOMENTS_AT_ONCE]
            moments = [part for asset in some for part in (asset.symbol, asset.as_of_ms)]
            with redis_errors():
                places = self._unpublished(keys=[self._published], args=[_ENCODER.encode(moments)])
            missed += [_price(some[place - 1]) for place in places]
        if missed:
            self.publish(missed)
        return missed


def _price(stored: StoredAsset) -> Price:
    """What is stored, as a listener is to hear it."""
    return Price(
        symbol=stored.symbol,
        last_price=stored.last_price or 0.0,
        as_of_ms=stored.as_of_ms or 0,
        bid=stored.bid,
        ask=stored.ask,
    )
