"""The series of the last 24 hours and the counters, shared by all processes."""

from __future__ import annotations

from collections.abc import Sequence

from assetbatch.domain.metrics import Measured, Series, step_ms
from assetbatch.domain.units import DAY_MS
from assetbatch.state.connection import RedisClient, redis_errors
from assetbatch.state.keys import Keys
from assetbatch.state.scripts import Script


class Metrics:
    """Keeps what cycles have measured; all methods raise RedisError when Redis cannot be asked."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._record = Script(client, "record")

    def record(self, measured: Measured) -> None:
        """Add what a cycle has measured, in one round trip."""
        keys = [self._keys.counters]
        index = {}
        for metric in dict.fromkeys(point.metric for point in measured.points):
            keys.append(self._keys.series(metric))
            index[metric] = len(keys)
        points = []
        for point in measured.points:
            step = step_ms(point.metric)
            points.append(
                (index[point.metric], step, DAY_MS // step, point.at_ms, float(point.value), point.how)
            )
        counters = [part for item in measured.counters.items() for part in item]
        self._record(keys, options={"counters": counters, "points": points})

    def counters(self) -> dict[str, int]:
        """Return all counters by name; they only grow, and begin at 0 where Redis lost them."""
        with redis_errors():
            fields = self._client.hgetall(self._keys.counters)
        return {name: int(count) for name, count in fields.items()}

    def series(self, metrics: Sequence[str], now_ms: int) -> dict[str, Series]:
        """Return the last 24 hours of these metrics, in one round trip; empty where nothing was measured."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for metric in metrics:
                pipeline.hvals(self._keys.series(metric))
            replies = pipeline.execute()
        found = {}
        for metric, values in zip(metrics, replies, strict=True):
            points = [(int(start), float(value)) for start, value in (text.split(":", 1) for text in values)]
            recent = sorted(point for point in points if now_ms - DAY_MS < point[0] <= now_ms)
            found[metric] = Series(metric, step_ms(metric), recent)
        return found
