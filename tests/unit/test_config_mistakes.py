"""Every mistake is told in one line: the file, the key path, what was found and what is allowed."""

from __future__ import annotations

import gc
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from assetbatch.config import load
from assetbatch.config.documents import parse_yaml
from assetbatch.config.settings import ASSET_LISTS, SECTIONS
from assetbatch.config.wording import allowed
from assetbatch.errors import ConfigError

ASSET_KEYS = (
    "symbol, polygon_ticker, asset_type, name, priority, update_frequency_seconds, enabled, bars, "
    "extended_hours"
)
DATABASE = "embedded, postgresql://… or postgres://…"
REDIS = "embedded, redis://…, rediss://…, unix://…, redis+sentinel://… or redis+cluster://…"
PLANS = "one of basic, free, starter, developer, advanced, business"
HIDDEN_TEXT = "found a text that is not shown"
WHOLE = "a whole number of 1 or more"
MINUTES = "a whole number from 1 to 1440"
API = "https://… (http:// only to an IP address or a host name without a dot)"
TIERS = PLANS
CALLS = "a whole number from 1 to 6000, or null for unlimited"
QUOTING = "(@ is %40, : is %3A, / is %2F, ? is %3F, # is %23)"


def mistakes(cwd: Path, text: str | bytes, dotenv: str | bytes | None = None, **env: str) -> list[str]:
    """The lines of the error that this configuration raises."""
    for name, content in (("config.yml", text), (".env", dotenv)):
        if content is not None:
            (cwd / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        load(None, {"HOME": str(cwd), **env}, cwd=cwd)
    assert caught.value.exit_code == 2
    return str(caught.value).split("\n")


ALLOWED = {
    "batch.interval_minutes": "a whole number from 1 to 1440",
    "batch.enqueue_interval_minutes": "a whole number from 1 to 1440",
    "batch.max_cycle_seconds": "a whole number from 5 to 3600",
    "batch.priority_assets_enabled": "true or false",
    "rate_limiting.tier": TIERS,
    "rate_limiting.calls_per_minute": CALLS,
    "rate_limiting.window_seconds": "a whole number from 1 to 86400",
    "rate_limiting.window": "a name of 1 to 64 letters, digits or . _ - or null",
    "rate_limiting.upgrade_url": "https://…",
    "queue.max_size": "a whole number of 1 or more",
    "queue.retry_max_attempts": "a whole number from 0 to 1000",
    "queue.retry_delay_seconds": "a whole number from 0 to 86400",
    "queue.max_concurrency": "a whole number from 1 to 64",
    "verify.share": "a number from 0 to 1",
    "database.url": DATABASE,
    "redis.url": REDIS,
    "redis.prefix": "1 to 64 letters, digits or . _ : - with at most one {hash tag} in braces",
    "provider.base_url": API,
    "alerts.success_rate_min_percent": "a number from 0 to 100",
    "alerts.priority_latency_max_ms": "a whole number of 1 or more",
    "alerts.queue_size_max": "a whole number of 0 or more",
    "alerts.rate_limit_waits_per_hour_max": "a whole number of 0 or more",
    "metrics.prometheus_file": "the path of a file or null",
    "events.stream_maxlen": "a whole number of 1 or more or null",
}
"""What each setting takes, as its message says."""


@pytest.mark.parametrize(
    ("path", "written", "found"),
    [
        ("batch.interval_minutes", "0", "0"),
        ("batch.interval_minutes", "1441", "1441"),
        ("batch.enqueue_interval_minutes", "0", "0"),
        ("batch.max_cycle_seconds", "soon", "'soon'"),
        ("batch.priority_assets_enabled", "1", "1"),
        ("rate_limiting.tier", "gold", "'gold'"),
        ("rate_limiting.tier", "[free]", "a list"),
        ("rate_limiting.calls_per_minute", "0", "0"),
        ("rate_limiting.calls_per_minute", "unlimited", "'unlimited'"),
        ("rate_limiting.window_seconds", "-60", "-60"),
        ("rate_limiting.window", "two words", "a text that is not shown"),
        ("rate_limiting.window", "'a:blocked'", "'a:blocked'"),
        ("rate_limiting.upgrade_url", "massive.com", "a text that is no URL"),
        ("queue.max_size", "many", "'many'"),
        ("queue.max_size", "'5'", "'5'"),
        ("queue.max_size", "-1", "-1"),
        ("queue.max_size", "true", "true"),
        ("queue.max_size", "5.0", "5.0"),
        ("queue.max_size", "[1]", "a list"),
        ("queue.max_size", "{a: 1}", "a mapping"),
        ("queue.max_size", "", "nothing (null)"),
        ("queue.max_size", "'" + "9" * 100 + "'", "a text that is not shown"),
        ("queue.max_size", "-" + "9" * 13, "a very large number"),
        ("queue.max_size", "0.1234567890123456", "a number that is not shown"),
        ("queue.retry_max_attempts", "-1", "-1"),
        ("queue.retry_max_attempts", "1" + "0" * 99, "a very large number"),
        ("queue.retry_delay_seconds", "1e3", "'1e3'"),
        ("queue.max_concurrency", "65", "65"),
        ("verify.share", "1.5", "1.5"),
        ("database.url", "5", "a whole number"),
        ("database.url", "mysql://u:marked@h", "'mysql://'"),
        ("redis.url", "memcached://marked", "'memcached://'"),
        ("redis.prefix", "'{}:x'", "'{}:x'"),
        ("redis.prefix", "a*", "'a*'"),
        ("redis.prefix", "''", "''"),
        ("redis.prefix", '"a\\n"', "a text that is not shown"),
        ("provider.base_url", "ftp://h", "'ftp://'"),
        ("alerts.success_rate_min_percent", "101", "101"),
        ("alerts.success_rate_min_percent", "true", "true"),
        ("alerts.priority_latency_max_ms", "0", "0"),
        ("alerts.queue_size_max", "-1", "-1"),
        ("alerts.rate_limit_waits_per_hour_max", "ten", "'ten'"),
        ("metrics.prometheus_file", "''", "''"),
        ("events.stream_maxlen", "0", "0"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(
    tmp_path: Path, path: str, written: str, found: str
) -> None:
    section, key = path.split(".")
    assert mistakes(tmp_path, f"{section}:\n  {key}: {written}") == [
        f"config.yml: {path}: found {found}, expected {ALLOWED[path]} (line 2)"
    ]


@pytest.mark.parametrize(
    ("written", "found"),
    [("NO", "false"), ("12:30.5", "750.5"), (".nan", "nan"), ("-1_0", "-10"), ("-0x1f", "-31")],
)
def test_what_yaml_reads_otherwise_is_told_as_it_is_written(tmp_path: Path, written: str, found: str) -> None:
    assert mistakes(tmp_path, f"queue: {{max_size: {written}}}") == [
        f"config.yml: queue.max_size: found {found}, expected a whole number of 1 or more "
        f"(line 1, written {written})"
    ]


@pytest.mark.parametrize("kind", [*SECTIONS.values(), *ASSET_LISTS.values()])
def test_every_setting_has_words_for_what_it_allows(kind: type[msgspec.Struct]) -> None:
    for field in msgspec.structs.fields(kind):
        assert allowed(field.type)


def test_a_section_must_be_a_mapping(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "database: postgresql://u:marked@h/n\nredis: 5") == [
        "config.yml: database: found a text, expected a mapping with the keys url, tables (line 1)",
        "config.yml: redis: found a whole number, expected a mapping with the keys url, prefix (line 2)",
    ]


def test_each_value_of_a_list_that_does_not_fit_has_a_line(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "derived: [15m, 1d, 30m]") == [
        "config.yml: derived[1]: found '1d', expected one of 15m, 1h, 4h (line 1)",
        "config.yml: derived[2]: found '30m', expected one of 15m, 1h, 4h (line 1)",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("derived: [15m, 2h]", "derived[1]: found '2h', expected one of 15m, 1h, 4h"),
        ("derived: [{}]", "derived[0]: found a mapping, expected one of 15m, 1h, 4h"),
        ("derived: 1h", "derived: found '1h', expected a list of sizes among 15m, 1h, 4h; [] for no view"),
    ],
)
def test_a_list_is_told_with_what_does_not_fit_in_it(tmp_path: Path, text: str, told: str) -> None:
    assert mistakes(tmp_path, text) == [f"config.yml: {told} (line 1)"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "queue: {max_sise: 5}",
            "queue.max_sise: unknown key, did you mean max_size? "
            "expected one of max_size, retry_max_attempts, retry_delay_seconds, max_concurrency",
        ),
        ("redis: {1: 5}", "redis.1: unknown key, expected one of url, prefix"),
        ("redis: {NO: 5}", "redis.false: unknown key, expected one of url, prefix"),
        ("redis: {'a b': 5}", "redis.***: unknown key, expected one of url, prefix"),
        ("redis: {k3y-marked: 5}", "redis.***: unknown key, expected one of url, prefix"),
        ("redis: {'marked=x': 5}", "redis.***: unknown key, expected one of url, prefix"),
        (
            "qeue: {}",
            "qeue: unknown key, did you mean queue? "
            "expected one of batch, rate_limiting, queue, verify, database, redis, provider, alerts, "
            "metrics, events, priority_assets, secondary_assets, derived, ping_url, notify",
        ),
        (
            "provider: {api_key: marked}",
            "provider.api_key: unknown key, "
            "the API key belongs into the environment or a .env, as POLYGON_API_KEY",
        ),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_known_one(tmp_path: Path, text: str, told: str) -> None:
    assert mistakes(tmp_path, text) == [f"config.yml: {told} (line 1)"]


@pytest.mark.parametrize(
    ("plans", "told"),
    [
        ("gold", ": found a text, expected a mapping with the keys currencies, stocks, indices"),
        ("{stocks: gold}", f".stocks: found 'gold', expected {PLANS}"),
        ("{indices: [free]}", f".indices: found a list, expected {PLANS}"),
        (
            "{stock: starter}",
            ".stock: unknown key, did you mean stocks? expected one of currencies, stocks, indices",
        ),
    ],
)
def test_a_wrong_plan_of_a_product_is_told_with_the_right_ones(tmp_path: Path, plans: str, told: str) -> None:
    text = f"rate_limiting: {{plans: {plans}}}"
    assert mistakes(tmp_path, text) == [f"config.yml: rate_limiting.plans{told} (line 1)"]


def one_asset(**changes: str) -> str:
    keys = {"symbol": "EURUSD", "polygon_ticker": "'C:EURUSD'", "asset_type": "forex", **changes}
    return "- {" + ", ".join(f"{key}: {value}" for key, value in keys.items() if value) + "}"


SYMBOL = "1 to 32 visible characters, with single spaces at most between them"
TICKER = "the provider's name with its prefix, such as C:EURUSD, X:BTCUSD, AAPL or I:NDX"
PREFIXED = "the provider's name with its prefix, such as C:EURUSD, X:BTCUSD or I:NDX"


IF_STOCK = "write polygon_ticker: {} if it is a stock, else"
FREQUENCY = "a whole number from 1 to 31536000"
CLASSES = "one of HIGH, MEDIUM, LOW or their numbers 2, 3, 4"


@pytest.mark.parametrize(
    ("key", "written", "told"),
    [
        ("symbol", "''", f"found '', expected {SYMBOL} (line 2)"),
        ("symbol", "A" * 33, f"{HIDDEN_TEXT}, expected {SYMBOL} (line 2)"),
        ("symbol", "'A  B'", f"{HIDDEN_TEXT}, expected {SYMBOL} (line 2)"),
        ("symbol", "' A'", f"{HIDDEN_TEXT}, expected {SYMBOL} (line 2)"),
        ("symbol", '"EUR\\u200bUSD"', f"{HIDDEN_TEXT}, expected {SYMBOL} (line 2)"),
        ("symbol", '"EUR\\u202eUSD"', f"{HIDDEN_TEXT}, expected {SYMBOL} (line 2)"),
        ("symbol", '"EUR\\u00a0USD"', f"{HIDDEN_TEXT}, expected {SYMBOL} (line 2)"),
        ("symbol", '"EUR\\e[31mUSD"', f"{HIDDEN_TEXT}, expected {SYMBOL} (line 2)"),
        ("symbol", "", f"missing, expected {SYMBOL} (line 2)"),
        ("symbol", '"EURUSD\\n"', f"found a text that is not shown, expected {SYMBOL} (line 2)"),
        ("symbol", "NO", f"found false, expected {SYMBOL} (line 2, written NO: put it in quotes)"),
        ("symbol", "1_0", f"found 10, expected {SYMBOL} (line 2, written 1_0: put it in quotes)"),
        ("symbol", "7203", f"found 7203, expected {SYMBOL} (line 2: put it in quotes)"),
        ("symbol", "1:30", f"found 90, expected {SYMBOL} (line 2, written 1:30: put it in quotes)"),
        ("symbol", "2024-01-31", f"found the date 2024-01-31, expected {SYMBOL} (line 2: put it in quotes)"),
        ("polygon_ticker", "EUR/USD", f"found 'EUR/USD', expected {TICKER} (line 2)"),
        ("polygon_ticker", "EURUSD", "found 'EURUSD', expected C: before a forex ticker (line 2)"),
        ("polygon_ticker", "'X:EURUSD'", "found 'X:EURUSD', expected C: before a forex ticker (line 2)"),
        ("asset_type", "metal", "found 'metal', expected one of forex, crypto, stocks, indices (line 2)"),
        ("name", "5", "found 5, expected a text or null (line 2: put it in quotes)"),
        ("update_frequency_seconds", "0", f"found 0, expected {FREQUENCY} (line 2)"),
        ("update_frequency_seconds", "-5:00", f"found -300, expected {FREQUENCY} (line 2, written -5:00)"),
        ("extended_hours", "true", "found true, expected false: forex have no extended hours (line 2)"),
        ("enabled", "maybe", "found 'maybe', expected true or false (line 2)"),
        ("bars", "5", "found 5, expected one of 5m, 1m, none or true or false (line 2)"),
        (
            "frequency",
            "5",
            f"unknown key, did you mean update_frequency_seconds? expected one of {ASSET_KEYS} (line 2)",
        ),
        ("priority", "CRITICAL", f"found 'CRITICAL', expected {CLASSES} (line 2)"),
        ("priority", "urgent", f"found 'urgent', expected {CLASSES} (line 2)"),
        ("priority", "1", f"found 1, expected {CLASSES} (line 2)"),
    ],
)
def test_an_assets_mistake_names_its_place(tmp_path: Path, key: str, written: str, told: str) -> None:
    text = f"secondary_assets:\n{one_asset(**{key: written})}"
    assert mistakes(tmp_path, text) == [f"config.yml: secondary_assets[0].{key}: {told}"]


def test_a_ticker_of_the_other_market_is_a_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path, f"secondary_assets:\n{one_asset(asset_type='crypto')}") == [
        "config.yml: secondary_assets[0].polygon_ticker: found 'C:EURUSD', "
        "expected X: before a crypto ticker (line 2)"
    ]


@pytest.mark.parametrize(
    ("ticker", "asset_type", "told"),
    [
        ("AAPL", "indices", "found 'AAPL', expected I: before an indices ticker"),
        ("X:AAPL", "stocks", "found 'X:AAPL', expected 'AAPL': stocks have no prefix"),
        ("I:NDX", "stocks", "found 'I:NDX', expected 'NDX': stocks have no prefix"),
        ("C:NDX", "indices", "found 'C:NDX', expected I: before an indices ticker"),
        ("AAPL", "crypto", "found 'AAPL', expected X: before a crypto ticker"),
        ("XAUUSD", "", "found 'XAUUSD', expected C:XAUUSD, or asset_type: stocks beside a stock's ticker"),
    ],
)
def test_a_prefix_that_does_not_fit_is_told_with_the_right_spelling(
    tmp_path: Path, ticker: str, asset_type: str, told: str
) -> None:
    text = "secondary_assets:\n" + one_asset(polygon_ticker=f"'{ticker}'", asset_type=asset_type)
    assert mistakes(tmp_path, text) == [f"config.yml: secondary_assets[0].polygon_ticker: {told} (line 2)"]


@pytest.mark.parametrize(
    ("written", "found"), [("HIGH", "'HIGH'"), ("0", "0"), ("-1", "-1"), ("1.5", "1.5"), ("true", "true")]
)
def test_a_priority_asset_is_critical_or_has_a_number(tmp_path: Path, written: str, found: str) -> None:
    text = "priority_assets:\n" + one_asset(priority=written)
    assert mistakes(tmp_path, text) == [
        f"config.yml: priority_assets[0].priority: found {found}, "
        "expected a whole number of 1 or more, the first to be refreshed, or CRITICAL (line 2)"
    ]


def test_an_asset_must_be_a_mapping_and_assets_a_list(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "priority_assets:\n- EURUSD\nsecondary_assets: {EURUSD: {}}") == [
        "config.yml: priority_assets[0]: found a text, "
        "expected a mapping with the keys of an asset, such as {symbol: EURUSD} (line 2)",
        "config.yml: secondary_assets: found a mapping, "
        "expected a list of assets, each with its symbol (line 3)",
    ]


def test_symbols_and_tickers_are_unique_over_both_lists(tmp_path: Path) -> None:
    text = "\n".join(
        (
            "priority_assets:",
            one_asset(),
            "secondary_assets:",
            one_asset(polygon_ticker="'C:OTHER'"),
            "- wrong",
            one_asset(symbol="OTHER"),
        )
    )
    assert mistakes(tmp_path, text)[1:] == [
        "config.yml: secondary_assets[0].symbol: found 'EURUSD' again, "
        "expected every symbol once (first in priority_assets[0]) (line 4)",
        "config.yml: secondary_assets[2].polygon_ticker: found 'C:EURUSD' again, "
        "expected every polygon_ticker once (first in priority_assets[0]) (line 6)",
    ]


@pytest.mark.parametrize(
    ("symbol", "asset_type", "told"),
    [
        ("aapl", "", f"the symbol 'aapl' is no pair of known names: {IF_STOCK.format('AAPL')} {PREFIXED}"),
        ("BRK/B", "", f"the symbol 'BRK/B' is no pair of known names: {IF_STOCK.format('BRK.B')} {PREFIXED}"),
        ("KIMpL", "", f"the symbol 'KIMpL' is no pair of known names: {IF_STOCK.format('KIMpL')} {PREFIXED}"),
        ("BTC/USDT", "", f"the symbol 'BTC/USDT' is no pair of known names: write {PREFIXED}"),
        (
            "GOLDEN",
            "crypto",
            "the symbol 'GOLDEN' is no crypto pair of known names: "
            "write the provider's name with its prefix, such as X:BTCUSD",
        ),
        ("M4rkZk3vP9sQ1xT7", "", f"the symbol is no pair of known names: write {PREFIXED}"),
    ],
)
def test_a_symbol_from_which_no_ticker_follows_wants_one(
    tmp_path: Path, symbol: str, asset_type: str, told: str
) -> None:
    text = "secondary_assets:\n" + one_asset(symbol=symbol, polygon_ticker="", asset_type=asset_type)
    assert mistakes(tmp_path, text) == [
        f"config.yml: secondary_assets[0].polygon_ticker: missing, and {told} (line 2)"
    ]


@pytest.mark.parametrize(
    ("symbol", "asset_type", "right"),
    [("EURUSD", "crypto", "forex"), ("BTCUSD", "forex", "crypto"), ("I:NDX", "stocks", "indices")],
)
def test_a_symbol_of_another_type_is_told_with_its_own(
    tmp_path: Path, symbol: str, asset_type: str, right: str
) -> None:
    text = "secondary_assets:\n" + one_asset(symbol=symbol, polygon_ticker="", asset_type=asset_type)
    assert mistakes(tmp_path, text) == [
        f"config.yml: secondary_assets[0].asset_type: found '{asset_type}', but the symbol '{symbol}' is of "
        f"{right}: write asset_type: {right}, or the polygon_ticker of the asset (line 2)"
    ]


def test_all_mistakes_of_an_asset_are_told_at_once(tmp_path: Path) -> None:
    text = "secondary_assets:\n- {symbol: aapl, asset_type: stock, priority: low}"
    kind, priority, ticker = mistakes(tmp_path, text)
    assert "asset_type: found 'stock', did you mean stocks? expected one of forex" in kind
    assert "priority: found 'low', did you mean LOW? expected one of HIGH" in priority
    assert "polygon_ticker: missing, and the symbol 'aapl' is no ticker of stocks" in ticker
    assert ticker.endswith("such as AAPL (line 2)")


def test_the_value_of_a_misspelt_key_is_told_with_it(tmp_path: Path) -> None:
    first, second = mistakes(tmp_path, "rate_limiting: {plans: {indexes: Basik}}")
    assert "plans.indexes: unknown key, did you mean indices?" in first
    assert f"plans.indexes: found 'Basik', did you mean basic? expected {PLANS}" in second


def test_a_part_of_a_key_is_told_with_the_whole(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "secondary_assets: [{symbol: EURUSD, type: forex}]")
    assert "secondary_assets[0].type: unknown key, did you mean asset_type?" in line


@pytest.mark.parametrize(
    ("symbol", "asset_type", "told"),
    [
        ("brk-b", "stocks", "the symbol 'brk-b' is no ticker of stocks: {} BRK.B"),
        ("BRK/B", "stocks", "the symbol 'BRK/B' is no ticker of stocks: {} BRK.B"),
        ("tsla", "stocks", "the symbol 'tsla' is no ticker of stocks: {} TSLA"),
        ("C:TSLA", "stocks", "the symbol 'C:TSLA' is no ticker of stocks: {} AAPL"),
        ("^NDX", "indices", "the symbol is no ticker of indices: {} I:NDX"),
        ("M4rkZk3vP9sQ-xT7", "stocks", "the symbol is no ticker of stocks: {} AAPL"),
    ],
)
def test_a_symbol_that_is_no_ticker_of_its_type_is_told_with_the_nearest_one(
    tmp_path: Path, symbol: str, asset_type: str, told: str
) -> None:
    text = "secondary_assets:\n" + one_asset(symbol=f"'{symbol}'", polygon_ticker="", asset_type=asset_type)
    wanted = "write the provider's name, such as"
    assert mistakes(tmp_path, text) == [
        f"config.yml: secondary_assets[0].polygon_ticker: missing, and {told.format(wanted)} (line 2)"
    ]


def test_a_list_of_assets_stands_in_one_place(tmp_path: Path) -> None:
    text = "batch:\n  priority_assets: [{symbol: EURUSD}]\npriority_assets: [{symbol: GBPUSD}]"
    assert mistakes(tmp_path, text) == [
        "config.yml: priority_assets: found besides batch.priority_assets, expected only one of them (line 3)"
    ]


def test_a_mistake_names_the_place_in_batch(tmp_path: Path) -> None:
    lists = "  priority_assets:\n  - {symbol: EURUSD}\n  - {symbol: 5}\n  - {symbol: EURUSD=X}\n"
    assert mistakes(tmp_path, f"batch:\n{lists}  priority_asets: []") == [
        f"config.yml: batch.priority_assets[1].symbol: found 5, expected {SYMBOL} (line 4: put it in quotes)",
        "config.yml: batch.priority_asets: unknown key, did you mean priority_assets? expected one of "
        "interval_minutes, enqueue_interval_minutes, max_cycle_seconds, priority_assets_enabled, "
        "priority_assets, secondary_assets (line 6)",
        "config.yml: batch.priority_assets[2].polygon_ticker: found 'C:EURUSD' again, "
        "expected every polygon_ticker once (first in batch.priority_assets[0]) (line 5)",
    ]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    queue = "queue:\n  max_size: many\n  retry_max_attempts: -1\nbatch: 5\n"
    text = f"{queue}secondary_assets:\n{one_asset(symbol='5')}"
    told = mistakes(tmp_path, text, "POLYGON_TIER=gold", QUEUE_MAX_SIZE="none")
    assert [line.split(": found")[0] for line in told] == [
        "config.yml: queue.max_size",
        "config.yml: queue.retry_max_attempts",
        "config.yml: batch",
        "config.yml: secondary_assets[0].symbol",
        ".env POLYGON_TIER",
        "env QUEUE_MAX_SIZE",
    ]


def test_a_flood_of_mistakes_is_cut(tmp_path: Path) -> None:
    told = mistakes(tmp_path, "secondary_assets:\n" + "- X\n" * 30)
    assert len(told) == 21
    assert told[-1] == "and 10 more mistakes"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "a:\n  'b\n",
            "line 3, column 1: while scanning a quoted scalar that begins in line 2, "
            "found unexpected end of stream",
        ),
        (
            "queue:\n  max_size: 1\n bad: 2",
            "line 3, column 2: while parsing a block mapping that begins in line 1, "
            "did not find expected key",
        ),
        (
            "queue:\n\tmax_size: 1",
            "line 2, column 1: while scanning for the next token, "
            "found character that cannot start any token",
        ),
        (
            "a: 1\n---\nb: 2",
            "line 2, column 1: expected a single document in the stream that begins in line 1, "
            "but found another document",
        ),
        ("a: \x07", "line 1: control characters are not allowed"),
        (b"a: 1\nb: \xff", "line 2: not UTF-8"),
        ("a: 2024-13-45", "line 1, column 4: found a value that is no timestamp"),
        ("a: " + "9" * 5000, "line 1, column 4: found a value that is no int"),
        ("a: !!python/name:os.system x", "line 1, column 4: could not determine a constructor for the tag"),
        ("a: *marked", "line 1, column 4: found undefined alias"),
        ("[" * 60 + "]" * 60, "line 1: nested more than 50 deep"),
        ("[" * 100_000, "line 1, column 1001: while increasing flow level, exceeded maximum nesting depth"),
        ("- " * 100_000, "line 1: nested more than 50 deep"),
        ("- a", "found a list, expected a mapping with sections such as batch"),
        ("embedded", "found a text, expected a mapping with sections such as batch"),
    ],
)
def test_what_is_no_yaml_is_told_with_line_and_column(tmp_path: Path, text: str | bytes, told: str) -> None:
    assert mistakes(tmp_path, text) == [f"config.yml: {told}"]


def test_a_key_that_is_there_twice_is_a_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "queue: {max_size: 1}\nbatch:\nqueue:\n  max_size: 1\n  max_size: 2") == [
        "config.yml: queue: is there twice, first in line 1 (line 3)",
        "config.yml: queue.max_size: is there twice, first in line 4 (line 5)",
    ]


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"POLYGON_TIER": "gold"}, f"env POLYGON_TIER: found 'gold', expected {TIERS}"),
        ({"QUEUE_MAX_SIZE": "1_000"}, f"env QUEUE_MAX_SIZE: found '1_000', expected {WHOLE}"),
        (
            {"QUEUE_MAX_SIZE": "\u0661"},
            f"env QUEUE_MAX_SIZE: {HIDDEN_TEXT}, expected {WHOLE}",
        ),
        (
            {"QUEUE_MAX_SIZE": "\udcff"},
            f"env QUEUE_MAX_SIZE: {HIDDEN_TEXT}, expected {WHOLE}",
        ),
        ({"BATCH_INTERVAL_MINUTES": "0"}, f"env BATCH_INTERVAL_MINUTES: found 0, expected {MINUTES}"),
        (
            {"PRIORITY_ASSETS_ENABLED": "on"},
            "env PRIORITY_ASSETS_ENABLED: found 'on', expected true or false",
        ),
        ({"POLYGON_RATE_LIMIT": "many"}, f"env POLYGON_RATE_LIMIT: found 'many', expected {CALLS}"),
        (
            {"POLYGON_BASE_URL": "http://api.massive.com"},
            f"env POLYGON_BASE_URL: found http:// to a host of the internet, expected {API}",
        ),
        (
            {"POLYGON_API_KEY": "marked key"},
            "env POLYGON_API_KEY: found a space, a control character or a letter beyond ASCII in the key, "
            "expected the key alone",
        ),
        (
            {"POLYGON_API_KEY": "marked-1", "MASSIVE_API_KEY": "marked-2"},
            "env POLYGON_API_KEY and env MASSIVE_API_KEY: differ, expected one of them, or the same value",
        ),
        (
            {"POLYGON_API_KEY": "marked", "POLYGON_API_KEY_FILE": "key"},
            "env POLYGON_API_KEY_FILE: found besides POLYGON_API_KEY, expected only one of them",
        ),
        (
            {"POLYGON_API_KEY_FILE": "marked"},
            "env POLYGON_API_KEY_FILE: the file it names cannot be read: no such file or directory",
        ),
        (
            {"MASSIVE_API_KEY_FILE": "."},
            "env MASSIVE_API_KEY_FILE: the file it names cannot be read: is a directory",
        ),
        ({"MASSIVE_API_KEY_FILE": "empty"}, "env MASSIVE_API_KEY_FILE: the file it names is empty"),
        ({"MASSIVE_API_KEY_FILE": "binary"}, "env MASSIVE_API_KEY_FILE: the file it names is no text file"),
        (
            {"DB_HOST": "h", "DB_NAME": "n", "DB_PASSWORD": "marked", "DB_PASSWORD_FILE": "key"},
            "env DB_PASSWORD_FILE: found besides DB_PASSWORD, expected only one of them",
        ),
        (
            {"DB_PASSWORD": "marked", "DB_HOST": "h"},
            "env DB_HOST, env DB_PASSWORD: found without DB_NAME, expected DB_HOST and DB_NAME too, "
            "or DATABASE_URL instead",
        ),
        (
            {"DB_HOST": "h", "DB_NAME": "n", "DB_PORT": "99999"},
            "env DB_PORT: found 99999, expected a whole number from 1 to 65535",
        ),
        (
            {"DB_HOST": "a,b", "DB_NAME": "n"},
            "env DB_HOST: found 'a,b', expected a host name, an IP address or a socket's folder",
        ),
        (
            {"DATABASE_URL": "mysql://u:marked@h/n"},
            f"env DATABASE_URL: found 'mysql://', expected {DATABASE}",
        ),
        ({"DATABASE_URL": "marked"}, f"env DATABASE_URL: found a text that is no URL, expected {DATABASE}"),
        (
            {"DATABASE_URL": "postgresql://u:mar@ked@h/n"},
            "env DATABASE_URL: found a URL that can be read in two ways, "
            f"expected its user and password percent-encoded {QUOTING}",
        ),
        (
            {"REDIS_URL": "redis+nothing://:marked@h/0"},
            f"env REDIS_URL: found 'redis+nothing://', expected {REDIS}",
        ),
        (
            {"REDIS_URL": "redis+sentinel://:marked@h"},
            "env REDIS_URL: found no name of a master, expected it behind the sentinels, "
            "as in /mymaster or /mymaster/0",
        ),
        (
            {"REDIS_URL": "redis://h/zero"},
            "env REDIS_URL: found a path that is no number, expected the number of a database, as in /0",
        ),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(tmp_path: Path, env: dict[str, str], told: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"marked\xff")
    lines = mistakes(tmp_path, "", **env)
    assert lines == [told]
    assert "marked" not in lines[0]


def test_a_broken_dotenv_is_told_by_line_and_not_quoted(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "", "A=1\nmarked\n") == [
        ".env: line 2: found no KEY=VALUE, or a quote that is not closed"
    ]
    assert mistakes(tmp_path, "", b"A=\xff") == [".env: not UTF-8"]


def test_the_ping_addresses_are_checked_and_not_shown(tmp_path: Path) -> None:
    expected = (
        "https://… or a mapping of run-priority, run-queue, enqueue-secondary, status to such addresses"
    )
    assert mistakes(tmp_path, "ping_url: marked") == [
        f"config.yml: ping_url: found a text that is no URL, expected {expected} (line 1)"
    ]
    assert mistakes(tmp_path, "ping_url: {marked: https://a.b}") == [
        f"config.yml: ping_url: found a key that is no command, expected {expected} (line 1)"
    ]
    assert mistakes(tmp_path, "ping_url: {status: marked}") == [
        "config.yml: ping_url: found a text that is no URL, expected https://… (for status) (line 1)"
    ]
    assert mistakes(tmp_path, "ping_url: 5") == [
        f"config.yml: ping_url: found a whole number, expected {expected} (line 1)"
    ]


def test_an_alert_beyond_the_size_of_the_queue_would_never_come(tmp_path: Path) -> None:
    text = "queue: {max_size: 300}\nalerts: {queue_size_max: 301}"
    assert mistakes(tmp_path, text) == [
        "config.yml: alerts.queue_size_max: found 301, expected at most 300, which is queue.max_size "
        "(config.yml queue.max_size): the queue never has more"
    ]
    (line,) = mistakes(tmp_path, "alerts: {queue_size_max: 1001}")
    assert "expected at most 1000, which is queue.max_size (default)" in line
    (line,) = mistakes(tmp_path, "alerts: {queue_size_max: 500}", QUEUE_MAX_SIZE="400")
    assert "(env QUEUE_MAX_SIZE)" in line


@pytest.mark.parametrize(
    ("text", "alert"),
    [
        ("", 500),
        ("queue: {max_size: 999}", 499),
        ("queue: {max_size: 300}", 150),
        ("queue: {max_size: 1}", 0),
        ("queue: {max_size: 300}\nalerts: {queue_size_max: 300}", 300),
    ],
)
def test_an_alert_that_is_not_written_fits_the_size_of_the_queue(
    tmp_path: Path, text: str, alert: int
) -> None:
    (tmp_path / "config.yml").write_text(text)
    assert load(None, {"HOME": str(tmp_path)}, cwd=tmp_path).alerts.queue_size_max == alert


@pytest.mark.parametrize("data", [b"a: 1", b"a: [", b""])
def test_garbage_is_collected_again_after_a_file_was_read(data: bytes) -> None:
    with suppress(ValueError):
        parse_yaml(data)
    assert gc.isenabled()
