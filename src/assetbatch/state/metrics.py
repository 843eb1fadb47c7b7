"""The series of the last 24 hours and the counters, shared by all processes."""

from __future__ import annotations

from collections.abc import Sequence

from assetbatch.domain.metrics import Measured, Series, step_ms
from assetbatch.domain.units import DAY_MS
from assetbatch.state.connection import RedisClient, redis_errors, script
from assetbatch.state.keys import Keys


class Metrics:
    """Keeps what cycles have measured; all methods raise RedisError when Redis cannot be asked."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._record = script(client, "record")

    def record(self, measured: Measured) -> None:
        """Adds what a cycle has measured, in one round trip."""
        metrics = {metric: at for at, metric in enumerate(dict.fromkeys(p.metric for p in measured.points))}
        args: list[str | int | float] = [len(measured.counters)]
        for name, count in measured.counters.items():
            args += [name, count]
        for point in measured.points:
            step = step_ms(point.metric)
            args += [1 + metrics[point.metric], step, DAY_MS // step]
            args += [point.at_ms, point.value, point.how]
        keys = [self._keys.counters, *(self._keys.series(metric) for metric in metrics)]
        with redis_errors():
            self._record(keys=keys, args=args)

    def counters(self) -> dict[str, int]:
        """All counters by name; they only grow, and begin at 0 where Redis lost them."""
        with redis_errors():
            fields = self._client.hgetall(self._keys.counters)
        return {name: int(count) for name, count in fields.items()}

    def series(self, metrics: Sequence[str], now_ms: int) -> dict[str, Series]:
        """The last 24 hours of these metrics, in one round trip; empty where nothing was measured."""
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
