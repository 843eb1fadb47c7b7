"""A million bars into files: `export` beside COPY to CSV and `pandas.read_sql().to_parquet`.

    python -m benchmarks.export [--symbols 4] [--bars-each 250000] [--repeat 3] [--database-url URL]

Each way is a process of its own, in turns: seconds from its start to its end, its CPU time and its peak
memory, as the system counts them. The server's work is in the seconds and not in the CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.bars import benchmark_database, surroundings
from benchmarks.derived import fill

COPY = """
import sys, psycopg
with psycopg.connect(sys.argv[1]) as connection, open(sys.argv[2], "wb") as file:
    with connection.cursor().copy(
        "COPY (SELECT s.symbol, b.ts, b.open, b.high, b.low, b.close, b.volume, b.vwap, b.trades"
        " FROM market_data.ohlcv_5m b JOIN trading.symbols s ON s.id = b.symbol_id ORDER BY s.id, b.ts)"
        " TO STDOUT (FORMAT csv, HEADER)"
    ) as rows:
        for row in rows:
            file.write(row)
"""
PANDAS = """
import sys, pandas, sqlalchemy
engine = sqlalchemy.create_engine(sys.argv[1].replace("postgresql://", "postgresql+psycopg://"))
pandas.read_sql(
    "SELECT s.symbol, b.ts, b.open, b.high, b.low, b.close, b.volume, b.vwap, b.trades"
    " FROM market_data.ohlcv_5m b JOIN trading.symbols s ON s.id = b.symbol_id ORDER BY s.id, b.ts",
    engine,
).to_parquet(sys.argv[2])
"""


class Cost(NamedTuple):
    """Of one process."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def cost(command: Sequence[str], cwd: Path) -> Cost:
    """Run a process to its end."""
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    peak = used.ru_maxrss / 1024 if sys.platform == "linux" else used.ru_maxrss / 2**20
    return Cost(time.perf_counter() - started, used.ru_utime + used.ru_stime, peak)


def ways(folder: Path, url: str) -> Mapping[str, tuple[Sequence[str], Callable[[], None]]]:
    """Each way with what is done before it."""
    ours = [sys.executable, "-m", "assetbatch", "--config", "config.yml", "export", "--all"]
    out = folder / "out"

    def nothing() -> None:
        pass

    def empty() -> None:
        shutil.rmtree(out, ignore_errors=True)

    return {
        "`export -o bars.csv`": ([*ours, "-o", "bars.csv"], nothing),
        "COPY to CSV, psycopg": ([sys.executable, "-c", COPY, url, "copy.csv"], nothing),
        "`export -o bars.parquet`": ([*ours, "-o", "bars.parquet"], nothing),
        "`pandas.read_sql().to_parquet()`": ([sys.executable, "-c", PANDAS, url, "p.parquet"], nothing),
        "`export --size 1h -o bars.parquet`": ([*ours, "--size", "1h", "-o", "hours.parquet"], nothing),
        "`export --format parquet -o out/`": ([*ours, "--format", "parquet", "-o", "out/"], empty),
        "the same again, nothing changed": ([*ours, "--format", "parquet", "-o", "out/"], nothing),
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="a million bars into files, beside other ways")
    parser.add_argument("--symbols", type=int, default=4, help="symbols with bars")
    parser.add_argument("--bars-each", type=int, default=250_000, help="bars of each")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions, of which the least counts")
    parser.add_argument("--database-url", help="an empty database; default: a server of our own")
    options = parser.parse_args()
    with benchmark_database(options.database_url) as url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(url, options.symbols, options.bars_each, by_month=False)
        assets = [
            {"symbol": f"S{n}", "polygon_ticker": f"C:S{n}", "asset_type": "forex"}
            for n in range(options.symbols)
        ]
        document = {"secondary_assets": assets, "database": {"url": url}}
        (folder / "config.yml").write_text(json.dumps(document))
        contenders = ways(folder, url)
        taken: dict[str, list[Cost]] = {way: [] for way in contenders}
        for _ in range(options.repeat):
            for way, (command, before) in contenders.items():
                before()
                taken[way].append(cost(command, folder))
        print(surroundings(url))
        total = options.symbols * options.bars_each
        print(f"\n{total:,} bars of {options.symbols} symbols, least of {options.repeat}\n")
        print("| way | seconds | CPU seconds | peak memory, MB |")
        print("|---|--:|--:|--:|")
        for way, costs in taken.items():
            least = [min(values) for values in zip(*costs, strict=True)]
            print(f"| {way} | {least[0]:.1f} | {least[1]:.1f} | {max(one.megabytes for one in costs):.0f} |")


if __name__ == "__main__":
    main()
