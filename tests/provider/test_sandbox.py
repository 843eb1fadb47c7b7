"""The client against the simulated provider over HTTP, cross-read with the provider's own client."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

import pytest
from massive import RESTClient  # type: ignore[import-untyped]  # the provider ships no types

from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.models import BAR_MS
from assetbatch.domain.refusals import RefusalKind
from assetbatch.provider.client import ProviderClient
from assetbatch.sandbox import SandboxServer
from tests.provider.servers import KEY, client_of, refusal_of


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


WEDNESDAY_MS = ms("2025-06-18T15:02:37Z")
TODAY, YESTERDAY = date(2025, 6, 18), date(2025, 6, 17)
FOREX = {"C:EURUSD": "EURUSD", "C:XAUUSD": "XAUUSD", "C:USDJPY": "USDJPY"}
CRYPTO = {"X:BTCUSD": "BTCUSD", "X:ETHUSD": "ETHUSD"}
MARKETS = [(AssetType.FOREX, "fx", FOREX), (AssetType.CRYPTO, "crypto", CRYPTO)]
START_MS = ms("2025-06-17T10:00:00Z")
END_MS = START_MS + 9 * BAR_MS
"""Ten bars of a market that never closes."""


class Clock:
    """The provider's clock, to be set."""

    now_ms = WEDNESDAY_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[SandboxServer]:
    with SandboxServer(clock=clock) as running:
        yield running


@pytest.fixture
def client(server: SandboxServer) -> Iterator[ProviderClient]:
    with client_of(server.base_url) as running:
        yield running


@pytest.fixture
def theirs(server: SandboxServer) -> RESTClient:
    return RESTClient(api_key=KEY.reveal(), base=server.base_url, retries=0, num_pools=1)


class TestMarketSnapshot:
    @pytest.mark.parametrize(("asset_type", "_market", "assets"), MARKETS)
    def test_it_says_what_the_snapshot_of_all_classes_says(
        self, client: ProviderClient, asset_type: AssetType, _market: str, assets: dict[str, str]
    ) -> None:
        of_market, of_all = client.market_snapshot(asset_type, assets), client.snapshot(assets)
        assert set(of_market.prices) == set(assets)
        for ticker, price in of_market.prices.items():
            other = of_all.prices[ticker]
            assert (price.last_price, price.bid, price.ask) == (other.last_price, other.bid, other.ask)
            assert price.daily_open == other.daily_open
            assert 0 < WEDNESDAY_MS - price.as_of_ms < 120_000
        assert (of_market.errors, of_market.empty, of_market.refused) == ({}, frozenset(), {})

    def test_the_providers_client_reads_the_same_trades_of_crypto(
        self, client: ProviderClient, theirs: RESTClient
    ) -> None:
        ours = client.market_snapshot(AssetType.CRYPTO, CRYPTO).prices
        for entry in theirs.get_snapshot_all("crypto", tickers=list(CRYPTO)):
            price = ours.pop(entry.ticker)
            assert price.last_price == entry.last_trade.price
            assert price.as_of_ms == entry.last_trade.sip_timestamp
            day = entry.day
            assert price.daily_open == day.open
            assert (price.daily_high, price.daily_low, price.daily_close) == (day.high, day.low, day.close)
        assert not ours

    def test_the_providers_client_reads_the_same_days_of_forex(
        self, client: ProviderClient, theirs: RESTClient
    ) -> None:
        """It reads no bid and ask there; the last quote of a pair has them right."""
        ours = client.market_snapshot(AssetType.FOREX, FOREX).prices
        for entry in theirs.get_snapshot_all("forex", tickers=list(FOREX)):
            price = ours.pop(entry.ticker)
            quote = theirs.get_last_forex_quote(entry.ticker[2:5], entry.ticker[5:]).last
            assert (price.bid, price.ask) == (quote.bid, quote.ask)
            assert price.as_of_ms == quote.timestamp
            day = entry.day
            assert price.daily_open == day.open
            assert (price.daily_high, price.daily_low, price.daily_close) == (day.high, day.low, day.close)
        assert not ours

    def test_just_after_midnight_there_are_no_daily_values_of_0(
        self, client: ProviderClient, clock: Clock
    ) -> None:
        clock.now_ms = ms("2025-06-18T00:00:00-04:00")
        prices = client.market_snapshot(AssetType.FOREX, FOREX).prices
        for price in prices.values():
            assert price.last_price > 0
            assert price.as_of_ms < clock.now_ms
            daily = [price.daily_open, price.daily_high, price.daily_low, price.daily_close]
            assert daily == [None] * 4
        assert len(prices) == len(FOREX)

    def test_250_tickers_cost_one_call(self, clock: Clock) -> None:
        with SandboxServer(universe=600, clock=clock) as server, client_of(server.base_url) as client:
            known = [ticker for ticker in server.source.instruments if ticker.startswith("X:")][:250]
            assert len(known) == 250
            answer = client.market_snapshot(AssetType.CRYPTO, {ticker: ticker[2:] for ticker in known})
            assert len(answer.prices) == 250
            assert len(server.arrivals) == 1


class TestGroupedDay:
    @pytest.mark.parametrize(("asset_type", "market", "assets"), MARKETS)
    def test_the_providers_client_reads_the_same_days(
        self,
        client: ProviderClient,
        theirs: RESTClient,
        asset_type: AssetType,
        market: str,
        assets: dict[str, str],
    ) -> None:
        ours = client.grouped_day(asset_type, YESTERDAY, assets)
        read = theirs.get_grouped_daily_aggs(YESTERDAY.isoformat(), locale="global", market_type=market)
        entries = {entry.ticker: entry for entry in read}
        assert set(ours.prices) == set(assets)
        assert len(entries) > len(assets)
        for ticker, price in ours.prices.items():
            entry = entries[ticker]
            assert price.symbol == assets[ticker]
            assert price.last_price == price.daily_close == entry.close
            assert (price.daily_open, price.daily_high, price.daily_low) == (
                entry.open,
                entry.high,
                entry.low,
            )
            assert (price.bid, price.ask) == (None, None)

    @pytest.mark.parametrize(("asset_type", "_market", "assets"), MARKETS)
    def test_of_the_last_day_it_says_what_the_previous_day_says(
        self, client: ProviderClient, asset_type: AssetType, _market: str, assets: dict[str, str]
    ) -> None:
        grouped = client.grouped_day(asset_type, YESTERDAY, assets)
        for ticker, symbol in assets.items():
            found = client.previous_day(ticker, symbol)
            assert found is not None
            assert (grouped.prices[ticker], grouped.days[ticker]) == (found.price, found.bar)

    def test_a_day_on_which_the_market_was_closed_leaves_every_ticker_empty(
        self, client: ProviderClient
    ) -> None:
        answer = client.grouped_day(AssetType.FOREX, date(2025, 6, 14), FOREX)
        assert (answer.prices, answer.errors, set(answer.empty)) == ({}, {}, set(FOREX))


class TestPages:
    def test_pages_follow_each_other_without_a_gap_or_an_overlap_and_keep_the_asked_range(
        self, client: ProviderClient, server: SandboxServer
    ) -> None:
        pages = [client.bars("X:BTCUSD", START_MS, END_MS, limit=20)]
        while pages[-1].next_url:
            pages.append(client.next_page(pages[-1]))
        assert [len(page.bars) for page in pages] == [4, 4, 2]
        starts = [bar.t_ms for page in pages for bar in page.bars]
        assert starts == list(range(START_MS, END_MS + 1, BAR_MS))
        assert {(page.ticker, page.start_ms, page.end_ms) for page in pages} == {
            ("X:BTCUSD", START_MS, END_MS)
        }
        assert [page.next_url is None for page in pages] == [False, False, True]
        assert len(server.arrivals) == len(pages)
        whole = client.bars("X:BTCUSD", START_MS, END_MS)
        assert whole.bars == [bar for page in pages for bar in page.bars]

    def test_a_page_that_fails_can_be_asked_for_again(
        self, client: ProviderClient, server: SandboxServer
    ) -> None:
        first = client.bars("X:BTCUSD", START_MS, END_MS, limit=20)
        server.order("status=503")
        assert refusal_of(lambda: client.next_page(first)).kind is RefusalKind.PROVIDER_DOWN
        assert client.next_page(first).bars[0].t_ms == START_MS + 4 * BAR_MS
