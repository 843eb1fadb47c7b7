"""A whole market by rule: its members looked up, a day of all of them stored, `status` and the page.

The provider is a process of its own that answers at once with texts that were made before: what is measured
are the commands and the database. Each run is that of a new process with its libraries loaded, timed from its
first line to its end; `status` is the whole command with the start of Python. Run from the repository's root:

    python -m benchmarks.rules [--stocks 12500] [--repeat 5] [--database-url URL] [--redis-url URL]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
from benchmarks.bars import benchmark_database
from benchmarks.limiter import benchmark_server, surroundings
from benchmarks.page import CLIENTS, KEPT_SECONDS, crowd, page, server
from benchmarks.wide import KEY, Run, new_database, read_config, start

from assetbatch.commands.init import initialise
from assetbatch.services import Services

_spawn = multiprocessing.get_context("spawn")


def tickers(count: int) -> list[str]:
    """So many tickers, ascending."""
    return sorted(
        f"{chr(65 + n // 17576 % 26)}{chr(65 + n // 676 % 26)}{chr(65 + n // 26 % 26)}{chr(65 + n % 26)}"
        for n in range(count)
    )


def day_of_all(names: list[str]) -> bytes:
    """A grouped day, as long as the provider's."""
    rows = ",".join(
        f'{{"T":"{name}","v":{1_234_567 + n},"vw":{10 + n / 100:.4f},"o":{10 + n / 100:.2f},'
        f'"c":{10.1 + n / 100:.2f},"h":{10.3 + n / 100:.2f},"l":{9.8 + n / 100:.2f},"t":1795122000000,'
        f'"n":{4321 + n}}}'
        for n, name in enumerate(names)
    )
    return (
        f'{{"queryCount":{len(names)},"resultsCount":{len(names)},"adjusted":false,"results":[{rows}],'
        '"status":"OK","request_id":"r","count":1}'
    ).encode()


def page_of(names: list[str], first: str) -> bytes:
    """A page of tickers from one on."""
    rest = [name for name in names if name >= first]
    rows = [
        {"ticker": name, "name": f"{name} Inc.", "market": "stocks", "locale": "us", "type": "CS"}
        | {"primary_exchange": "XNYS", "active": True}
        for name in rest[:1000]
    ]
    more = {"next_url": "https://api.massive.com/v3/reference/tickers?cursor=x"} if rest[1000:] else {}
    return json.dumps({"status": "OK", "results": rows, **more}).encode()


def serve(count: int, pipe: Connection) -> None:
    """Answers from another process."""
    names = tickers(count)
    day = day_of_all(names)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/v3/reference/tickers":
                body = page_of(names, parse_qs(url.query).get("ticker.gte", [""])[0])
            elif "/grouped/" in url.path:
                body = day
            elif "/upcoming" in url.path:
                body = b"[]"
            else:
                body = b'{"status":"OK","results":[]}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(server.server_address[1])
    server.serve_forever()


def install(folder: Path, database_url: str, redis_url: str, base_url: str) -> Path:
    """A configuration with one rule; its file."""
    document = {
        "priority_assets": [],
        "secondary_assets": [{"every": "stocks", "priority": "LOW", "bars": "none", "years_of_days": 0}],
        "rate_limiting": {"tier": "free", "calls_per_minute": 1000},
        "database": {"url": database_url},
        "redis": {"url": redis_url},
        "provider": {"base_url": base_url},
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(document))
    with Services(read_config(path)) as services:
        initialise(services)
    return path


def make_due(database_url: str) -> None:
    """Lets a day pass for every stock."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE data_sources.assetbatch_sync SET as_of = NULL, last_success_at = NULL,"
            " status_at = now() - interval '3 days'"
        )
        connection.execute("UPDATE trading.symbols SET metadata = '{}'")
        connection.execute("DELETE FROM market_data.ohlcv_1d")


def command(path: Path, *arguments: str) -> Run:
    """One whole command, with the start of Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "assetbatch", "--config", str(path), *arguments],
        env={**os.environ, "POLYGON_API_KEY": KEY},
        capture_output=True,
        text=True,
    )
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, cpu, 0.0, {"lines": done.stdout.count("\n")})


def line(what: str, runs: list[Run]) -> str:
    """A row of the table."""
    ms, cpu = [1000 * one.seconds for one in runs], [1000 * one.cpu_seconds for one in runs]
    peak = max(one.peak_mb for one in runs)
    figures = " | ".join(f"{statistics.median(some):.0f} | {min(some):.0f}" for some in (ms, cpu))
    return f"| {what} | {figures} | {f'{peak:.0f}' if peak else ''} |"


def main() -> None:
    """Prints what a market by rule takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stocks", type=int, default=12_500)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--database-url")
    parser.add_argument("--redis-url")
    options = parser.parse_args()
    with ExitStack() as stack:
        server_url = stack.enter_context(benchmark_database(options.database_url))
        redis_url = stack.enter_context(benchmark_server(options.redis_url))
        print(surroundings(redis_url, ["assetbatch", "psycopg", "msgspec"]))
        pipe, child = _spawn.Pipe()
        provider = _spawn.Process(target=serve, args=(options.stocks, child), daemon=True)
        provider.start()
        stack.callback(provider.terminate)
        base_url = f"http://127.0.0.1:{pipe.recv()}"
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        url = stack.enter_context(new_database(server_url))
        path = install(folder, url, redis_url, base_url)
        print(f"\n{options.stocks:,} stocks\n\n| what | ms | least | CPU ms | least | MB |")
        print("|---|--:|--:|--:|--:|--:|")
        print(line("the look-up of all members, registered (enqueue-secondary, run-queue)", looked_up(path)))
        for name in ("enqueue-secondary", "run-queue"):  # the splits of the new stocks are asked for once
            start(path, name)
        rows: dict[str, list[Run]] = {}
        for number in range(options.repeat + 1):
            make_due(url)
            for name in ("enqueue-secondary", "run-queue"):
                one = start(path, name)
                if number:
                    rows.setdefault(name, []).append(one)
            expected = {"calls": 1, "assets": options.stocks, "published": options.stocks}
            if not expected.items() <= one.result.items():
                raise SystemExit(f"{one.result}: nothing was measured")
            for name, arguments in (("status", ["status"]), ("status --json", ["status", "--json"])):
                rows.setdefault(name, []).append(command(path, *arguments))
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT count(*) FROM market_data.ohlcv_1d").fetchone()
        if found != (options.stocks,):
            raise SystemExit(f"{found} days: nothing was measured")
        for number in range(options.repeat + 1):
            for name, run in paged(path).items():
                if number:
                    rows.setdefault(name, []).append(run)
        names = {"run-queue": "run-queue: a day of all, asked for, stored and published"}
        for name, runs in rows.items():
            print(line(names.get(name, name), runs))
        answers, peak = crowd(path)
        print(f"\n{CLIENTS} clients of `serve` at once: {peak:.0f} MB at most; answers: {answers}")


def paged(path: Path) -> dict[str, Run]:
    """The page of a server that has just started, and one that is made anew."""
    found = {}
    with server(path) as (pid, address):
        for name in ("the page, first", "the page, following"):
            one, text = page(pid, address)
            found[name] = Run(one.seconds, one.cpu_seconds, one.peak_mb, {"bytes": len(text)})
            time.sleep(KEPT_SECONDS + 0.1)
    return found


def looked_up(path: Path) -> list[Run]:
    """The first walk."""
    one, two = start(path, "enqueue-secondary"), start(path, "run-queue")
    if not re.fullmatch("ok", str(two.result["result"])):
        raise SystemExit(f"{two.result}: nothing was measured")
    both = Run(one.seconds + two.seconds, one.cpu_seconds + two.cpu_seconds, two.peak_mb, two.result)
    return [both]


if __name__ == "__main__":
    main()
