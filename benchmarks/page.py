"""What a person and a monitor wait for with 10,000 assets: `status` in its forms, and the page of `serve`.

Each asset has a price, an outcome, an interval of coverage and a day of bars, written as a cycle writes them.
Every command is a new process, timed from its start to its end. The page is asked for as a browser asks: the
first is that of a server that has just started, the following ones are each made anew. The contenders take
turns. At the end clients ask a server for everything at once, for its memory. Run from the repository's root:

    python -m benchmarks.page [--assets 10000] [--repeat 7] [--database-url URL] [--redis-url URL]
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import psycopg
import yaml
from benchmarks.bars import benchmark_database
from benchmarks.limiter import benchmark_server, surroundings

from assetbatch.commands.init import initialise
from assetbatch.config import load
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.models import BAR_MS, Bar, Changes, CoveredInterval, IntervalState, Outcome, Price
from assetbatch.domain.status import Status
from assetbatch.domain.units import DAY_MS
from assetbatch.services import Services

KEY = "made-up-key"
PRIORITY = 20
TOGETHER = 250
"""Number of assets that are stored in one transaction."""

PROGRAM = (sys.executable, "-m", "assetbatch")
KEPT_SECONDS = 1.0
"""Seconds for which `serve` keeps a document here; longer than that lies between two questions."""

POLL_SECONDS = 0.005

CLIENTS = 12
CROWD_SECONDS = 30.0
"""Number of clients that ask a server at once, and for how long."""


class Took(NamedTuple):
    """What one command or answer took: seconds of the clock, CPU seconds, most memory, and bytes it gave."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    size: int


def configure(folder: Path, database_url: str, redis_url: str, assets: int) -> Path:
    """Write a configuration of so many assets with bars; return its file."""
    names = ["".join(chr(65 + n // 26**place % 26) for place in (3, 2, 1, 0)) + "USD" for n in range(assets)]
    described = [
        {"symbol": name, "polygon_ticker": f"X:{name}", "asset_type": AssetType.CRYPTO.value}
        for name in names
    ]
    document = {
        "priority_assets": described[:PRIORITY],
        "secondary_assets": described[PRIORITY:],
        "rate_limiting": {"tier": "starter"},
        "queue": {"max_size": 50_000},
        "database": {"url": database_url},
        "redis": {"url": redis_url, "prefix": "{page}"},
    }
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def bars_of(number: int, end_ms: int) -> list[Bar]:
    """Return a day of bars of one asset, whose price wanders."""
    chance = Random(number)
    close, bars = chance.uniform(0.1, 50_000.0), []
    for place in range(288):
        close *= chance.uniform(0.998, 1.002)
        start_ms = end_ms - (288 - place) * BAR_MS
        bars.append(Bar(start_ms, close, close * 1.001, close * 0.999, close, 12.5, close, 7))
    return bars


def fill(path: Path, database_url: str) -> None:
    """Store of each asset what a cycle stores."""
    with Services(load(path, {"POLYGON_API_KEY": KEY}, cwd=path.parent)) as services:
        initialise(services)
        now_ms = services.now_ms()
        end_ms = now_ms - now_ms % BAR_MS
        symbols = [asset.symbol for asset in services.config.assets]
        for first in range(0, len(symbols), TOGETHER):
            bars = {
                symbol: bars_of(first + place, end_ms)
                for place, symbol in enumerate(symbols[first : first + TOGETHER])
            }
            services.store.save(
                Changes(
                    prices=[
                        Price(
                            symbol=symbol, last_price=some[-1].close, as_of_ms=end_ms, daily_open=some[0].open
                        )
                        for symbol, some in bars.items()
                    ],
                    bars=bars,
                    coverage={
                        symbol: [CoveredInterval(end_ms - DAY_MS, end_ms, IntervalState.ASKED, now_ms)]
                        for symbol in bars
                    },
                    outcomes=[Outcome(symbol, Status.SUCCESS) for symbol in bars],
                ),
                now_ms,
            )
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def environment() -> dict[str, str]:
    """Return what the commands see of ours, with a key that nobody gave out."""
    return {**os.environ, "POLYGON_API_KEY": KEY}


def command(path: Path, *words: str) -> Took:
    """Start a command, and wait for its end."""
    started, most = time.perf_counter(), 0.0
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            [*PROGRAM, "--config", str(path), *words], env=environment(), stdout=out, cwd=path.parent
        )
        while True:
            pid, code, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            most = max(most, peak_mb(process.pid))  # not ru_maxrss, which begins with that of its parent
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(code)
        size = out.seek(0, os.SEEK_END)
    if process.returncode > 2 or not size:
        raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}: nothing was measured")
    return Took(seconds, used.ru_utime + used.ru_stime, most, size)


@contextmanager
def server(path: Path) -> Iterator[tuple[int, str]]:
    """Start `serve`; give its process id and its address."""
    refresh = str(int(KEPT_SECONDS))
    process = subprocess.Popen(
        [*PROGRAM, "--config", str(path), "serve", "--port", "0", "--refresh", refresh],
        env=environment(),
        stdout=subprocess.PIPE,
        cwd=path.parent,
        text=True,
    )
    assert process.stdout, "it is a pipe"
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found, "it says where it listens"
    try:
        yield process.pid, found[0]
    finally:
        process.terminate()
        process.wait()


def page(pid: int, address: str) -> tuple[Took, str]:
    """Ask for the page as a browser does; return it too."""
    asked = urllib.request.Request(address, headers={"Accept-Encoding": "gzip"})
    before, started = cpu_seconds(pid), time.perf_counter()
    with urllib.request.urlopen(asked) as answer:
        body = answer.read()
        seconds = time.perf_counter() - started
        packed = answer.headers["Content-Encoding"] == "gzip"
    text = (gzip.decompress(body) if packed else body).decode()
    return Took(seconds, cpu_seconds(pid) - before, peak_mb(pid), len(body)), text


def crowd(path: Path) -> tuple[dict[str, int], float]:
    """Let clients ask a server for all documents at once, half of them without gzip, while its configuration
    is read again; return the number of answers by document, and the most memory of the server (MB)."""
    until, answers = time.monotonic() + CROWD_SECONDS, dict.fromkeys(("", "health/batch", "metrics"), 0)
    with server(path) as (pid, address), ThreadPoolExecutor(CLIENTS) as pool:

        def ask(number: int) -> None:
            document = list(answers)[number % len(answers)]
            headers = {"Accept-Encoding": "gzip"} if number % 2 else {}
            while time.monotonic() < until:
                try:
                    with urllib.request.urlopen(
                        urllib.request.Request(address + document, headers=headers)
                    ) as answer:
                        answer.read()
                except urllib.error.HTTPError as error:
                    error.read()
                answers[document] += 1

        asking = [pool.submit(ask, number) for number in range(CLIENTS)]
        while time.monotonic() < until:
            time.sleep(5)
            os.utime(path)
        for one in asking:
            one.result()
        return answers, peak_mb(pid)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """Return the most memory that a process ever had; 0 where it has just ended."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


COMMANDS = (("status",), ("status", "--json"), ("status", "--check"))
FIRST, FOLLOWING = "the page, first", "the page, following"


def measure(path: Path, assets: int, repeat: int) -> None:
    """Print the table."""
    names = [*(" ".join(words) for words in COMMANDS), FIRST, FOLLOWING]
    rows: dict[str, list[Took]] = {name: [] for name in names}
    lines, whole = 0, 0
    for number in range(repeat + 1):
        taken = {" ".join(words): command(path, *words) for words in COMMANDS}
        with server(path) as (pid, address):
            taken[FIRST], _ = page(pid, address)
            time.sleep(KEPT_SECONDS + 0.1)
            taken[FOLLOWING], text = page(pid, address)
        lines, whole = text.count('<td class="line"><svg'), len(text.encode())
        if number:  # the first warms up
            for name, took in taken.items():
                rows[name].append(took)
    print(f"\n{assets:,} assets with bars, medians of {repeat}\n")
    print("| | ms | least | CPU ms | most memory, MB | MB sent |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, all_of in rows.items():
        print(
            f"| {name} | {median([one.seconds for one in all_of]):.0f} "
            f"| {min(one.seconds for one in all_of) * 1000:.0f} "
            f"| {median([one.cpu_seconds for one in all_of]):.0f} | {max(one.peak_mb for one in all_of):.0f} "
            f"| {max(one.size for one in all_of) / 1e6:.2f} |"
        )
    answers, peak = crowd(path)
    print(f"\n{CLIENTS} clients at once for {CROWD_SECONDS:.0f} s: {peak:.0f} MB at most; answers: {answers}")
    print(f"\nThe page has {whole / 1e6:.1f} MB unpacked, and draws the newest day of {lines:,} assets.")


def median(seconds: Sequence[float]) -> float:
    """Return the median in milliseconds."""
    return statistics.median(seconds) * 1000


def main() -> None:
    """Fill the tables, and measure."""
    parser = argparse.ArgumentParser(description="status and the page of many assets")
    parser.add_argument("--assets", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=7, help="repetitions, of which the median counts")
    parser.add_argument("--database-url", help="an empty database; default: a server of our own")
    parser.add_argument("--redis-url", help="an empty database; default: a server of our own")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        benchmark_database(options.database_url) as database_url,
        benchmark_server(options.redis_url) as redis_url,
    ):
        print(surroundings(redis_url, ("assetbatch", "psycopg", "redis", "waitress")))
        path = configure(Path(folder), database_url, redis_url, options.assets)
        fill(path, database_url)
        measure(path, options.assets, options.repeat)


if __name__ == "__main__":
    main()
