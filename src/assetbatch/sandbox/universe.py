"""The instruments of the simulated provider, and its currency pairs: common ones, and made-up ones on demand.

The stocks and indices are in `listings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from assetbatch.domain.asset_classes import Market

if TYPE_CHECKING:
    from assetbatch.sandbox.listings import Listing

CURRENCY_NAMES = {
    "AUD": "Australian dollar",
    "CAD": "Canadian dollar",
    "CHF": "Swiss franc",
    "CNH": "Chinese yuan offshore",
    "CZK": "Czech koruna",
    "DKK": "Danish krone",
    "EUR": "Euro",
    "GBP": "British pound",
    "HKD": "Hong Kong dollar",
    "HUF": "Hungarian forint",
    "INR": "Indian rupee",
    "JPY": "Japanese yen",
    "MXN": "Mexican peso",
    "NOK": "Norwegian krone",
    "NZD": "New Zealand dollar",
    "PLN": "Polish zloty",
    "SEK": "Swedish krona",
    "SGD": "Singapore dollar",
    "TRY": "Turkish lira",
    "USD": "United States dollar",
    "XAG": "Silver (one troy ounce)",
    "XAU": "Gold (one troy ounce)",
    "XPD": "Palladium (one troy ounce)",
    "XPT": "Platinum (one troy ounce)",
    "ZAR": "South African rand",
    "AAVE": "Aave",
    "ADA": "Cardano",
    "ALGO": "Algorand",
    "ATOM": "Cosmos",
    "AVAX": "Avalanche",
    "BCH": "Bitcoin Cash",
    "BTC": "Bitcoin",
    "DOGE": "Dogecoin",
    "DOT": "Polkadot",
    "ETC": "Ethereum Classic",
    "ETH": "Ethereum",
    "FIL": "Filecoin",
    "LINK": "Chainlink",
    "LTC": "Litecoin",
    "NEAR": "Near",
    "SHIB": "Shiba Inu",
    "SOL": "Solana",
    "TRX": "Tron",
    "UNI": "Uniswap",
    "USDC": "USD Coin",
    "USDT": "Tether",
    "XLM": "Stellar",
    "XMR": "Monero",
    "XRP": "Ripple",
}


# A line a pair: symbol, price level, digits, quotes an hour. The levels are about those of 2024.
# HKDCHF and DKKAUD are so quiet that minutes without a quote occur.
_FOREX = """
EURUSD 1.085 5 7200
GBPUSD 1.27 5 7000
USDJPY 150 3 7400
USDCHF 0.885 5 5200
AUDUSD 0.66 5 5600
NZDUSD 0.605 5 5000
USDCAD 1.36 5 5600
EURGBP 0.855 5 5000
EURJPY 162.5 3 6400
GBPJPY 190.5 3 6600
EURCHF 0.96 5 4600
EURAUD 1.645 5 5200
EURCAD 1.475 5 4800
EURNZD 1.79 5 4800
GBPCHF 1.125 5 4800
GBPAUD 1.925 5 5200
GBPCAD 1.725 5 5000
GBPNZD 2.1 5 4800
AUDJPY 99 3 5600
AUDNZD 1.09 5 4200
AUDCAD 0.898 5 4400
AUDCHF 0.584 5 4000
CADJPY 110.3 3 5000
CHFJPY 169.5 3 4800
NZDJPY 90.8 3 4800
NZDCAD 0.823 5 4000
USDSEK 10.45 5 4000
USDNOK 10.65 5 4000
USDDKK 6.87 5 3600
USDPLN 3.96 5 3600
USDHUF 362 3 3600
USDCZK 23.2 4 3600
USDTRY 32.2 5 3600
USDZAR 18.7 5 4200
USDMXN 17.1 5 4200
USDSGD 1.345 5 3800
USDHKD 7.82 5 3600
USDCNH 7.24 5 3800
USDINR 83.3 4 3600
EURSEK 11.35 5 3800
EURNOK 11.55 5 3800
EURPLN 4.3 5 3600
HKDCHF 0.1132 7 90
DKKAUD 0.221 5 40
XAUUSD 2350 2 7600
XAGUSD 28.5 4 6400
XPTUSD 960 2 4200
XPDUSD 980 2 4000
XAUEUR 2165 2 5000
"""
# A line a pair: base, quote, price level, digits, trades an hour, base units traded an hour.
_CRYPTO = """
BTC USD 67000 2 9000 420
ETH USD 3400 2 8000 4500
SOL USD 150 2 7000 60000
XRP USD 0.54 5 6000 4000000
ADA USD 0.45 5 5000 2000000
DOGE USD 0.145 6 6000 20000000
LTC USD 84 2 4000 9000
BCH USD 460 2 3600 1500
LINK USD 15.5 3 4000 50000
DOT USD 7.1 4 3600 60000
AVAX USD 36 3 4200 50000
UNI USD 8.5 4 3600 40000
ATOM USD 8.4 4 3600 30000
XLM USD 0.108 6 3600 2000000
ETC USD 27.5 3 3600 15000
FIL USD 5.9 4 3600 40000
TRX USD 0.121 6 3600 1000000
NEAR USD 6.8 4 3600 90000
ALGO USD 0.185 5 3600 900000
AAVE USD 92 2 3600 3000
SHIB USD 0.0000245 9 4000 10000000000
XMR USD 135 2 3600 900
USDC USD 1 5 3600 2000000
USDT USD 1.0001 5 4000 3000000
BTC EUR 61800 2 5000 90
ETH EUR 3130 2 4600 900
BTC GBP 52800 2 4000 30
ETH BTC 0.0507 6 4000 500
"""
CRYPTO_BASES = frozenset(line.split()[0] for line in _CRYPTO.strip().splitlines())
METALS = frozenset({"XAU", "XAG", "XPT", "XPD"})
_PEGGED = frozenset({"USDHKD", "USDDKK", "USDCUSD", "USDTUSD"})


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """What has a ticker, as the provider knows it; compared by identity, which makes it a fast cache key.

    `level` is the price it moves around, `digits` the decimals of a price, `daily_move` the usual
    relative move of a day, `activity` the quotes (forex) or trades of an hour,
    `hourly_volume` the base units or shares traded in an hour (forex counts quotes), `spread_ticks`
    the distance of bid and ask in units of the last digit. Stocks and indices have a `listing`.
    """

    ticker: str
    base: str
    quote: str
    market: Market
    level: float
    digits: int
    daily_move: float
    activity: float
    hourly_volume: float
    spread_ticks: int
    listing: Listing | None = None

    @property
    def kind(self) -> str:
        """The provider's word for the asset class: `fx` (metals too), `crypto`, `stocks` or `indices`."""
        return kind_of(self.market)

    @property
    def name(self) -> str:
        """The name as `/v3/snapshot` gives it; of a pair base and quote currency, spelled out."""
        if self.listing:
            return self.listing.name
        return f"{CURRENCY_NAMES.get(self.base, self.base)} - {CURRENCY_NAMES.get(self.quote, self.quote)}"


def kind_of(market: Market) -> str:
    """Return the provider's asset class of a market."""
    kinds = {Market.CRYPTO: "crypto", Market.STOCK: "stocks", Market.INDEX: "indices"}
    return kinds.get(market, "fx")


def split_symbol(symbol: str) -> tuple[str, str, Market]:
    """Return base, quote and market of a symbol such as `XAUUSD` or `BTCUSDT`.

    Crypto is known by its bases.
    """
    for base in sorted(CRYPTO_BASES, key=len, reverse=True):
        if symbol.startswith(base) and len(symbol) > len(base):
            return base, symbol[len(base) :], Market.CRYPTO
    base, quote = symbol[:3], symbol[3:]
    return base, quote, Market.METAL if base in METALS else Market.FOREX


def _forex(symbol: str, level: float, digits: int, activity: int) -> Instrument:
    base, quote = symbol[:3], symbol[3:]
    metal = base in METALS
    move = 0.0002 if symbol in _PEGGED else 0.008 if metal else 0.004
    return Instrument(
        ticker=f"C:{symbol}",
        base=base,
        quote=quote,
        market=Market.METAL if metal else Market.FOREX,
        level=level,
        digits=digits,
        daily_move=move,
        activity=activity,
        hourly_volume=0.0,
        spread_ticks=max(2, round(level * 10**digits * 0.0001)),
    )


def _crypto(base: str, quote: str, level: float, digits: int, activity: int, volume: float) -> Instrument:
    move = 0.0002 if base + quote in _PEGGED else 0.02
    return Instrument(
        ticker=f"X:{base}{quote}",
        base=base,
        quote=quote,
        market=Market.CRYPTO,
        level=level,
        digits=digits,
        daily_move=move,
        activity=activity,
        hourly_volume=volume,
        spread_ticks=max(1, round(level * 10**digits * 0.0002)),
    )


def letters(number: int, length: int) -> str:
    """Return the `number`-th text of so many capital letters."""
    letters = ""
    for _ in range(length):
        number, digit = divmod(number, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


@lru_cache(maxsize=16_384)
def _made_up(index: int) -> Instrument:
    """Return the `index`-th made-up pair: even ones forex (`C:AAAUSD`), odd ones crypto (`X:AAAAUSD`)."""
    crypto = bool(index % 2)
    code = letters(index // 2, 4 if crypto else 3)
    noise = blake2b(code.encode(), digest_size=2).digest()
    level = 0.05 * 10 ** (noise[0] / 64) * (1 + noise[1] / 256)
    digits = 6 if level < 1 else 5 if level < 10 else 4 if level < 100 else 3
    if crypto:
        return _crypto(code, "USD", round(level, digits), digits, 3600 + 20 * noise[0], 1e5 / level)
    return _forex(f"{code}USD", round(level, digits), digits, 3600 + 20 * noise[1])


@cache
def _known() -> tuple[Instrument, ...]:
    """Return the real pairs. All servers of a process share the objects, and so what is kept of prices."""
    known = []
    for line in _FOREX.strip().splitlines():
        symbol, level, digits, activity = line.split()
        known.append(_forex(symbol, float(level), int(digits), int(activity)))
    for line in _CRYPTO.strip().splitlines():
        base, quote, level, digits, activity, volume = line.split()
        known.append(_crypto(base, quote, float(level), int(digits), int(activity), float(volume)))
    return tuple(known)


def instruments(universe: int | None = None) -> dict[str, Instrument]:
    """Return all pairs by ticker, in the order of tickers; `universe` adds made-up ones up to that number."""
    by_ticker = {one.ticker: one for one in _known()}
    index = 0
    while len(by_ticker) < (universe or 0):
        made_up = _made_up(index)
        by_ticker.setdefault(made_up.ticker, made_up)
        index += 1
    return dict(sorted(by_ticker.items()))
