"""`export`: what is in the files, and which months are written again."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from assetbatch.commands.export import (
    Exported,
    Wanted,
    Watcher,
    chosen,
    export_in_place,
    export_to_file,
    export_to_folder,
)
from assetbatch.domain.exporting import EARLIEST_MS, LATEST_MS, ExportFormat, ExportSize
from assetbatch.domain.market_hours import to_ms
from assetbatch.errors import AssetbatchError, ConfigError, DatabaseError
from tests.commands.conftest import MakeWorld
from tests.documented import shows
from tests.world import World

Rows = list[dict[str, str]]


class Quiet:
    """Nobody watches; stops before the month of this number."""

    def __init__(self, stops_before: int | None = None) -> None:
        self.months = 0
        self.seen: list[tuple[str, str]] = []
        self._stops_before = stops_before

    def has_months(self, count: int) -> None:
        self.months = count

    def goes_on(self, symbol: str, month: str) -> bool:
        self.seen.append((symbol, month))
        return self._stops_before is None or len(self.seen) < self._stops_before


@pytest.fixture
def world(free: World) -> World:
    """Two symbols with the bars of November and December, five minutes each, and some minutes and days."""
    free.init()
    execute(
        free,
        "INSERT INTO market_data.ohlcv_5m SELECT s.id, t, 1.1, 2.5, float8 '0.1' + float8 '0.2', 2, 4,"
        " CASE WHEN extract(minute FROM t) = 5 THEN NULL ELSE 1.5 END, 3"
        " FROM trading.symbols s CROSS JOIN generate_series('2024-11-29 00:00+00'::timestamptz,"
        " '2024-12-02 23:55+00', '5 minutes') AS t WHERE s.symbol IN ('XAUUSD', 'BTCUSD')",
    )
    execute(
        free,
        "INSERT INTO market_data.ohlcv_1m SELECT s.id, timestamptz '2024-11-29' + n * interval '1 min',"
        " 1, 1, 1, 1 FROM trading.symbols s CROSS JOIN generate_series(0, 9) n WHERE s.symbol = 'XAUUSD'",
    )
    execute(
        free,
        "INSERT INTO market_data.ohlcv_1d SELECT s.id, '2024-11-29'::date + n, 1, 1, 1, 1"
        " FROM trading.symbols s CROSS JOIN generate_series(0, 3) n WHERE s.symbol = 'XAUUSD'",
    )
    return free


def execute(world: World, statement: str, *arguments: object) -> None:
    with psycopg.connect(world.database_url) as connection:
        connection.execute(statement.encode(), arguments)


def wanted(
    *symbols: str,
    size: ExportSize = ExportSize.FIVE_MINUTES,
    written_as: ExportFormat = ExportFormat.CSV,
    since: str | None = None,
    until: str | None = None,
) -> Wanted:
    def at_ms(text: str | None, otherwise: int) -> int:
        return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC)) if text else otherwise

    return Wanted(
        symbols or ("XAUUSD",), size, written_as, at_ms(since, EARLIEST_MS), at_ms(until, LATEST_MS)
    )


def to_file(world: World, what: Wanted, watcher: Watcher | None = None) -> bytes:
    buffer = io.BytesIO()
    with world.services() as services:
        export_to_file(services, what, buffer, watcher or Quiet())
    return buffer.getvalue()


def rows(world: World, what: Wanted) -> Rows:
    return list(csv.DictReader(io.StringIO(to_file(world, what).decode())))


def to_folder(world: World, what: Wanted, watcher: Watcher | None = None) -> Exported:
    with world.services() as services:
        return export_to_folder(services, what, world.folder / "out", watcher or Quiet())


def files(world: World) -> dict[str, bytes]:
    folder = world.folder / "out"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name != "assetbatch-export.json"
    }


def counts(done: Exported) -> tuple[int, int, int]:
    return done.files, done.unchanged, done.bars


class TestAFile:
    def test_has_every_bar_with_its_exact_values_in_order(self, world: World) -> None:
        found = rows(world, wanted())
        assert len(found) == 4 * 288
        assert found[1] == {
            "symbol": "XAUUSD",
            "ts": "2024-11-29 00:05:00+00",
            "open": "1.1",
            "high": "2.5",
            "low": "0.30000000000000004",
            "close": "2",
            "volume": "4",
            "vwap": "",
            "trades": "3",
        }
        assert [row["ts"] for row in found] == sorted({row["ts"] for row in found})

    def test_has_the_bars_of_a_range_of_several_symbols(self, world: World) -> None:
        found = rows(world, wanted("XAUUSD", "BTCUSD", since="2024-11-30", until="2024-12-02"))
        assert [row["symbol"] for row in found] == ["XAUUSD"] * 576 + ["BTCUSD"] * 576
        assert (found[0]["ts"], found[575]["ts"]) == ("2024-11-30 00:00:00+00", "2024-12-01 23:55:00+00")

    @pytest.mark.parametrize("size", ["15m", "1h", "4h"])
    def test_has_larger_bars_as_the_view_has_them(self, world: World, size: str) -> None:
        found = rows(world, wanted(size=ExportSize(size)))
        viewed = world.rows(
            "SELECT symbol, v.ts, v.open, v.high, v.low, v.close, v.volume, v.vwap, v.trades"
            f" FROM market_data.ohlcv_{size} v JOIN trading.symbols s ON s.id = v.symbol_id"
            " WHERE symbol = 'XAUUSD' ORDER BY ts"
        )
        assert [
            (
                row["symbol"],
                datetime.fromisoformat(row["ts"]),
                *(float(row[name]) if row[name] else None for name in list(row)[2:8]),
                int(row["trades"]),
            )
            for row in found
        ] == viewed

    def test_has_minutes(self, world: World) -> None:
        assert len(rows(world, wanted(size=ExportSize.MINUTE))) == 10

    def test_has_days_to_the_last_of_the_range(self, world: World) -> None:
        def days(since: str | None = None, until: str | None = None) -> list[str]:
            what = wanted(size=ExportSize.DAY, since=since, until=until)
            return [row["day"] for row in rows(world, what)]

        assert days() == ["2024-11-29", "2024-11-30", "2024-12-01", "2024-12-02"]
        assert days(since="2024-11-30", until="2024-12-02") == ["2024-11-30", "2024-12-01"]

    def test_has_the_same_values_whatever_the_database_has_set(self, world: World) -> None:
        before = to_file(world, wanted())
        ((name,),) = world.rows("SELECT current_database()")
        for setting in ("extra_float_digits = 0", "datestyle = 'German'", "timezone = 'Asia/Tokyo'"):
            execute(world, f'ALTER DATABASE "{name}" SET {setting}')
        assert to_file(world, wanted()) == before

    def test_has_one_line_where_nothing_is_stored(self, world: World) -> None:
        assert to_file(world, wanted("EURUSD")).count(b"\n") == 1

    def test_takes_the_place_of_another_only_when_it_is_whole(self, world: World) -> None:
        path = world.folder / "gold.csv"
        path.write_text("before")
        with world.services() as services:
            done = export_in_place(services, wanted(), path, Quiet(stops_before=2))
        assert done == Exported(stopped=True)
        assert path.read_text() == "before"
        assert [one.name for one in world.folder.iterdir() if "gold" in one.name] == ["gold.csv"]
        with world.services() as services:
            done = export_in_place(services, wanted(), path, Quiet())
        assert (done.files, done.bars, path.read_bytes()) == (1, 1152, to_file(world, wanted()))

    def test_removes_what_a_killed_export_has_left_of_it(self, world: World) -> None:
        names = [".gold.csv.a1b2c3d4.assetbatch-part", ".gold.csv.backup01", ".old.csv.a1.assetbatch-part"]
        for name in names:
            (world.folder / name).write_text("half")
        path = world.folder / "gold.csv"
        with (
            world.services() as services,
            open(world.folder / ".gold.csv.going_on.assetbatch-part", "wb") as other,
        ):
            fcntl.flock(other, fcntl.LOCK_SH)
            export_in_place(services, wanted(), path, Quiet())
        left = sorted(one.name for one in world.folder.iterdir() if ".csv." in one.name)
        assert left == [names[1], ".gold.csv.going_on.assetbatch-part", names[2]]

    def test_says_where_it_cannot_be_written(self, world: World) -> None:
        path = world.folder / "missing" / "gold.csv"
        with world.services() as services, pytest.raises(AssetbatchError, match="cannot be written"):
            export_in_place(services, wanted(), path, Quiet())


class TestAFolder:
    def test_gets_a_file_for_each_symbol_and_month(self, world: World) -> None:
        watcher = Quiet()
        assert counts(to_folder(world, wanted("XAUUSD", "BTCUSD"), watcher)) == (4, 0, 2304)
        assert list(files(world)) == [
            "BTCUSD/5m/2024-11.csv",
            "BTCUSD/5m/2024-12.csv",
            "XAUUSD/5m/2024-11.csv",
            "XAUUSD/5m/2024-12.csv",
        ]
        assert (watcher.months, len(watcher.seen)) == (4, 4)
        joined = (
            files(world)["XAUUSD/5m/2024-11.csv"] + files(world)["XAUUSD/5m/2024-12.csv"].split(b"\n", 1)[1]
        )
        assert joined == to_file(world, wanted())

    def test_gets_nothing_again_that_has_not_changed(self, world: World) -> None:
        to_folder(world, wanted("XAUUSD", "BTCUSD"))
        assert counts(to_folder(world, wanted("XAUUSD", "BTCUSD"))) == (0, 4, 0)

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE {bars} SET close = 2.0000000000000004 WHERE {bar}",
            "UPDATE {bars} SET vwap = NULL WHERE {bar}",
            "DELETE FROM {bars} WHERE {bar}",
            "UPDATE {bars} SET ts = ts + interval '1 minute' WHERE {bar}",
            # two bars change places, so that no sum over a column changes
            "UPDATE {bars} SET open = CASE ts WHEN '2024-11-30 00:00+00' THEN 1.2 ELSE 1.0 END"
            " WHERE symbol_id = {gold} AND ts IN ('2024-11-30 00:00+00', '2024-11-30 00:05+00')",
        ],
        ids=["corrected", "made_null", "deleted", "moved", "exchanged"],
    )
    @pytest.mark.parametrize("size", ["5m", "4h"])
    def test_gets_a_month_again_of_which_a_bar_was_changed(
        self, world: World, change: str, size: str
    ) -> None:
        what = wanted("XAUUSD", "BTCUSD", size=ExportSize(size))
        to_folder(world, what)
        ((gold,),) = world.rows("SELECT id FROM trading.symbols WHERE symbol = 'XAUUSD'")
        bar = f"symbol_id = {gold} AND ts = '2024-11-30 00:00+00'"
        execute(world, change.format(bars="market_data.ohlcv_5m", bar=bar, gold=gold))
        before = files(world)
        assert counts(to_folder(world, what))[:2] == (1, 3)
        after = files(world)
        assert {name for name in after if before[name] != after[name]} <= {f"XAUUSD/{size}/2024-11.csv"}
        assert counts(to_folder(world, what))[:2] == (0, 4)

    def test_replaces_a_month_that_has_grown(self, world: World) -> None:
        to_folder(world, wanted())
        execute(
            world,
            "INSERT INTO market_data.ohlcv_5m SELECT id, '2024-12-03', 1, 1, 1, 1 FROM trading.symbols"
            " WHERE symbol = 'XAUUSD'",
        )
        assert counts(to_folder(world, wanted())) == (1, 1, 577)
        assert files(world)["XAUUSD/5m/2024-12.csv"].splitlines()[-1].startswith(b"XAUUSD,2024-12-03")

    def test_gets_again_what_was_removed_or_changed_there(self, world: World) -> None:
        to_folder(world, wanted())
        before = files(world)
        (world.folder / "out/XAUUSD/5m/2024-11.csv").unlink()
        (world.folder / "out/XAUUSD/5m/2024-12.csv").write_text("cut")
        assert counts(to_folder(world, wanted()))[:2] == (2, 0)
        assert files(world) == before

    def test_has_whole_months_wherever_the_range_begins(self, world: World) -> None:
        to_folder(world, wanted(since="2024-11-30", until="2024-12-01"))
        assert files(world)["XAUUSD/5m/2024-11.csv"].count(b"\n") == 1 + 576
        assert counts(to_folder(world, wanted()))[:2] == (1, 1)

    def test_keeps_the_file_of_a_month_of_which_nothing_is_stored_any_more(self, world: World) -> None:
        to_folder(world, wanted())
        before = files(world)
        execute(world, "DELETE FROM market_data.ohlcv_5m WHERE ts < '2024-12-01 00:00+00'")
        to_folder(world, wanted())
        assert files(world) == before

    def test_keeps_formats_and_sizes_apart(self, world: World) -> None:
        to_folder(world, wanted())
        to_folder(world, wanted(size=ExportSize.HOUR))
        assert counts(to_folder(world, wanted()))[:2] == (0, 2)

    def test_is_written_again_after_another_version_or_a_broken_manifest(self, world: World) -> None:
        manifest = world.folder / "out/XAUUSD/5m/assetbatch-export.json"
        to_folder(world, wanted())
        document = json.loads(manifest.read_text())
        for text in ("{", json.dumps({**document, "version": 0})):
            manifest.write_text(text)
            assert counts(to_folder(world, wanted()))[:2] == (2, 0)

    def test_stopped_has_the_months_that_were_written_and_goes_on_there(self, world: World) -> None:
        done = to_folder(world, wanted(), Quiet(stops_before=2))
        assert (done.stopped, done.files) == (True, 1)
        assert counts(to_folder(world, wanted()))[:2] == (1, 1)

    def test_goes_on_after_it_was_killed(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing runs at the end of a process that is killed."""
        from assetbatch.commands import export

        class Killed(BaseException):
            pass

        def dies(*_: object) -> None:
            raise Killed

        real = export._export_month
        written: list[object] = []

        def dies_at_the_third(*arguments: Any) -> None:
            written.append(arguments)
            (real if len(written) < 3 else dies)(*arguments)

        monkeypatch.setattr(export, "_export_month", dies_at_the_third)
        with pytest.raises(Killed):
            to_folder(world, wanted("XAUUSD", "BTCUSD"))
        monkeypatch.setattr(export, "_export_month", real)
        assert counts(to_folder(world, wanted("XAUUSD", "BTCUSD")))[:2] == (2, 2)

    def test_keeps_what_was_written_before_an_error(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from assetbatch.database import Store

        real: Callable[..., bytes] = Store.export_bars
        read: list[object] = []

        def fails_at_the_second(*arguments: Any) -> bytes:
            read.append(arguments)
            if len(read) == 2:
                raise DatabaseError("the connection was lost")
            return real(*arguments)

        monkeypatch.setattr(Store, "export_bars", fails_at_the_second)
        with pytest.raises(DatabaseError):
            to_folder(world, wanted())
        assert counts(to_folder(world, wanted()))[:2] == (1, 1)

    def test_takes_one_export_at_a_time(self, world: World) -> None:
        to_folder(world, wanted())
        with open(world.folder / "out" / ".assetbatch-export.lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(AssetbatchError) as caught:
                to_folder(world, wanted())
        shows(str(caught.value), "another export writes into …")

    def test_says_where_it_cannot_be_written(self, world: World) -> None:
        (world.folder / "out").write_text("a file")
        with pytest.raises(AssetbatchError, match="cannot be written"):
            to_folder(world, wanted())


class TestParquet:
    def test_has_the_same_bars_in_types_of_their_own(self, world: World) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        written = to_file(world, wanted("XAUUSD", "BTCUSD", written_as=ExportFormat.PARQUET))
        table = parquet.read_table(io.BytesIO(written))
        assert table.schema.field("ts").type == pyarrow.timestamp("us", tz="UTC")
        assert {table.schema.field(name).type for name in ("open", "vwap")} == {pyarrow.float64()}
        found = rows(world, wanted("XAUUSD", "BTCUSD"))
        assert table.num_rows == len(found)
        for row, other in zip(table.to_pylist()[::97], found[::97], strict=True):
            assert row["ts"] == datetime.fromisoformat(other["ts"])
            assert row["low"] == float(other["low"])
            assert row["vwap"] == (float(other["vwap"]) if other["vwap"] else None)

    def test_has_days_as_dates(self, world: World) -> None:
        pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        written = to_file(world, wanted(size=ExportSize.DAY, written_as=ExportFormat.PARQUET))
        days = parquet.read_table(io.BytesIO(written)).column("day").to_pylist()
        assert [str(day) for day in days] == ["2024-11-29", "2024-11-30", "2024-12-01", "2024-12-02"]

    def test_can_be_empty(self, world: World) -> None:
        pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        written = to_file(world, wanted("EURUSD", written_as=ExportFormat.PARQUET))
        assert parquet.read_table(io.BytesIO(written)).num_rows == 0

    def test_says_which_package_is_missing_before_anything_is_written(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        path = world.folder / "gold.parquet"
        with world.services() as services, pytest.raises(ConfigError) as caught:
            export_in_place(services, wanted(written_as=ExportFormat.PARQUET), path, Quiet())
        shows(str(caught.value), "pyarrow, which writes Parquet, is not installed")
        assert "pipx inject" in str(caught.value.hint)
        assert not path.exists()

    def test_says_why_the_package_cannot_be_loaded(
        self, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "pyarrow.py").write_text("raise ImportError('libarrow.so: cannot open\\nshared object')")
        for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ConfigError, match=r"cannot be loaded \(libarrow.so: cannot open shared object\)"):
            to_file(world, wanted(written_as=ExportFormat.PARQUET))


class TestTheSymbols:
    def test_are_those_that_are_named_each_once(self, world: World) -> None:
        with world.services() as services:
            assert chosen(services, ["XAUUSD", "BTCUSD", "XAUUSD"], ExportSize.DAY) == ["XAUUSD", "BTCUSD"]
            assert len(chosen(services, [], ExportSize.FIVE_MINUTES)) == len(
                services.config.configured_symbols
            )

    def test_must_be_configured(self, world: World) -> None:
        with (
            world.services() as services,
            pytest.raises(ConfigError, match="xau-usd is no configured") as caught,
        ):
            chosen(services, ["xau-usd"], ExportSize.DAY)
        assert "did you mean XAUUSD" in str(caught.value.hint)


class TestATableOfAPlatform:
    def test_is_exported_under_our_names(self, make_world: MakeWorld) -> None:
        world = make_world()
        names = {"table": "prices.candles", "symbol_id": "ticker", "ts": "at", "vwap": None, "interval": "5m"}
        world.document["database"]["tables"] = {"bars": {**names, "instrument": "polygon_ticker"}}
        world.drop_tables()
        execute(
            world,
            "CREATE SCHEMA prices; CREATE TABLE prices.candles (ticker text, interval text, at timestamp,"
            " open numeric(18,8), high numeric(18,8), low numeric(18,8), close numeric(18,8),"
            " volume numeric(24,4), trades int, PRIMARY KEY (ticker, interval, at))",
        )
        world.init()
        execute(
            world,
            "INSERT INTO prices.candles VALUES ('C:XAUUSD', '5m', '2024-11-30', 1.5, 2, 1, 1.25, 3, 4),"
            " ('C:XAUUSD', '1h', '2024-11-30', 9, 9, 9, 9, 9, 9)",
        )
        (row,) = rows(world, wanted())
        assert list(row.values()) == [
            "XAUUSD", "2024-11-30 00:00:00+00", "1.5", "2", "1", "1.25", "3", "", "4",
        ]  # fmt: skip
        assert len(rows(world, wanted(size=ExportSize.HOUR))) == 1
