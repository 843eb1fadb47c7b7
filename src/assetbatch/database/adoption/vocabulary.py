"""What platforms usually call the tables' columns, their states and the provider. Data only, in one place.

Names are compared without case and underscores: `openTime` is `open_time`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

IDS = frozenset({"int2", "int4", "int8", "uuid"})
"""Base types of ids that are no text."""
INTEGERS = frozenset({"int2", "int4", "int8"})
_MOMENTS = frozenset({"timestamptz", "timestamp"})
_PRICES = frozenset({"float8", "numeric", "float4"})
_TEXT = frozenset({"S"})

SYMBOL_TEXTS = ("symbol", "ticker", "instrument", "pair")
"""Names of text columns that hold an instrument."""


NAMESAKES: Mapping[str, tuple[str, ...]] = {
    "symbolid": ("symbol", "symbols"),
    "tickerid": ("ticker", "tickers"),
    "instrumentid": ("instrument", "instruments"),
    "assetid": ("asset", "assets"),
    "securityid": ("security", "securities"),
    "pairid": ("pair", "pairs"),
}
"""Tables that a column without a foreign key may refer to, by its name."""


class Wanted(NamedTuple):
    """A column of ours: `fits` are base types, or `S` for any text and `E` for any enum; `type` is what a
    column is that is added or that a remedy changes it to. `required`: nothing works without it."""

    fits: frozenset[str]
    type: str
    aliases: tuple[str, ...] = ()
    required: bool = False
    added: bool = False
    """Whether it is added to a table of the platform that lacks it."""


_INSTRUMENT_IDS = ("symbol_id", "ticker_id", "instrument_id", "asset_id", "security_id", "pair_id")

_INSTRUMENT = Wanted(IDS | {"S"}, "bigint", (*_INSTRUMENT_IDS, *SYMBOL_TEXTS), required=True)

_BAR_VALUES: Mapping[str, Wanted] = {
    "open": Wanted(_PRICES, "double precision", ("open_price", "price_open", "o", "px_open"), required=True),
    "high": Wanted(_PRICES, "double precision", ("high_price", "price_high", "h", "px_high"), required=True),
    "low": Wanted(_PRICES, "double precision", ("low_price", "price_low", "l", "px_low"), required=True),
    "close": Wanted(
        _PRICES, "double precision", ("close_price", "price_close", "c", "px_close"), required=True
    ),
    "volume": Wanted(_PRICES, "double precision", ("vol", "v", "base_volume", "volume_base")),
    "vwap": Wanted(
        _PRICES, "double precision", ("vw", "average", "average_price", "avg_price", "weighted_average")
    ),
    "trades": Wanted(
        frozenset({"int2", "int4", "int8", "numeric", "float8"}),
        "bigint",
        (
            "trade_count",
            "n",
            "num_trades",
            "transactions",
            "number_of_trades",
            "trades_count",
            "n_trades",
            "count",
            "transaction_count",
        ),
    ),
}

_BARS: Mapping[str, Wanted] = {
    "symbol_id": _INSTRUMENT,
    "ts": Wanted(
        _MOMENTS,
        "timestamptz",
        (
            "timestamp",
            "time",
            "bar_time",
            "open_time",
            "bucket",
            "datetime",
            "date_time",
            "start_time",
            "bar_ts",
            "candle_time",
            "t",
            "bar_start",
            "period_start",
            "opened_at",
            "open_ts",
            "start_ts",
            "bar_timestamp",
            "candle_ts",
            "time_open",
            "bucket_start",
            "ts_start",
            "window_start",
            "interval_start",
            "date",
        ),
        required=True,
    ),
    **_BAR_VALUES,
}

_DAYS: Mapping[str, Wanted] = {
    "symbol_id": _INSTRUMENT,
    "day": Wanted(
        frozenset({"date"}),
        "date",
        ("date", "trading_day", "trade_date", "bar_date", "session_date", "dt", "ts", "price_date"),
        required=True,
    ),
    **_BAR_VALUES,
}

EXPECTED: Mapping[str, Mapping[str, Wanted]] = {
    "symbols": {
        "symbol": Wanted(
            _TEXT,
            "text",
            ("ticker", "ticker_symbol", "symbol_code", "code", "instrument", "pair", "symbol_name"),
            required=True,
        ),
        "name": Wanted(_TEXT, "text"),
        "asset_type": Wanted(frozenset({"S", "E"}), "text"),
        "metadata": Wanted(
            frozenset({"jsonb", "json"}),
            "jsonb",
            ("meta", "extra", "attributes", "meta_data", "extra_data"),
            required=True,
            added=True,
        ),
        "updated_at": Wanted(_MOMENTS, "timestamptz"),
    },
    "bars": _BARS,
    "bars_1m": _BARS,
    "bars_1d": _DAYS,
    "splits": {
        "symbol_id": _INSTRUMENT,
        "execution_date": Wanted(
            frozenset({"date"}),
            "date",
            ("ex_date", "split_date", "effective_date", "date"),
            required=True,
        ),
        "split_from": Wanted(_PRICES, "double precision", ("from_factor", "old_shares"), required=True),
        "split_to": Wanted(_PRICES, "double precision", ("to_factor", "new_shares"), required=True),
        "kind": Wanted(_TEXT, "text", ("adjustment_type", "split_type"), required=True),
        "state": Wanted(_TEXT, "text", required=True),
        "learned_at": Wanted(_MOMENTS, "timestamptz", required=True),
        "fits": Wanted(frozenset({"bool"}), "boolean"),
    },
    "providers": {
        "code": Wanted(
            frozenset({"S", "E"}), "text", ("provider_code", "slug", "key", "short_name"), required=True
        ),
        "name": Wanted(_TEXT, "text"),
    },
    "sync_status": {
        "ticker_id": Wanted(IDS | {"S"}, "bigint", (*_INSTRUMENT_IDS, *SYMBOL_TEXTS), required=True),
        "provider_id": Wanted(
            IDS | {"S"},
            "bigint",
            ("api_provider_id", "source_id", "data_source_id", "provider", "provider_code"),
            required=True,
        ),
        "last_sync_timestamp": Wanted(
            _MOMENTS,
            "timestamptz",
            ("last_sync_at", "last_synced_at", "last_sync_time", "last_sync", "last_synced", "synced_at"),
            required=True,
            added=True,
        ),
        "sync_status": Wanted(frozenset({"S", "E"}), "text", ("status", "state"), required=True, added=True),
        "error_message": Wanted(
            _TEXT,
            "text",
            ("last_error", "error", "last_error_message", "error_text"),
            required=True,
            added=True,
        ),
        "updated_at": Wanted(
            _MOMENTS,
            "timestamptz",
            ("modified_at", "last_updated", "last_updated_at"),
            required=True,
            added=True,
        ),
    },
}
"""By table: its columns, without the ids of symbols and providers, which follow from keys and references."""

CLOSES = frozenset(
    {
        "closetime",
        "endtime",
        "tsend",
        "barclose",
        "closingtime",
        "periodend",
        "timeclose",
        "endts",
        "barend",
        "closets",
        "closedat",
        "endat",
        "bucketend",
        "candleclose",
        "closetimestamp",
        "endtimestamp",
        "candleend",
        "barclosetime",
        "endedat",
    }
)
"""What the end of a bar is called."""

TIMEFRAMES = frozenset(
    {
        "timeframe",
        "interval",
        "resolution",
        "granularity",
        "period",
        "barsize",
        "barinterval",
        "candleinterval",
        "tf",
        "frequency",
        "barperiod",
        "candlesize",
        "intervalminutes",
        "timespan",
        "duration",
        "barduration",
        "candleduration",
        "barlength",
    }
)
"""What a column is called that says how long a bar is."""

DISTINGUISHING = TIMEFRAMES | {
    "exchange",
    "exchangeid",
    "exchangecode",
    "venue",
    "venueid",
    "market",
    "marketid",
    "source",
    "sourceid",
    "provider",
    "providerid",
    "datasource",
    "datasourceid",
    "feed",
    "feedid",
    "broker",
    "brokerid",
    "instrumenttype",
    "markettype",
    "contracttype",
    "tenantid",
    "accountid",
    "side",
    "pricetype",
    "adjusted",
    "adjustment",
    "bar",
    "candle",
    "contract",
    "mic",
    "session",
    "variant",
}
"""What columns are called by which a platform keeps rows apart, besides the instrument and the time."""

FIVE_MINUTES = frozenset(
    {"5m", "5min", "5mins", "m5", "5minute", "5minutes", "5t", "300", "300s", "300000", "5", "pt5m", "000500"}
)
ONE_MINUTE = frozenset(
    {"1m", "1min", "1mins", "m1", "1minute", "minute", "1t", "60", "60s", "60000", "1", "pt1m", "000100"}
)
ONE_DAY = frozenset(
    {"1d", "d", "d1", "1day", "day", "daily", "86400", "86400s", "86400000", "1440", "p1d", "240000"}
)
LENGTHS: Mapping[str, frozenset[str]] = {"bars": FIVE_MINUTES, "bars_1m": ONE_MINUTE, "bars_1d": ONE_DAY}
"""How the length of the bars of each table is written, without case, spaces, punctuation and underscores."""

SUCCESS = ("success", "succeeded", "successful", "completed", "complete", "ok", "synced", "done", "active")
FAILED = ("failed", "failure", "error", "errored", "fail")
STATES: Mapping[str, tuple[str, ...]] = {"success": SUCCESS, "failed": FAILED}
"""Words that mean the same as ours, the usual first."""

WORDS = ("success", "failed", "not_entitled", "not_found", "no_data")
"""The states that are written to data_sync_status."""

PROVIDER = "polygon"
PROVIDER_NAME = "Massive (formerly Polygon.io)"
PROVIDERS = frozenset({"polygon", "polygonio", "massive", "massivecom"})
"""The provider's code as platforms write it, without case and punctuation."""


_ENDINGS = ("minutes", "mins", "seconds", "secs", "ms", "min", "sec", "id", "code", "name", "type", "key")


def stem(name: str) -> str:
    """Return a name as `plain` does, without what says how its value is written: `tf_minutes` is `tf`."""
    whole = plain(name)
    if whole in DISTINGUISHING:
        return whole
    ending = next((some for some in _ENDINGS if whole.endswith(some)), "")
    return whole.removesuffix(ending) or whole


def plain(name: str) -> str:
    """Return a name without case, underscores and punctuation, by which names are compared."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def spellings(word: str) -> tuple[str, ...]:
    """Return a state in the letter cases that platforms use."""
    return word, word.upper(), word.capitalize()


EVERY_WORD = tuple(dict.fromkeys(spelt for word in (*WORDS, *SUCCESS, *FAILED) for spelt in spellings(word)))
"""All words that a column of states is asked about."""
