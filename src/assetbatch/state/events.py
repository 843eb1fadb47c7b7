"""Publish changed prices over Redis Pub/Sub, after the commit and never before it.

Redis keeps the moment of each symbol's last published price. The next cycle publishes what a crash between
the commit and the publishing has left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from assetbatch.domain.formatting import iso
from assetbatch.domain.models import Price, StoredAsset
from assetbatch.state.connection import RedisClient
from assetbatch.state.scripts import Script, in_parts, packed

EVENTS_AT_ONCE = 500
"""Maximum number of events that one script publishes: it holds up the server meanwhile."""

MOMENTS_AT_ONCE = 2000
"""Maximum number of prices that one script compares with what was published last."""

CHANNELS = "asset:update:"
"""The beginning of each channel's name; the symbol follows."""


def channel(symbol: str) -> str:
    """Return the channel of a symbol."""
    return CHANNELS + symbol


class _Event(msgspec.Struct, gc=False):
    """What a listener hears; absent values are null, the timestamp is ISO 8601 in UTC."""

    symbol: str
    bid: float | None
    ask: float | None
    last_price: float
    timestamp: str


_ENCODER = msgspec.json.Encoder()


def message(price: Price) -> str:
    """Return the JSON of an event."""
    event = _Event(price.symbol, price.bid, price.ask, price.last_price, iso(price.as_of_ms))
    return _ENCODER.encode(event).decode()


class Events:
    """Publishes prices in a round trip per batch; with `stream_maxlen` also to a capped stream.

    The stream (`{prefix}:events`, field `json`) is for listeners that were away. The hash
    `{prefix}:published` holds the moment (ms) of each symbol's last published price.
    """

    def __init__(self, client: RedisClient, prefix: str, stream_maxlen: int | None) -> None:
        self._client = client
        self._stream = f"{prefix}:events"
        self._published = f"{prefix}:published"
        self._stream_maxlen = stream_maxlen
        self._publish = Script(client, "publish")
        self._unpublished = Script(client, "unpublished")

    def publish(self, prices: Sequence[Price]) -> None:
        """Publish prices whose rows are stored; raise RedisError where Redis cannot be reached."""
        for some in in_parts(prices, EVENTS_AT_ONCE):
            events: list[str] = []
            for price in some:
                events += [price.symbol, message(price), str(price.as_of_ms)]
            options = {"channels": CHANNELS, "stream_maxlen": self._stream_maxlen, "events": events}
            self._publish([self._published, self._stream], options=options)

    def publish_missed(self, stored: Iterable[StoredAsset]) -> list[Price]:
        """Publish the stored prices whose moment was never published, and return them; raise RedisError.

        A listener may hear the same price twice: a message whose sender died may have gone out or not.
        """
        priced = [asset for asset in stored if asset.as_of_ms is not None and asset.last_price is not None]
        missed: list[Price] = []
        for some in in_parts(priced, MOMENTS_AT_ONCE):
            moments = [part for asset in some for part in (asset.symbol, asset.as_of_ms)]
            places = self._unpublished([self._published], packed(moments))
            missed += [_price(some[place - 1]) for place in places]
        if missed:
            self.publish(missed)
        return missed


def _price(stored: StoredAsset) -> Price:
    """Return a stored price as a listener is to hear it."""
    return Price(
        symbol=stored.symbol,
        last_price=stored.last_price or 0.0,
        as_of_ms=stored.as_of_ms or 0,
        bid=stored.bid,
        ask=stored.ask,
    )
