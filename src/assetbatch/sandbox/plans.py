"""The contents of a plan, and the provider's words for what it does not include."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from assetbatch.domain.market_hours import day_of, last_midnight, start_of_day, years_before
from assetbatch.domain.units import MINUTE_MS
from assetbatch.sandbox.listings import FREE_INDICES

NOT_ENTITLED = "You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing"
TODAY_NOT_YET = (
    "Attempted to request today's data before end of day. "
    "Please upgrade your plan at https://massive.com/pricing"
)
NO_TIMEFRAME = (
    "Your plan doesn't include this data timeframe. Please upgrade your plan at https://massive.com/pricing"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """The rights to one product of the provider: currencies, stocks or indices.

    `realtime` allows today's data, the snapshots, quotes and conversions. `history_years` is how far back
    bars go (None: all). `intraday` allows bars shorter than a day. `delay_ms` is how late its data are.
    `trades` and `quotes` allow those in snapshots of stocks. `opens_after_ms` is how long after New York's
    midnight the day before can be asked for where today's data cannot. `tickers` are the only ones in the
    plan (None: all).
    """

    realtime: bool = True
    history_years: int | None = None
    intraday: bool = True
    delay_ms: int = 0
    trades: bool = True
    quotes: bool = True
    opens_after_ms: int = 0
    tickers: frozenset[str] | None = None

    def has(self, ticker: str) -> bool:
        """Return whether a ticker of the product is in the plan."""
        return self.tickers is None or ticker in self.tickers

    def seen_ms(self, now_ms: int) -> int:
        """Return the moment up to which the plan shows data."""
        return now_ms - self.delay_ms if self.realtime else self.opened_ms(now_ms)

    def opened_ms(self, now_ms: int) -> int:
        """Return the New York midnight before which days can be asked for."""
        return last_midnight(now_ms - self.opens_after_ms)


@dataclass(frozen=True, slots=True)
class Plan(Product):
    """The rights of a key; what it has of `Product` are those to currencies.

    It allows `limit` requests in any `window_seconds` (None: unlimited). `kinds` are the provider's asset
    classes among the currencies in the plan. `stocks` and `indices` are the rights to those products (None:
    the key does not have the product).
    """

    name: str
    limit: int | None
    window_seconds: float = 60.0
    kinds: frozenset[str] = frozenset({"fx", "crypto"})
    stocks: Product | None = field(default_factory=Product)
    indices: Product | None = field(default_factory=Product)

    def product(self, kind: str) -> Product | None:
        """Return the rights to an asset class of the provider, or None if the key has none."""
        if kind == "stocks":
            return self.stocks
        if kind == "indices":
            return self.indices
        return self if kind in self.kinds else None


_FREE = Product(realtime=False, history_years=2, opens_after_ms=3 * MINUTE_MS)
_DELAYED = Product(delay_ms=15 * MINUTE_MS)
_CURRENCIES = {
    "basic": Plan("basic", limit=5, realtime=False, history_years=2),
    **{name: Plan(name, limit=None) for name in ("starter", "developer", "advanced", "business")},
}
_STOCKS = {
    "basic": _FREE,
    "starter": replace(_DELAYED, trades=False, quotes=False),
    "developer": replace(_DELAYED, quotes=False),
    "advanced": Product(),
    "business": Product(),
}
_INDICES = {
    "basic": replace(_FREE, tickers=FREE_INDICES),
    "starter": _DELAYED,
    "developer": _DELAYED,
    "advanced": Product(),
    "business": Product(),
}


def plan_of(currencies: str, stocks: str, indices: str) -> Plan:
    """Return the plan of a key that has a plan for each product, by their names.

    A product does not have each of the plans; then the name stands for the nearest, and `free` for basic. One
    free product limits the calls of the key.
    """
    names = tuple("basic" if name == "free" else name for name in (currencies, stocks, indices))
    currencies, stocks, indices = names
    return replace(
        _CURRENCIES[currencies],
        name="+".join(dict.fromkeys(names)),
        limit=_CURRENCIES["basic"].limit if "basic" in names else None,
        stocks=_STOCKS[stocks],
        indices=_INDICES[indices],
    )


PLANS = {name: plan_of(name, name, name) for name in _CURRENCIES}
"""The plans of a key that has the same one for all products, by name."""


def history_start(product: Product, now_ms: int) -> int | None:
    """Return the first moment of the plan's history, a New York midnight, or None if it has all history."""
    return None if product.history_years is None else years_before(now_ms, product.history_years)


def refuse_range(product: Product, now_ms: int, from_ms: int, to_ms: int, *, intraday: bool) -> str | None:
    """Return the provider's message if the plan does not include bars of `[from_ms, to_ms]`, else None."""
    oldest_ms = history_start(product, now_ms)
    if (intraday and not product.intraday) or (oldest_ms is not None and from_ms < oldest_ms):
        return NO_TIMEFRAME
    if not product.realtime:
        tomorrow_ms = start_of_day(day_of(now_ms) + timedelta(days=1))
        if to_ms >= tomorrow_ms:
            return NO_TIMEFRAME  # what users saw for dates in the future
        if to_ms >= product.opened_ms(now_ms):
            return TODAY_NOT_YET
    return None
