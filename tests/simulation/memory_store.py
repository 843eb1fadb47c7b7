"""A store in memory for simulations of months: what PostgreSQL keeps and compares, by the same decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from assetbatch.domain.coverage import record as recorded
from assetbatch.domain.models import (
    BAR_MS,
    Bar,
    Changes,
    Comparison,
    CoveredInterval,
    Look,
    Price,
    Saved,
    StoredAsset,
)
from assetbatch.domain.status import Status
from assetbatch.domain.verification import RECENT_MS, Tally, Verified, record, sampled, to_doubt


class MemoryStore:
    """The methods of `Store` that the run commands call, for registered symbols with bars of one length."""

    def __init__(self, symbols: Iterable[str], bar_ms: int) -> None:
        self._bar_ms = bar_ms
        self._assets = {symbol: StoredAsset(symbol=symbol) for symbol in symbols}
        self.bars: dict[str, dict[int, Bar]] = {symbol: {} for symbol in self._assets}
        self._rows: dict[str, list[Verified]] = {}
        self._asked_again_ms: dict[str, int] = {}

    def require_writes(self) -> None:
        """It takes them."""

    def record_call(self) -> None:
        """Nobody asks."""

    def first_call(self, trust: Callable[[], object]) -> bool:
        trust()
        return True

    def load(self, symbols: Iterable[str]) -> dict[str, StoredAsset]:
        return {symbol: self._assets[symbol] for symbol in symbols}

    def verified(self, symbols: Iterable[str]) -> Mapping[str, tuple[Verified, ...]]:
        return {symbol: tuple(self._rows[symbol]) for symbol in symbols if symbol in self._rows}

    def tallies(self, symbols: Iterable[str], now_ms: int) -> dict[str, Tally]:
        return {symbol: self._tally(symbol, now_ms) for symbol in symbols if symbol in self._rows}

    def _tally(self, symbol: str, now_ms: int) -> Tally:
        rows, since_ms = self._rows[symbol], self._asked_again_ms.get(symbol)
        compared, differed = sampled(rows, since_ms)
        recent = [row for row in rows if (row.verified_ms or 0) > now_ms - RECENT_MS]
        return Tally(
            verified_ms=sum(row.end_ms - row.start_ms for row in recent),
            changed=sum(row.changed for row in rows),
            appeared=sum(row.appeared for row in rows),
            vanished=sum(row.vanished for row in rows),
            largest=max(row.largest for row in rows),
            compared=compared,
            differed=differed,
            asked_again_ms=since_ms,
        )

    def save(self, batch: Changes, now_ms: int) -> Saved:
        compared: dict[str, Comparison] = {}
        doubted = []
        for symbol in batch.symbols:
            came = {bar.t_ms: bar for bar in batch.bars.get(symbol, ())}
            news = list(batch.coverage.get(symbol, ()))
            if looks := batch.looks.get(symbol):
                rows = self._rows.get(symbol, [])
                for look in looks:
                    found = self._compared(symbol, came, look) if look.usable else Comparison()
                    compared[symbol] = compared.get(symbol, Comparison()) + found
                    rows = record(rows, look, found)
                self._rows[symbol] = rows
                again = self._doubts(symbol, recorded(self._assets[symbol].coverage, news), now_ms)
                if again and not all(look.insisted for look in looks):
                    self._asked_again_ms[symbol] = now_ms
                    doubted.append(symbol)
                    news += again
            self.bars[symbol] |= came
            self._take(symbol, news)
        updated = [price for price in batch.prices if self._is_newer(price)]
        for price in updated:
            self._change(
                price.symbol,
                last_price=price.last_price,
                as_of_ms=price.as_of_ms,
                fetched_to_ms=price.as_of_ms,
            )
        for outcome in batch.outcomes:
            self._change(outcome.symbol, sync_status=outcome.status, status_at_ms=now_ms)
            if outcome.status is Status.SUCCESS:
                self._change(outcome.symbol, last_sync_ms=now_ms)
        return Saved(updated=updated, unknown=[], compared=compared, doubted=doubted)

    def _doubts(self, symbol: str, coverage: list[CoveredInterval], now_ms: int) -> list[CoveredInterval]:
        return to_doubt(coverage, self._rows[symbol], self._asked_again_ms.get(symbol), now_ms)

    def _take(self, symbol: str, news: list[CoveredInterval]) -> None:
        coverage = tuple(recorded(self._assets[symbol].coverage, news))
        self._change(symbol, coverage=coverage, last_bar_ms=max(self.bars[symbol], default=None))

    def _is_newer(self, price: Price) -> bool:
        before = self._assets[price.symbol].as_of_ms
        return before is None or price.as_of_ms > before

    def _change(self, symbol: str, **values: object) -> None:
        self._assets[symbol] = msgspec.structs.replace(self._assets[symbol], **values)

    def _compared(self, symbol: str, came: Mapping[int, Bar], look: Look) -> Comparison:
        stored = self.bars[symbol]
        starts = range(-(-look.start_ms // self._bar_ms) * self._bar_ms, look.end_ms, self._bar_ms)
        both = [t_ms for t_ms in starts if t_ms in came and t_ms in stored]
        changed = [t_ms for t_ms in both if came[t_ms] != stored[t_ms]]
        either = [t_ms for t_ms in starts if t_ms in came or t_ms in stored]
        return Comparison(
            compared=len(either),
            changed=len(changed),
            appeared=sum(t_ms not in stored for t_ms in either),
            vanished=sum(t_ms not in came for t_ms in either),
            largest=max((abs(came[t_ms].close / stored[t_ms].close - 1) for t_ms in changed), default=0.0),
            slots=len({t_ms // BAR_MS for t_ms in either}),
        )
