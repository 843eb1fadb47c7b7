"""Assets as a platform writes them: where they stand, how they are spelt, what follows from a symbol."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.config import Config, load
from assetbatch.config.display import effective
from assetbatch.config.symbols import Symbol, derive, lookalikes
from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.currencies import COINS, CURRENCIES, METALS

REPOSITORY = Path(__file__).resolve().parents[2]
FOREX, CRYPTO, STOCKS, INDICES = AssetType
HIGH, MEDIUM, LOW = AssetPriority.HIGH, AssetPriority.MEDIUM, AssetPriority.LOW


def read(folder: Path, text: str) -> Config:
    (folder / "config.yml").write_text(text, encoding="utf-8")
    return load(None, {}, cwd=folder)


class TestBars:
    @pytest.mark.parametrize(
        ("written", "size"),
        [
            ("5m", BarSize.FIVE_MINUTES),
            ("true", BarSize.FIVE_MINUTES),
            ("1m", BarSize.ONE_MINUTE),
            ("none", BarSize.NONE),
            ("false", BarSize.NONE),
        ],
    )
    def test_have_the_size_that_is_written(self, tmp_path: Path, written: str, size: BarSize) -> None:
        (asset,) = read(tmp_path, f"priority_assets: [{{symbol: BTCUSD, bars: {written}}}]").assets
        assert asset.bars is size

    def test_have_five_minutes_unless_something_is_written(self, tmp_path: Path) -> None:
        (asset,) = read(tmp_path, "priority_assets: [{symbol: BTCUSD}]").assets
        assert asset.bars is BarSize.FIVE_MINUTES

    @pytest.mark.parametrize(
        ("written", "words"), [("1m", "bars of 1m"), ("none", "without bars"), ("5m", "every 300 s")]
    )
    def test_are_shown(self, tmp_path: Path, written: str, words: str) -> None:
        config = read(tmp_path, f"priority_assets: [{{symbol: BTCUSD, bars: {written}}}]")
        (line,) = [one for one in effective(config) if one.path == "priority_assets[0]"]
        assert line.value.endswith(words)


class TestExtendedHours:
    def test_are_a_stocks_own_choice(self, tmp_path: Path) -> None:
        config = read(
            tmp_path,
            "priority_assets: [{symbol: AAPL, asset_type: stocks, extended_hours: true},"
            " {symbol: SPY, asset_type: stocks}]",
        )
        assert [asset.market for asset in config.assets] == [Market.STOCK_EXTENDED, Market.STOCK]
        shown = [one.value for one in effective(config) if one.path.endswith("]")]
        assert shown == [
            "AAPL AAPL stocks CRITICAL every 300 s extended hours",
            "SPY SPY stocks CRITICAL every 300 s",
        ]


class TestLists:
    def test_may_stand_in_batch(self, tmp_path: Path) -> None:
        text = "batch:\n  interval_minutes: 7\n  {}: [{{symbol: EURUSD}}]\n  {}: [{{symbol: BTCUSD}}]"
        config = read(tmp_path, text.format("priority_assets", "secondary_assets"))
        assert [asset.symbol for asset in config.priority_assets] == ["EURUSD"]
        assert [asset.symbol for asset in config.secondary_assets] == ["BTCUSD"]
        assert config.batch.interval_minutes == 7
        assert config.origins["priority_assets"] == "config.yml batch.priority_assets"
        assert "batch.priority_assets" not in config.origins

    def test_may_stand_in_either_place_when_the_other_is_empty(self, tmp_path: Path) -> None:
        config = read(tmp_path, "batch: {priority_assets: }\npriority_assets: [{symbol: EURUSD}]")
        assert [asset.symbol for asset in config.priority_assets] == ["EURUSD"]
        config = read(tmp_path, "batch: {priority_assets: [{symbol: GBPUSD}]}\npriority_assets:")
        assert [asset.symbol for asset in config.priority_assets] == ["GBPUSD"]

    def test_of_priority_assets_are_ordered_by_number_then_by_place(self, tmp_path: Path) -> None:
        numbers = {"EURUSD": None, "GBPUSD": 3, "USDJPY": 1, "USDCHF": "CRITICAL", "AUDUSD": 1, "NZDUSD": 20}
        lines = [f"- {{symbol: {s}{f', priority: {n}' if n else ''}}}" for s, n in numbers.items()]
        config = read(tmp_path, "\n".join(["priority_assets:", *lines]))
        order = ["USDJPY", "AUDUSD", "GBPUSD", "NZDUSD", "EURUSD", "USDCHF"]
        assert [asset.symbol for asset in config.priority_assets] == order
        assert {asset.priority for asset in config.priority_assets} == {AssetPriority.CRITICAL}

    def test_of_secondary_assets_take_numbers_for_classes(self, tmp_path: Path) -> None:
        written = {"EURUSD": "2", "GBPUSD": "3", "USDJPY": "4", "USDCHF": "HIGH", "AUDUSD": ""}
        lines = [f"- {{symbol: {s}{f', priority: {n}' if n else ''}}}" for s, n in written.items()]
        config = read(tmp_path, "\n".join(["secondary_assets:", *lines]))
        found = {asset.symbol: asset.priority for asset in config.secondary_assets}
        assert found == {"EURUSD": HIGH, "GBPUSD": MEDIUM, "USDJPY": LOW, "USDCHF": HIGH, "AUDUSD": MEDIUM}
        assert list(found) == list(written)


@pytest.mark.parametrize("number", range(3))
def test_what_the_page_of_the_configuration_shows_is_valid(tmp_path: Path, number: int) -> None:
    blocks = re.findall(
        r"```yaml\n(.*?)```",
        (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert len(blocks) == 3
    config = read(tmp_path, blocks[number])
    assert config.priority_assets or config.rules or config.database.tables.bars.table


class TestTicker:
    @pytest.mark.parametrize(
        ("symbol", "ticker"),
        [
            ("EURUSD", "C:EURUSD"),
            ("XAUUSD", "C:XAUUSD"),
            ("XAGEUR", "C:XAGEUR"),
            ("USDCNH", "C:USDCNH"),
            ("BTCUSD", "X:BTCUSD"),
            ("DOGEEUR", "X:DOGEEUR"),
            ("1INCHUSD", "X:1INCHUSD"),
            ("OPUSD", "X:OPUSD"),
            ("USDTUSD", "X:USDTUSD"),
            ("XAUTUSD", "X:XAUTUSD"),
            ("eurusd", "C:EURUSD"),
            ("EUR/USD", "C:EURUSD"),
            ("EUR_USD", "C:EURUSD"),
            ("EUR.USD", "C:EURUSD"),
            ("EUR USD", "C:EURUSD"),
            ("EUR / USD", "C:EURUSD"),
            ("EUR:USD", "C:EURUSD"),
            ("EURUSD=X", "C:EURUSD"),
            ("C:EURUSD", "C:EURUSD"),
            ("X:BTCUSD", "X:BTCUSD"),
            ("BTC-USD", "X:BTCUSD"),
            ("btc/usd", "X:BTCUSD"),
        ],
    )
    def test_follows_from_a_pair_however_it_is_spelt(self, symbol: str, ticker: str) -> None:
        assert derive(symbol) == (ticker, FOREX if ticker[0] == "C" else CRYPTO)

    @pytest.mark.parametrize(
        "symbol",
        [
            *("GOLD", "AAPL", "US30", "EURXXX", "XXXUSD", "EUREUR", "USD", "EURUS", "EURUSDX", "EURUSDGBP"),
            *("BTCUSDT", "BTC/USDT", "ETHBTC", "NOSUCHCOINUSD", "USDBTC", "BTCXAU", "X:EURUSD", "C:BTCUSD"),
            *("BTC-USD=X", "JPY=X", "EUR//USD", "EU/RUSD", "EURUSD/", "/EURUSD", "EURUSD.FX", "OANDA:EURUSD"),
            *("EURUSD\u0130", "\u0415URUSD", "eur\u0131usd", "\uff25URUSD"),
        ],
    )
    def test_is_never_guessed(self, symbol: str) -> None:
        assert derive(symbol) is None

    @pytest.mark.parametrize(
        ("symbol", "asset_type", "ticker"),
        [
            ("AAPL", STOCKS, "AAPL"),
            ("BRK.B", STOCKS, "BRK.B"),
            ("KIMpL", STOCKS, "KIMpL"),
            ("EURUSD", STOCKS, "EURUSD"),
            ("NDX", INDICES, "I:NDX"),
            ("ndx", INDICES, "I:NDX"),
            ("I:NDX", INDICES, "I:NDX"),
            ("I:NDX", None, "I:NDX"),
        ],
    )
    def test_of_a_stock_or_an_index_is_its_symbol(
        self, symbol: str, asset_type: AssetType | None, ticker: str
    ) -> None:
        assert derive(symbol, asset_type) == (ticker, asset_type or INDICES)

    @pytest.mark.parametrize(
        ("symbol", "asset_type"),
        [
            ("AAPL", None),
            ("NDX", None),
            ("aapl", STOCKS),
            ("BRK-B", STOCKS),
            ("I:NDX", STOCKS),
            ("C:EURUSD", INDICES),
            ("^NDX", INDICES),
            ("I:NDX", FOREX),
        ],
    )
    def test_of_a_stock_or_an_index_is_never_guessed(self, symbol: str, asset_type: AssetType | None) -> None:
        assert derive(symbol, asset_type) is None

    def test_of_any_two_currencies_or_metals_is_forex(self) -> None:
        for base, quote in product(CURRENCIES | METALS, repeat=2):
            expected = (f"C:{base}{quote}", FOREX) if base != quote else None
            assert derive(base + quote) == expected

    def test_of_any_coin_before_a_currency_is_crypto(self) -> None:
        for coin, currency in product(COINS, CURRENCIES):
            assert derive(coin + currency) == (f"X:{coin}{currency}", CRYPTO)

    def test_follows_from_no_name_in_two_ways(self) -> None:
        assert not COINS & (CURRENCIES | METALS)
        assert {len(name) for name in CURRENCIES | METALS} == {3}
        assert all(2 <= len(coin) <= 10 for coin in COINS)

    def test_is_told_as_derived(self, tmp_path: Path) -> None:
        config = read(
            tmp_path,
            "priority_assets:\n- {symbol: EURUSD, priority: 2}\n- {symbol: btc-usd, priority: 1}\n"
            "secondary_assets:\n- {symbol: GOLD, polygon_ticker: 'C:XAUUSD'}\n"
            "- {symbol: GBPUSD, asset_type: forex}\n"
            "- {symbol: USDJPY, polygon_ticker: 'C:USDCHF', asset_type: forex}\n",
        )
        lines = [tuple(line) for line in effective(config) if "assets[" in line.path]
        both, second = "config.yml priority_assets", "config.yml secondary_assets"
        assert lines == [
            ("priority_assets[0]", "btc-usd X:BTCUSD crypto CRITICAL every 300 s", both),
            ("priority_assets[0].polygon_ticker", "X:BTCUSD", "derived from the symbol"),
            ("priority_assets[0].asset_type", "crypto", "derived from the symbol"),
            ("priority_assets[1]", "EURUSD C:EURUSD forex CRITICAL every 300 s", both),
            ("priority_assets[1].polygon_ticker", "C:EURUSD", "derived from the symbol"),
            ("priority_assets[1].asset_type", "forex", "derived from the symbol"),
            ("secondary_assets[0]", "GOLD C:XAUUSD forex MEDIUM every 300 s", second),
            ("secondary_assets[0].asset_type", "forex", "derived from the polygon_ticker"),
            ("secondary_assets[1]", "GBPUSD C:GBPUSD forex MEDIUM every 300 s", second),
            ("secondary_assets[1].polygon_ticker", "C:GBPUSD", "derived from the symbol"),
            ("secondary_assets[2]", "USDJPY C:USDCHF forex MEDIUM every 300 s", second),
        ]


class TestSymbol:
    @given(st.text(st.characters(codec="utf-8"), max_size=34))
    def test_is_kept_as_it_is_or_refused(self, text: str) -> None:
        try:
            symbol = Symbol.parse(text)
        except ValueError:
            spaced = text != " ".join(text.split(" ")) or "  " in text or text.strip() != text
            assert spaced or not 1 <= len(text) <= 32 or not text.isprintable()
        else:
            assert symbol == text
            assert len(f"a {text} b".split("\n")) == 1

    @pytest.mark.parametrize(
        "symbol", ["EURUSD=X", "^GSPC", "Ger\u00e4t/\u20ac", "a{b}*?[c]:%", "[red]", "<b>&\"'", "\\n", "A B"]
    )
    def test_is_read_from_the_file(self, tmp_path: Path, symbol: str) -> None:
        quoted = symbol.replace("'", "''")
        config = read(tmp_path, f"priority_assets: [{{symbol: '{quoted}', polygon_ticker: 'C:EURUSD'}}]")
        assert config.priority_assets[0].symbol == symbol
        assert type(config.priority_assets[0].symbol) is str


def test_symbols_that_differ_in_case_or_separators_are_told() -> None:
    symbols = ["EURUSD", "eur/usd", "GBPUSD", "BTC-USD", "EUR_USD", "BTCUSD", "---", "///"]
    assert lookalikes(symbols) == [
        "EURUSD, eur/usd, EUR_USD differ in nothing but case or separators",
        "BTC-USD, BTCUSD differ in nothing but case or separators",
    ]


def test_two_spellings_of_a_symbol_may_have_one_ticker(tmp_path: Path) -> None:
    config = read(tmp_path, "priority_assets: [{symbol: EURUSD}, {symbol: eur/usd}]")
    assert [asset.polygon_ticker for asset in config.priority_assets] == ["C:EURUSD", "C:EURUSD"]
    assert lookalikes(config.configured_symbols)


@pytest.mark.parametrize(
    ("asset", "follows"),
    [
        ("{symbol: AAPL, asset_type: stocks}", True),
        ('{symbol: "I:NDX", asset_type: indices}', True),
        ("{symbol: AAPL, asset_type: stocks, enabled: false}", False),
        ("{symbol: BTCUSD}", False),
    ],
)
def test_stocks_and_indices_that_are_kept_follow_the_exchange(
    tmp_path: Path, asset: str, follows: bool
) -> None:
    assert read(tmp_path, f"secondary_assets: [{asset}]").follows_exchange is follows
