"""An hour in which everything breaks in turn, played in minutes: what cron mails, and that all of it heals.

Redis and PostgreSQL are real ones of this test's own, the simulated provider is asked over HTTP, and the
lines are those of crontab.example.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from assetbatch.embedded import EmbeddedServers
from assetbatch.sandbox.universe import instruments
from tests import program
from tests.commands.test_ends import attempts
from tests.conftest import MEMORY
from tests.failures.start import environment
from tests.own_redis import OwnServer, own_server
from tests.world import RealClock, World

from .cron import Clock, Mail, lines_of

__all__ = ["own_server"]

TWO_MINUTES = 120
INTERVAL_SECONDS = 60
UNIVERSE = 2500
COINS = [ticker for ticker in instruments(UNIVERSE) if ticker.startswith("X:")]
PRIORITY, SECONDARY = COINS[:3], COINS[3:43]
COMMANDS = {"run-priority", "run-queue", "enqueue-secondary"}


def crypto(tickers: list[str], *, bars: bool = False) -> list[dict[str, Any]]:
    """Assets whose market is always open, due at every start."""
    return [
        {
            "symbol": ticker.removeprefix("X:"),
            "polygon_ticker": ticker,
            "asset_type": "crypto",
            "update_frequency_seconds": 1,
            "bars": bars,
        }
        for ticker in tickers
    ]


class PostgreSQL:
    """A server of this test's own, which can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers = EmbeddedServers(folder)
        self.url = self._servers.database_url()

    def stop(self) -> None:
        self._servers.close()

    def start(self) -> None:
        self._servers = EmbeddedServers(self._folder)
        self._servers.database_url()

    def run(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(b"SET default_transaction_read_only = off")
            connection.execute(statement.encode())


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    with TemporaryDirectory(prefix="hour-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        server = PostgreSQL(Path(folder))
        yield server
        server.stop()


@pytest.fixture
def redis_server(own_server: Callable[..., OwnServer]) -> OwnServer:
    return own_server("--appendonly", "yes")


@pytest.fixture
def world(tmp_path: Path, redis_server: OwnServer, postgresql: PostgreSQL) -> Iterator[World]:
    """43 assets on a paid plan of few calls; a minute of the hour is some seconds here."""
    document = {
        "priority_assets": crypto(PRIORITY),
        "secondary_assets": [*crypto(SECONDARY[:30]), *crypto(SECONDARY[30:], bars=True)],
        "batch": {"interval_minutes": 1},
        "queue": {"retry_delay_seconds": 2},
    }
    url, folder = f"unix://{redis_server.socket}", tmp_path / "installation"
    folder.mkdir()
    world = World(
        folder,
        url,
        postgresql.url,
        "{hour}",
        RealClock(),
        plan="starter",
        limit=100,
        window_seconds=1,
        universe=UNIVERSE,
        document=document,
    )
    world.init()
    yield world
    world.provider.stop()


class Hour:
    """The installation, its servers and its cron."""

    def __init__(self, world: World, redis_server: OwnServer, postgresql: PostgreSQL) -> None:
        world.config()
        self.world = world
        self.redis_server = redis_server
        self.postgresql = postgresql
        self.log = world.folder / "log"
        self.clock = Clock(world, lines_of(str(self.log)))

    def status(self) -> dict[str, Any]:
        """The health document; only its status where there is none."""
        done = program.start("status", "--json", cwd=self.world.folder, env=environment(self.world))
        if not done.stdout:
            return {"status": done.stderr, "problems": []}
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def problem(self, words: str) -> bool:
        """Whether `status` names such a problem now."""
        return any(words in one["message"] for one in self.status()["problems"])

    def ticks(self, count: int) -> None:
        """Let cron start everything so many times."""
        for _ in range(count):
            self.clock.tick()

    def provider(self, fault: str, *, times: int | None = None, ticks: int = 3) -> None:
        """Let the provider meet a fault for a while."""
        self.world.provider.order(fault, times=times)
        self.ticks(ticks)
        self.world.provider.faults.clear()

    def queue(self, **settings: int) -> None:
        """Configure the queue."""
        self.world.document["queue"] = {"retry_delay_seconds": 2, **settings}
        self.world.config()

    def harmless(self) -> bool:
        """Whether no item of the queue has an attempt behind it, and none is dead."""
        with self.world.services() as services:
            dead = services.queue.state().dead
        return not dead and set(attempts(self.world).values()) <= {0}

    def untold(self) -> list[Path]:
        """What cron's commands have told and not told to be over."""
        kept = self.world.folder / ".local" / "state" / "assetbatch"
        return list(kept.iterdir()) if kept.is_dir() else []

    def heal(self) -> None:
        """Let cron run until all is well and told to be over, for two minutes at most."""
        began = time.monotonic()
        while True:
            self.clock.tick()
            found = self.status()
            if found["status"] == "healthy" and not self.untold():
                return
            untold = [path.read_text() for path in self.untold()]
            assert time.monotonic() - began < TWO_MINUTES, (found, untold, self.clock.mails)


# --- what breaks, in turn; each step mends it, and the hour waits until all is healthy ---


def it_answers_500(hour: Hour) -> None:
    hour.provider("status=500")


def it_hangs(hour: Hour) -> None:
    hour.provider("drip-headers=2", ticks=2)


def it_says_too_many_calls(hour: Hour) -> None:
    hour.provider("429=2", times=2)


def it_refuses_the_key(hour: Hour) -> None:
    hour.provider("status=401")


def redis_is_down(hour: Hour) -> None:
    hour.redis_server.kill()
    hour.ticks(3)
    hour.redis_server.start()


def redis_is_emptied(hour: Hour) -> None:
    hour.redis_server.client().flushall()


def postgresql_is_down(hour: Hour) -> None:
    hour.postgresql.stop()
    hour.ticks(3)
    hour.postgresql.start()


def postgresql_is_read_only(hour: Hour) -> None:
    hour.postgresql.run("ALTER DATABASE assetbatch SET default_transaction_read_only = on")
    hour.ticks(3)
    hour.postgresql.run("ALTER DATABASE assetbatch RESET default_transaction_read_only")


def a_table_is_locked(hour: Hour) -> None:
    with psycopg.connect(hour.postgresql.url) as somebody:
        somebody.execute("LOCK TABLE trading.symbols IN EXCLUSIVE MODE")
        hour.ticks(1)


def the_disk_of_the_log_is_full(hour: Hour) -> None:
    hour.log.unlink(missing_ok=True)
    hour.log.symlink_to("/dev/full")
    hour.ticks(2)
    hour.log.unlink()


def the_queue_is_full(hour: Hour) -> None:
    hour.queue(max_size=5)
    hour.ticks(3)
    assert hour.problem("assets found no room")
    hour.queue()


def cron_has_stopped_starting_priority(hour: Hour) -> None:
    hour.clock.stopped = {"run-priority"}
    began = time.monotonic()
    while not hour.problem("run-priority was last started"):
        assert time.monotonic() - began < 2 * INTERVAL_SECONDS + 60
        time.sleep(5)
    hour.clock.stopped = set()


CALLERS = {"run-priority", "run-queue"}

FAULTS: list[tuple[Callable[[Hour], None], str | None, set[str] | None]] = [
    (it_answers_500, "the provider answers 500", CALLERS),
    (it_hangs, "no complete answer within", CALLERS),
    (it_says_too_many_calls, "the provider says too many calls", set()),
    (it_refuses_the_key, "the provider refuses the API key", CALLERS),
    (redis_is_down, "redis cannot be reached", COMMANDS),
    (redis_is_emptied, "redis was emptied", None),
    (postgresql_is_down, "connecting at", set()),
    (postgresql_is_read_only, "the database is read-only", set()),
    (a_table_is_locked, "lock", set()),
    (the_disk_of_the_log_is_full, "the log file", COMMANDS),
    (the_queue_is_full, "found no room", {"enqueue-secondary"}),
    (cron_has_stopped_starting_priority, None, None),
]
"""What breaks, the words of its mail, and which commands send it: these at least, and at least one.

None: perhaps nobody. Redis is known to be emptied only where PostgreSQL has something that is a minute older.
"""


@pytest.mark.timeout(900)
def test_everything_breaks_in_turn_and_heals_and_each_mail_is_told_once(
    world: World, redis_server: OwnServer, postgresql: PostgreSQL
) -> None:
    hour = Hour(world, redis_server, postgresql)
    assert {line.command for line in lines_of("")} == COMMANDS
    hour.heal()
    assert hour.clock.mails == []
    for fault, words, senders in FAULTS:
        before, began = len(hour.clock.mails), time.monotonic()
        fault(hour)
        assert hour.harmless(), fault.__name__
        hour.heal()
        print(f"{fault.__name__}: {time.monotonic() - began:.0f} s")  # noqa: T201 - seen where it fails
        told = told_once(hour.clock.mails[before:], words)
        assert told >= (senders or set()), fault.__name__
        assert told or senders is None, fault.__name__
    found = hour.status()
    assert (found["problems"], found["alerts"], found["queue"]["dead"]) == ([], [], 0)
    assert {one["state"] for one in found["assets"]} <= {"fresh", "due"}
    assert found["failures"], "why something failed is kept"
    assert list((world.folder / ".local" / "state" / "assetbatch").iterdir()) == [], (
        "all that was told is over"
    )


def told_once(mails: list[Mail], words: str | None) -> set[str]:
    """Which commands have told these words, each once, and once that it is over; nothing else was told. News
    that is no failure has no end."""
    begun: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    news: Counter[str] = Counter()
    for mail in mails:
        for line in mail.lines:
            assert words is not None, mail
            assert words in line, mail
            level, _, text = line.partition(" ")
            told = begun if level != "NOTICE" else ended if text.startswith("over: ") else news
            told[mail.command] += 1
    assert begun == ended, mails
    assert set((begun + news).values()) <= {1}, mails
    return set(begun + news)
