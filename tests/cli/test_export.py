"""`export` as people start it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.cli.test_commands import run
from tests.program import BARE
from tests.world import KEY, World

BARS = (
    b"INSERT INTO market_data.ohlcv_5m SELECT s.id, t, 1, 2, 1, 2, 4, 1, 3 FROM trading.symbols s"
    b" CROSS JOIN generate_series('2024-11-30 00:00+00'::timestamptz, '2024-12-01 23:55+00', '5 min') AS t"
)


@pytest.fixture
def world(free: World) -> World:
    free.init()
    with psycopg.connect(free.database_url) as connection:
        connection.execute(BARS)
    return free


def test_writes_to_stdout_and_nothing_else(world: World) -> None:
    done = run(world, "export", "XAUUSD", "--from", "2024-12-01", "--to", "2024-12-01", "-o", "-")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 289
    assert done.stdout.startswith(
        "symbol,ts,open,high,low,close,volume,vwap,trades\nXAUUSD,2024-12-01 00:00:00+00,1,"
    )


def test_has_no_first_and_no_last_day(world: World) -> None:
    done = run(world, "export", "XAUUSD", "--from", "0001-01-01", "--to", "9999-12-31", "-o", "-")
    assert (done.returncode, done.stdout.count("\n")) == (0, 577)


def test_is_silent_off_a_terminal_and_says_with_v_what_it_did(world: World) -> None:
    done = run(world, "export", "--all", "-o", "out/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    symbols = len(world.config().configured_symbols)
    again = run(world, "-v", "export", "--all", "-o", "out")
    assert f"0 bars in 0 files, {2 * symbols} files unchanged" in again.stderr
    assert len(list((world.folder / "out").rglob("2024-11.csv"))) == symbols


def test_ends_quietly_when_the_reader_has_seen_enough(world: World) -> None:
    world.config()
    done = subprocess.run(
        f"{sys.executable} -m assetbatch export XAUUSD -o - | head -1",
        shell=True,
        cwd=world.folder,
        env={**BARE, "POLYGON_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_shows_a_bar_and_a_line_on_a_terminal(world: World) -> None:
    shown = on_terminal(world, "export", "XAUUSD", "-o", "gold.csv")
    assert b"of 2 months" in shown
    assert b"576 bars in 1 file" in shown


def test_shows_the_bars_alone_where_a_terminal_gets_them(world: World) -> None:
    shown = on_terminal(world, "export", "XAUUSD", "-o", "-")
    assert shown.count(b"\n") == 577
    assert b"\x1b" not in shown


def on_terminal(world: World, *arguments: str) -> bytes:
    """What a terminal shows of a start."""
    world.config()
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "assetbatch", *arguments],
        cwd=world.folder,
        env={**BARE, "POLYGON_API_KEY": KEY, "TERM": "xterm", "COLUMNS": "100"},
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:
                break
        assert process.wait() == 0
    os.close(ours)
    return shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "-"], "say which symbols"),
        (["XAUUSD", "--all", "-o", "-"], "say which symbols"),
        (["NOBODY", "-o", "-"], "NOBODY is no configured symbol"),
        (["XAUUSD", "--format", "parquet", "-o", "-"], "only csv goes to stdout"),
        (["XAUUSD", "--from", "2024-12-02", "--to", "2024-12-01", "-o", "-"], "is before --from"),
        (["XAUUSD", "--from", "yesterday", "-o", "-"], "is no day"),
        (["XAUUSD", "--size", "2h", "-o", "-"], "2h"),
        (["XAUUSD"], "--output"),
        (["XAUUSD", "-o", ""], "-o names nothing"),
    ],
)
def test_a_mistake_is_told_with_exit_code_2(world: World, arguments: list[str], message: str) -> None:
    done = run(world, "export", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_a_place_that_cannot_be_written_is_told_with_exit_code_1(world: World) -> None:
    done = run(world, "export", "XAUUSD", "-o", "missing/gold.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert "missing/gold.csv cannot be written" in done.stderr


def test_a_database_that_is_away_is_told_with_exit_code_3(free: World) -> None:
    free.document["database"] = {"url": "postgresql://nobody@127.0.0.1:1/none"}
    done = run(free, "export", "XAUUSD", "-o", "gold.csv")
    assert done.returncode == 3
    assert not Path(free.folder / "gold.csv").exists()


@pytest.mark.parametrize(
    "arguments", [["--size", "1m"], ["--size", "1d"], ["--from", "2099-01-01"], ["--to", "1999-01-01"]]
)
def test_says_which_symbols_have_no_such_bars(world: World, arguments: list[str]) -> None:
    size = arguments[1] if arguments[0] == "--size" else "5m"
    done = run(world, "export", "XAUUSD", "BTCUSD", *arguments, "-o", "-")
    assert (done.returncode, done.stdout.count("\n"), done.stderr.count("\n")) == (0, 1, 1)
    assert f"no bars of {size} are stored in the range for XAUUSD, BTCUSD" in done.stderr


def test_of_all_symbols_says_it_only_where_none_has_bars(world: World) -> None:
    """A crontab would mail it each night: some asset keeps no bars."""
    with psycopg.connect(world.database_url) as connection:
        connection.execute(
            "DELETE FROM market_data.ohlcv_5m WHERE symbol_id ="
            " (SELECT id FROM trading.symbols WHERE symbol = 'XAUUSD')"
        )
    assert run(world, "export", "--all", "-o", "out/").stderr == ""
    assert "5m are stored in the range for XAUUSD" in run(world, "-v", "export", "--all", "-o", "out/").stderr
    assert "no bars of 1m are stored" in run(world, "export", "--all", "--size", "1m", "-o", "out/").stderr


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("out/", "stopped: kept 1 finished file, and the next export goes on there"),
        ("gold.csv", "stopped: nothing was replaced"),
        ("-", "stopped: 288 bars were written, and the rest is missing"),
    ],
)
def test_says_what_stays_when_it_is_stopped(world: World, output: str, says: str) -> None:
    stopped = (
        "import os, runpy, signal, sys\n"
        "from assetbatch.database import Store\n"
        "real = Store.export_bars\n"
        "Store.export_bars = lambda *a: (os.kill(os.getpid(), signal.SIGINT), real(*a))[1]\n"
        "sys.argv = ['assetbatch', *sys.argv[1:]]\n"
        "runpy.run_module('assetbatch', run_name='__main__')\n"
    )
    world.config()
    done = subprocess.run(
        [sys.executable, "-c", stopped, "export", "XAUUSD", "-o", output],
        cwd=world.folder,
        env={**BARE, "POLYGON_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (130, 1)
    assert says in done.stderr


class TestMemory:
    """A process of its own, as the system counts its memory. `ru_maxrss` would count what this one had
    when it forked."""

    COUNT = (
        "import re, runpy, sys, atexit\n"
        "used = lambda: re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
        "atexit.register(lambda: print(int(used()) // 1024, file=sys.stderr))\n"
        "sys.argv = ['assetbatch', *sys.argv[1:]]\n"
        "runpy.run_module('assetbatch', run_name='__main__')\n"
    )

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
    @pytest.mark.parametrize("file", ["bars.csv", "bars.parquet"])
    def test_does_not_grow_with_the_bars(self, world: World, file: str) -> None:
        if file.endswith(".parquet"):
            pytest.importorskip("pyarrow")
        with psycopg.connect(world.database_url) as connection:
            connection.execute(
                "INSERT INTO market_data.ohlcv_1m"
                " SELECT s.id, timestamptz '2024-01-01' + n * interval '1 min', 1, 2, 1, 2, 4, 1, 3"
                " FROM trading.symbols s CROSS JOIN generate_series(1, 300000) n WHERE s.symbol = 'XAUUSD'"
            )
        few = self.megabytes(world, "--size", "1m", "--to", "2024-01-31", "-o", file)
        many = self.megabytes(world, "--size", "1m", "-o", file)
        assert many < few + 15
        assert many < 150

    def megabytes(self, world: World, *arguments: str) -> int:
        """The most memory that an export has held."""
        world.config()
        done = subprocess.run(
            [sys.executable, "-c", self.COUNT, "export", "XAUUSD", *arguments],
            cwd=world.folder,
            env={**BARE, "POLYGON_API_KEY": KEY},
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stderr)
