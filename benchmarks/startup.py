"""What a start costs: CPU time of commands beside the bare interpreter, a minimal program and others' tools.

The minimal program is what one would write first: Typer, `yaml.load` of the same file, one `PING`. A full
`run-priority` (three crypto assets, whose market never closes, by one snapshot) stands beside a minimal
cycle: the same libraries, the same call to the same simulated provider, the same rows and events. Beside both
stands a program that repeats the call, the commands and the statements of our cycle, recorded beforehand
(`benchmarks/recording.py`). Contenders take turns, round by round, so that what else the machine does hits
all of them; the smallest and the median of their CPU times (user and system) are printed, and the ratio to
the minimal program. The peers only print their version: they do less than an idle run-queue does. Run from
the repository's root:

    python -m benchmarks.startup [--rounds 15]
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # started by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Mapping

import psycopg
import yaml
from benchmarks.limiter import surroundings
from benchmarks.recording import SAME_STEPS
from benchmarks.wide import Provider

from assetbatch.embedded import EmbeddedServers

MINIMAL = """
import typer

app = typer.Typer()


@app.command()
def ping(config: str, url: str) -> None:
    import redis
    import yaml

    with open(config) as file:
        yaml.load(file, Loader=yaml.CSafeLoader)
    redis.Redis.from_url(url).ping()


app()
"""

MINIMAL_CYCLE = """
import json
import time
import uuid

import typer

app = typer.Typer()


@app.command()
def cycle(config: str, redis_url: str, database_url: str, base_url: str) -> None:
    import psycopg
    import redis
    import requests
    import yaml

    with open(config) as file:
        assets = yaml.load(file, Loader=yaml.CSafeLoader)["priority_assets"]
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    token, now = uuid.uuid4().hex, time.time()
    if not client.set("minimal:lock", token, nx=True, ex=60):
        return
    client.hset("minimal:job", mapping={"last_started": now})
    with psycopg.connect(database_url) as connection:
        symbols = [asset["symbol"] for asset in assets]
        connection.execute(
            "SELECT s.symbol, s.metadata, d.last_sync_timestamp FROM trading.symbols s"
            " LEFT JOIN data_sources.data_sync_status d ON d.ticker_id = s.id WHERE s.symbol = ANY (%s)",
            [symbols],
        ).fetchall()
        client.zremrangebyscore("minimal:window", 0, now - 60)
        if client.zcard("minimal:window") >= 100:
            return
        client.zadd("minimal:window", {token: now})
        answer = requests.get(
            f"{base_url}/v3/snapshot",
            params={"ticker.any_of": ",".join(asset["polygon_ticker"] for asset in assets), "limit": 250},
            headers={"Authorization": "Bearer made-up"},
            timeout=10,
        )
        answer.raise_for_status()
        by_ticker = {asset["polygon_ticker"]: asset["symbol"] for asset in assets}
        prices = []
        for entry in answer.json()["results"]:
            session = entry["session"]
            price = {
                "bid": entry.get("last_quote", {}).get("bid"),
                "ask": entry.get("last_quote", {}).get("ask"),
                "last_price": entry["last_trade"]["price"],
                **{f"daily_{name}": session[name] for name in ("open", "high", "low", "close")},
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
            prices.append((by_ticker[entry["ticker"]], price))
        for symbol, price in prices:
            connection.execute(
                "UPDATE trading.symbols SET metadata = metadata ||"
                " jsonb_build_object('last_update', %s::jsonb), updated_at = now() WHERE symbol = %s",
                [json.dumps(price), symbol],
            )
            connection.execute(
                "INSERT INTO data_sources.data_sync_status"
                " (ticker_id, provider_id, last_sync_timestamp, sync_status, updated_at)"
                " SELECT s.id, p.id, now(), 'success', now()"
                " FROM trading.symbols s, data_sources.api_providers p"
                " WHERE s.symbol = %s AND p.code = 'polygon'"
                " ON CONFLICT (ticker_id, provider_id) DO UPDATE SET last_sync_timestamp = now(),"
                " sync_status = 'success', updated_at = now()",
                [symbol],
            )
    for symbol, price in prices:
        client.publish(f"asset:update:{symbol}", json.dumps({"symbol": symbol, **price}))
    client.hset("minimal:job", mapping={"last_finished": time.time(), "last_result": "ok"})
    client.delete("minimal:lock")


app()
"""
# It takes a lock, looks at what is stored, counts its call in a window, and notes start and end. It does not
# wait, keep its deadline, decide whether anything is due or newer, doubt the answer, learn of the plan, lock
# rows, reserve slots, measure itself, or say in words what went wrong.

UNCOLLECTED = """
import atexit
import gc

gc.set_threshold(200_000)
atexit.register(gc.freeze)
"""
# What our command line does about garbage, before a minimal program: it shows what all the rest costs.

PEERS = {
    "rq --version": ["rq", "--version"],
    "sqlite-utils --version": ["sqlite-utils", "--version"],
    "borgmatic --version": ["borgmatic", "--version"],
    "dlt --version": ["dlt", "--version"],
}
IDLE, MINIMAL_NAME = "run-queue, idle", "minimal program"
CYCLE, MINIMAL_CYCLE_NAME, SAME = "run-priority, a cycle", "minimal cycle", "the same steps"
CALLING = (CYCLE, MINIMAL_CYCLE_NAME, SAME, f"{SAME}, uncollected")
AIMS = ((IDLE, MINIMAL_NAME, 1.10), (CYCLE, SAME, 1.15), (CYCLE, MINIMAL_CYCLE_NAME, 1.15))


def cpu_ms(command: list[str], env: dict[str, str]) -> float:
    """CPU time of one run, in ms; raises CalledProcessError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=env, check=False, capture_output=True)
    if done.returncode > 1:  # 1: status --check warns that nothing was started yet
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def make_due(database_url: str) -> None:
    """Lets an hour pass since every success."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE data_sources.assetbatch_sync SET last_success_at = now() - interval '1 hour',"
            " status_at = now() - interval '1 hour'"
        )


def idle_config(base_url: str) -> str:
    """Return the shipped configuration with nothing to queue, since the first run-queue fills a new queue."""
    shipped = (Path(__file__).resolve().parents[1] / "config.yml").read_text(encoding="utf-8")
    document = yaml.safe_load(shipped)
    for asset in document["secondary_assets"]:
        asset["enabled"] = False
    document["provider"] = {**(document.get("provider") or {}), "base_url": base_url}
    return str(yaml.safe_dump(document))


def cycle_config(folder: Path, base_url: str) -> Path:
    """A configuration of three prices by snapshot on a plan without a limit."""
    asset = {"asset_type": "crypto", "bars": False, "update_frequency_seconds": 60}
    names = ("BTCUSD", "ETHUSD", "SOLUSD")
    document = {
        "priority_assets": [{"symbol": name, "polygon_ticker": f"X:{name}", **asset} for name in names],
        "secondary_assets": [],
        "rate_limiting": {"tier": "starter"},
        "provider": {"base_url": base_url},
        "redis": {"prefix": "{cycle}"},
    }
    path = folder / "cycle.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def measure(
    contenders: Mapping[str, list[str]],
    env: dict[str, str],
    rounds: int,
    provider: Provider,
    database_url: str,
) -> dict[str, list[float]]:
    """CPU times in ms of each contender, in turns."""
    measured: dict[str, list[float]] = {contender: [] for contender in contenders}
    for contender, command in contenders.items():
        make_due(database_url)
        cpu_ms(command, env)  # writes bytecode, fills caches
        measured[contender].clear()
    for _ in range(rounds):
        for contender, command in contenders.items():
            arrived = provider.arrived
            if contender in CALLING:
                make_due(database_url)
            measured[contender].append(cpu_ms(command, env))
            if provider.arrived - arrived != (contender in CALLING):
                raise SystemExit(f"{contender}: {provider.arrived - arrived} calls: nothing was measured")
    return measured


def report(measured: Mapping[str, list[float]]) -> None:
    """Prints the table and the aims."""
    print(f"\n| {'CPU ms of one start':28} | smallest | median | to the minimal program |")
    print(f"|{'-' * 30}|---------:|-------:|-----------------------:|")
    base = statistics.median(measured[MINIMAL_NAME])
    for contender, values in measured.items():
        middle = statistics.median(values)
        print(f"| {contender:28} | {min(values):8.0f} | {middle:6.0f} | {middle / base:22.2f} |")
    print()
    for ours, beside, aim in AIMS:
        ratio = statistics.median(measured[ours]) / statistics.median(measured[beside])
        least = min(measured[ours]) / min(measured[beside])
        verdict = "held" if ratio <= aim else "NOT held"
        print(f"{ours}: at most {aim} times {beside}: {ratio:.2f} ({least:.2f} of the least), {verdict}")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    bin_folder = Path(sys.executable).parent
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedServers(Path(name) / "servers") as servers,
        Provider() as provider,
    ):
        folder = Path(name)
        config = folder / "config.yml"
        config.write_text(idle_config(provider.base_url), encoding="utf-8")
        for name_of, text in (("minimal", MINIMAL), ("cycle", MINIMAL_CYCLE), ("same", SAME_STEPS)):
            (folder / f"{name_of}.py").write_text(text, encoding="utf-8")
            (folder / f"{name_of}_uncollected.py").write_text(UNCOLLECTED + text, encoding="utf-8")
        steps = folder / "steps"
        of_cycle = cycle_config(folder, provider.base_url)
        urls = [servers.redis_url(), servers.database_url(), provider.base_url]
        env = {
            **os.environ,
            "ASSETBATCH_CONFIG": str(config),
            "POLYGON_API_KEY": "made-up",
            "REDIS_URL": servers.redis_url(),
            "DATABASE_URL": servers.database_url(),
            "HOME": name,
        }
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode
        program = str(bin_folder / "assetbatch")
        for file in (config, of_cycle):
            subprocess.run([program, "--config", file, "init"], env=env, check=True, capture_output=True)
        of_minimal = [str(config), servers.redis_url()]
        of_same = [str(of_cycle), *urls[:2], str(steps)]
        contenders = {
            "bare interpreter": [sys.executable, "-c", "pass"],
            MINIMAL_NAME: [sys.executable, f"{folder}/minimal.py", *of_minimal],
            f"{MINIMAL_NAME}, uncollected": [sys.executable, f"{folder}/minimal_uncollected.py", *of_minimal],
            IDLE: [program, "run-queue"],
            MINIMAL_CYCLE_NAME: [sys.executable, f"{folder}/cycle.py", str(of_cycle), *urls],
            SAME: [sys.executable, f"{folder}/same.py", *of_same],
            f"{SAME}, uncollected": [sys.executable, f"{folder}/same_uncollected.py", *of_same],
            CYCLE: [program, "--config", str(of_cycle), "run-priority"],
            "status --json": [program, "status", "--json"],
            "status --check": [program, "status", "--check"],
            "--version": [program, "--version"],
            "--help": [program, "--help"],
        }
        absent = []
        for peer, command in PEERS.items():
            found = bin_folder / command[0]
            if found.exists():
                contenders[peer] = [str(found), *command[1:]]
            else:
                absent.append(command[0])
        recorded = [sys.executable, "-m", "benchmarks.recording", str(steps), *contenders[CYCLE][1:]]
        subprocess.run(recorded, env=env, check=True, capture_output=True)
        about = surroundings(servers.redis_url(), ["typer", "redis", "pyyaml", "msgspec"])
        measured = measure(contenders, env, rounds, provider, servers.database_url())
    print(about)
    report(measured)
    if absent:
        print(f"not installed, so not measured: {', '.join(absent)}")


if __name__ == "__main__":
    main()
