"""`docs/reading.md`: its queries and programs, run as they stand there."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from assetbatch.commands.export import Wanted, export_to_folder
from assetbatch.config.tables import TableMappings
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.exporting import ExportFormat, ExportSize
from assetbatch.domain.models import Price
from assetbatch.state.connection import RedisClient
from tests.commands.conftest import MakeWorld
from tests.commands.test_export import Quiet
from tests.documented import REPOSITORY, blocks
from tests.world import World

PAGE = (REPOSITORY / "docs" / "reading.md").read_text(encoding="utf-8")
PRICES, BARS, LARGER, ANY_LENGTH, ADJUSTED = blocks(PAGE, "sql")
PROGRAMS = {
    name: text
    for text in blocks(PAGE, "python")
    for name in ("pandas", "polars", "duckdb", "redis")
    if f"import {name}" in text or f", {name}\n" in text
}


@pytest.fixture
def world(free: World) -> World:
    """Two days of bars of two symbols up to now, and a price."""
    free.init()
    with psycopg.connect(free.database_url) as connection:
        connection.execute(
            "INSERT INTO market_data.ohlcv_5m SELECT s.id, t, 1, 2, 1, 2, 4, 1, 3 FROM trading.symbols s"
            " CROSS JOIN generate_series(date_bin('1 hour', now(), 'epoch') - interval '2 days', now(),"
            " '5 minutes') AS t WHERE s.symbol IN ('XAUUSD', 'BTCUSD')"
        )
        connection.execute(
            "UPDATE trading.symbols SET metadata = jsonb_build_object('last_update', jsonb_build_object("
            " 'last_price', 4083.3, 'timestamp', now() - interval '1 minute')) WHERE symbol = 'XAUUSD'"
        )
    return free


class TestSql:
    def test_gives_the_last_price_of_each_symbol(self, world: World) -> None:
        found = {symbol: (price, age) for symbol, price, age in world.rows(PRICES)}
        assert set(found) == set(world.config().configured_symbols)
        price, age = found["XAUUSD"]
        assert price == 4083.3
        assert 60 <= age.total_seconds() < 600
        assert found["BTCUSD"] == (None, None)

    def test_gives_the_bars_of_a_day(self, world: World) -> None:
        assert len(world.rows(BARS)) == 288

    def test_gives_larger_bars(self, world: World) -> None:
        found = world.rows(LARGER)
        assert len(found) == 49
        assert found[0][5] == 48

    def test_gives_bars_of_any_length(self, world: World) -> None:
        found = world.rows(ANY_LENGTH)
        assert len(found) == 48
        assert found[0][5] == 24

    def test_gives_adjusted_bars_of_a_stock(self, world: World) -> None:
        apple = Asset(symbol="AAPL", polygon_ticker="AAPL", asset_type=AssetType.STOCKS)
        with world.services() as services:
            services.store.initialise(TableMappings(), [apple])
        with psycopg.connect(world.database_url) as connection:
            connection.execute(
                "INSERT INTO market_data.ohlcv_5m SELECT id, now() - interval '5 days', 8, 8, 8, 8, 3"
                " FROM trading.symbols WHERE symbol = 'AAPL'"
            )
            connection.execute(
                "INSERT INTO market_data.splits SELECT id, now()::date - 2, 1, 4, 'forward_split', 'applied'"
                " FROM trading.symbols WHERE symbol = 'AAPL'"
            )
        assert [row[1:] for row in world.rows(ADJUSTED)] == [(2, 2, 2, 2, 12)]


class TestFrames:
    def test_of_pandas(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("pandas")
        pytest.importorskip("sqlalchemy")
        frame = self.run("pandas", world, monkeypatch)
        assert len(frame) >= 576
        assert list(frame.columns) == ["open", "high", "low", "close", "volume"]

    def test_of_polars(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("polars")
        frame = self.run("polars", world, monkeypatch)
        assert len(frame) == 49
        assert frame["volume"][0] == 48

    def test_of_duckdb(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("duckdb")
        pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        with world.services() as services:
            what = Wanted(["XAUUSD"], ExportSize.FIVE_MINUTES, ExportFormat.PARQUET)
            export_to_folder(services, what, world.folder / "bars", Quiet())
        frame = self.run("duckdb", world, monkeypatch)
        assert len(frame) == 3
        assert frame["high"][0] == 2

    def run(self, name: str, world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("DATABASE_URL", world.database_url)
        monkeypatch.chdir(world.folder)
        namespace: dict[str, Any] = {}
        exec(PROGRAMS[name], namespace)
        return namespace["frame"]


class TestListening:
    """The listener loses nothing and reads nothing twice that it has acknowledged."""

    @pytest.fixture
    def world(self, make_world: MakeWorld) -> World:
        return make_world(document={"events": {"stream_maxlen": 1000}})

    def listen(
        self, world: World, redis_url: str, monkeypatch: pytest.MonkeyPatch, fails_at: str
    ) -> list[str]:
        """The symbols that `handle` got until the one at which it fails."""
        heard: list[str] = []

        def handle(event: dict[str, Any]) -> None:
            heard.append(event["symbol"])
            if event["symbol"] == fails_at:
                raise KeyboardInterrupt

        monkeypatch.setenv("REDIS_URL", redis_url)
        prefix = world.document["redis"]["prefix"]
        text = PROGRAMS["redis"].replace("{assetbatch}", prefix)
        assert text != PROGRAMS["redis"]
        with pytest.raises(KeyboardInterrupt):
            exec(text, {"handle": handle})
        return heard

    def publish(self, world: World, *symbols: str) -> None:
        with world.services() as services:
            services.events.publish(
                [Price(symbol=symbol, last_price=1.0, as_of_ms=1000) for symbol in symbols]
            )

    def test_has_ten_lines(self) -> None:
        """Besides the import and the line that handles an event."""
        lines = [line for line in PROGRAMS["redis"].splitlines() if line.strip()]
        assert len(lines) - 2 <= 10

    def test_gets_what_came_before_while_it_was_away_and_what_it_died_with(
        self, world: World, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.publish(world, "A", "B", "C")
        assert self.listen(world, redis_url, monkeypatch, "B") == ["A", "B"]
        self.publish(world, "D", "E")
        assert self.listen(world, redis_url, monkeypatch, "E") == ["B", "C", "D", "E"]
        self.publish(world, "F")
        assert self.listen(world, redis_url, monkeypatch, "F") == ["E", "F"]

    def test_goes_on_where_the_stream_has_lost_what_it_died_with(
        self, world: World, redis_url: str, redis_client: RedisClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.publish(world, "A", "B")
        assert self.listen(world, redis_url, monkeypatch, "A") == ["A"]
        redis_client.xtrim(f"{world.document['redis']['prefix']}:events", maxlen=0, approximate=False)
        self.publish(world, "C")
        assert self.listen(world, redis_url, monkeypatch, "C") == ["C"]

    def test_waits_for_longer_than_a_read_lasts(
        self, world: World, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """redis-py ends a read after five seconds unless it is told otherwise."""
        block = re.search(r"block=(\d+)", PROGRAMS["redis"])
        seconds = re.search(r"socket_timeout=(\d+)", PROGRAMS["redis"])
        assert block
        assert seconds
        assert int(block[1]) < 1000 * int(seconds[1])
