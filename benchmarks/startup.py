"""What a start costs: CPU time of commands beside the bare interpreter, a minimal program and others' tools.

The minimal program is what one would write first: Typer, `yaml.load` of the same file, one `PING`. Contenders
take turns, round by round, so that what else the machine does hits all of them; the smallest and the median
of their CPU times (user and system) are printed, and the ratio to the minimal program. The peers only print
their version: they do less than an idle run-queue does. Run from the repository's root:

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
import shutil
import statistics
import subprocess
import tempfile

from benchmarks.limiter import surroundings

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

PEERS = {
    "rq --version": ["rq", "--version"],
    "sqlite-utils --version": ["sqlite-utils", "--version"],
    "borgmatic --version": ["borgmatic", "--version"],
    "dlt --version": ["dlt", "--version"],
}
IDLE_RATIO = 1.15


def cpu_ms(command: list[str], env: dict[str, str]) -> float:
    """CPU time of one run, in ms; raises CalledProcessError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=env, check=False, capture_output=True)
    if done.returncode > 1:  # 1: status --check warns that nothing was started yet
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    bin_folder = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as name, EmbeddedServers(Path(name) / "servers") as servers:
        folder = Path(name)
        config = folder / "config.yml"
        shutil.copy(Path(__file__).resolve().parents[1] / "config.yml", config)
        minimal = folder / "minimal.py"
        minimal.write_text(MINIMAL, encoding="utf-8")
        env = {
            **os.environ,
            "ASSETBATCH_CONFIG": str(config),
            "POLYGON_API_KEY": "made-up",
            "REDIS_URL": servers.redis_url(),
            "DATABASE_URL": servers.database_url(),
            "HOME": name,
        }
        program = str(bin_folder / "assetbatch")
        subprocess.run([program, "init"], env=env, check=True, capture_output=True)
        contenders = {
            "bare interpreter": [sys.executable, "-c", "pass"],
            "minimal program": [sys.executable, str(minimal), str(config), servers.redis_url()],
            "run-queue, idle": [program, "run-queue"],
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
        about = surroundings(servers.redis_url(), ["typer", "redis", "pyyaml", "msgspec"])
        measured: dict[str, list[float]] = {contender: [] for contender in contenders}
        for contender, command in contenders.items():
            cpu_ms(command, env)  # writes bytecode, fills caches
            measured[contender].clear()
        for _ in range(rounds):
            for contender, command in contenders.items():
                measured[contender].append(cpu_ms(command, env))
    print(about)
    print(f"\n| {'CPU ms of one start':24} | smallest | median | to the minimal program |")
    print(f"|{'-' * 26}|---------:|-------:|-----------------------:|")
    base = statistics.median(measured["minimal program"])
    for contender, values in measured.items():
        middle = statistics.median(values)
        print(f"| {contender:24} | {min(values):8.0f} | {middle:6.0f} | {middle / base:22.2f} |")
    ratio = statistics.median(measured["run-queue, idle"]) / base
    verdict = "held" if ratio <= IDLE_RATIO else "NOT held"
    print(f"\nidle run-queue at most {IDLE_RATIO} times the minimal program: {ratio:.2f}, {verdict}")
    if absent:
        print(f"not installed, so not measured: {', '.join(absent)}")


if __name__ == "__main__":
    main()
