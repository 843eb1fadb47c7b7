"""Every line that docs/troubleshooting.md quotes is provoked here, on the real thing."""

from __future__ import annotations

import ast
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from assetbatch.config import Config
from assetbatch.database import Store
from assetbatch.deadline import Deadline
from assetbatch.domain.market_hours import start_of_day, to_ms
from assetbatch.domain.queueing import Lane
from assetbatch.domain.records import Command
from assetbatch.domain.refusals import RefusalKind
from assetbatch.errors import ConfigError, DatabaseError, DeadlineExceededError, RedisError
from assetbatch.provider.answers import BarsAnswer
from assetbatch.provider.client import ProviderClient
from assetbatch.provider.refusals import Refusal
from assetbatch.sandbox import PLANS, SandboxServer, system_clock
from assetbatch.state import connection
from tests.commands.conftest import MakeWorld, free, make_world, paid, template
from tests.conftest import REPOSITORY
from tests.database.proxy import Proxy
from tests.documented import quoted, shows
from tests.failures.start import PROGRAM, start
from tests.own_redis import OwnServer, own_server
from tests.program import BARE
from tests.world import KEY, PRIORITY, RealClock, SetClock, World

__all__ = ["free", "make_world", "own_server", "paid", "template"]

WRONG = {"symbol": "WRONG", "polygon_ticker": "C:WRONG", "asset_type": "forex"}
MINIMAL = "priority_assets: [{symbol: XAUUSD, polygon_ticker: 'C:XAUUSD', asset_type: forex}]\n"


@pytest.fixture
def clock() -> SetClock:
    """Processes take the real time, so the simulated provider does too."""
    return RealClock()


def test_every_line_of_the_page_is_provoked_by_a_test() -> None:
    files = (REPOSITORY / "tests").rglob("test_*.py")
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    provoked = {
        node.args[1].value
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "shows"
        and isinstance(node.args[1], ast.Constant)
    }
    assert len(provoked) > 30
    assert quoted() == provoked


def bare(folder: Path, command: str, config: str | None = None, **env: str) -> str:
    """What a start without servers says on stderr; it must end with code 2."""
    if config is not None:
        (folder / "config.yml").write_text(config)
    done = subprocess.run(
        [*PROGRAM, *command.split()],
        cwd=folder,
        env={**BARE, "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    return done.stderr


class TestCode2:
    @pytest.mark.skipif(Path("/etc/assetbatch/config.yml").exists(), reason="assetbatch is installed here")
    def test_no_file(self, tmp_path: Path) -> None:
        shows(bare(tmp_path, "run-priority"), "no configuration found: looked for …")

    def test_no_key(self, tmp_path: Path) -> None:
        servers = "database: {url: embedded}\nredis: {url: embedded}\n"
        shows(bare(tmp_path, "run-priority", MINIMAL + servers), "no API key is configured")

    def test_a_key_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        said = bare(tmp_path, "run-priority", MINIMAL, POLYGON_API_KEY_FILE="gone")
        shows(said, "env POLYGON_API_KEY_FILE: the file it names cannot be read: …")

    def test_a_command_that_fails(self, tmp_path: Path) -> None:
        servers = "database: {url: embedded}\nredis: {url: embedded}\n"
        said = bare(tmp_path, "run-priority", MINIMAL + servers, POLYGON_API_KEY_COMMAND="sh -c 'exit 7'")
        shows(said, "env POLYGON_API_KEY_COMMAND: the command ended with exit code …")

    def test_no_servers(self, tmp_path: Path) -> None:
        said = bare(tmp_path, "run-priority", MINIMAL + "redis: {url: embedded}", POLYGON_API_KEY=KEY)
        shows(said, "no database is configured")
        said = bare(tmp_path, "run-priority", MINIMAL + "database: {url: embedded}", POLYGON_API_KEY=KEY)
        shows(said, "no Redis is configured")

    def test_a_password_that_is_not_encoded(self, tmp_path: Path) -> None:
        said = bare(tmp_path, "run-priority", MINIMAL, DATABASE_URL="postgresql://me:a@b@host/market")
        shows(said, "found a URL that can be read in two ways")
        said = bare(tmp_path, "run-priority", MINIMAL, REDIS_URL="redis://:100%@host/0")
        shows(said, "found a % that is not followed by two hex digits")

    def test_an_option_that_libpq_does_not_know(self, tmp_path: Path) -> None:
        env = {"POLYGON_API_KEY": KEY, "DATABASE_URL": "postgresql://me@host/market?colour=red"}
        said = bare(tmp_path, "run-priority", MINIMAL + "redis: {url: embedded}", **env)
        shows(said, "option …: unknown here, expected one of …")

    def test_a_symbol_without_a_ticker(self, tmp_path: Path) -> None:
        said = bare(tmp_path, "run-priority", "priority_assets: [{symbol: GOLD}]")
        shows(said, "missing, and the symbol … is no … of known names: …")

    def test_no_folder(self) -> None:
        with pytest.raises(ConfigError) as raised:
            _ = Config().data_folder
        shows(str(raised.value), "no folder for data: neither XDG_DATA_HOME nor HOME is set")


@pytest.fixture
def waiting(free: World) -> World:
    """A world in which the secondary assets wait in the queue."""
    free.know_that_today_is_refused()
    assert start(free, "enqueue-secondary").returncode == 0
    return free


@pytest.fixture
def own(free: World, own_server: Callable[..., OwnServer]) -> OwnServer:
    """A Redis of this test's own, which the world uses from now on."""
    server = own_server()
    free.document["redis"] = {"url": f"unix://{server.socket}", "prefix": "{own}"}
    return server


def fails(world: World, command: str, code: int = 3, **env: str) -> str:
    """What a command says on stderr that ends with this code."""
    done = start(world, *command.split(), **env)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    return done.stderr


class TestCode3Redis:
    def test_does_not_answer(self, own: OwnServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "SOCKET_SECONDS", 0.1)
        assert own.process
        own.process.send_signal(signal.SIGSTOP)
        with pytest.raises(RedisError) as raised, connection.redis_errors():
            own.client().ping()
        shows(str(raised.value), "redis did not answer within … s")

    def test_denies_a_command(self, free: World, own: OwnServer) -> None:
        own.client().acl_setuser("me", enabled=True, nopass=True, keys=["other:*"], categories=["+@all"])
        shows(
            fails(free, "run-priority", REDIS_URL=f"unix://me:any@{own.socket}"), "redis denies a command: …"
        )


class TestCode3PostgreSQL:
    def test_refuses_the_login(self, free: World) -> None:
        url = urlsplit(free.database_url)
        netloc = f"nobody_{uuid.uuid4().hex[:8]}@{url.netloc.rpartition('@')[2]}"
        said = fails(free, "run-priority", DATABASE_URL=url._replace(netloc=netloc).geturl())
        shows(said, "connecting at …: the server refuses the login")

    def test_has_no_such_database(self, free: World) -> None:
        url = urlsplit(free.database_url)._replace(path="/nothing_of_this_name").geturl()
        shows(fails(free, "run-priority", DATABASE_URL=url), "connecting at …: there is no such database")

    def test_has_a_table_of_bars_that_is_not_partitioned(self, free: World) -> None:
        said = fails(free, "init --partition month", code=2)
        shows(said, "market_data.ohlcv_5m is there and is not partitioned")

    def test_has_the_tables_of_another_version(self, free: World) -> None:
        change(free, "INSERT INTO data_sources.assetbatch_migrations VALUES (99, 'later')")
        shows(fails(free, "run-priority"), "the schema is at version …, this program knows …")
        change(free, "DELETE FROM data_sources.assetbatch_migrations WHERE version > 1")
        change(free, "DROP TABLE data_sources.assetbatch_spans")
        shows(fails(free, "run-priority"), "the schema is at version …, which is too old")

    def test_is_locked_by_another(self, free: World) -> None:
        with psycopg.connect(free.database_url) as database:
            database.execute("LOCK TABLE trading.symbols")
            shows(fails(free, "run-priority"), "a lock was not free in time (…)")


class TestCode3:
    def test_the_embedded_servers_have_no_place(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("")
        (tmp_path / "config.yml").write_text(MINIMAL + "database: {url: embedded}\nredis: {url: embedded}\n")
        env = {**BARE, "HOME": str(tmp_path), "POLYGON_API_KEY": KEY}
        done = subprocess.run(
            [*PROGRAM, "run-priority"],
            cwd=tmp_path,
            env={**env, "XDG_DATA_HOME": str(tmp_path / "taken")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3, done.stderr
        shows(done.stderr, "embedded …: …")

    def test_a_disk_hangs(self) -> None:
        with pytest.raises(DeadlineExceededError) as raised, Deadline(0.1):
            time.sleep(30)
        shows(str(raised.value), "the command did not end within … s and was stopped")

    def test_postgresql_hangs(self, free: World) -> None:
        with Proxy(free.database_url) as proxy, Store.open(proxy.url, within_seconds=0.5) as store:
            proxy.freeze()
            with pytest.raises(DatabaseError) as raised:
                store.facts()
        shows(str(raised.value), "the database did not answer within … s")


def status(world: World) -> str:
    return start(world, "status").stdout


def doctor(world: World, **env: str) -> str:
    return start(world, "doctor", "--no-call", **env).stdout


class TestOldData:
    def test_cron_has_never_started_it(self, free: World) -> None:
        shows(status(free), "run-priority has never been started")

    def test_cron_has_stopped(self, waiting: World) -> None:
        start(waiting, "run-priority")
        with waiting.services() as services:
            for job in ("run_priority", "enqueue_secondary"):
                services.redis.hset(services.keys.job(job), "last_started", services.now_ms() - 36_000_000)
            for lane in services.keys.queue_waiting:  # the work waits for ten minutes
                for item_id in services.redis.zrange(lane, 0, -1):
                    services.redis.zincrby(lane, -600_000_000, item_id)
        said = status(waiting)
        shows(said, "run-priority was last started …, it should be every … min")
        shows(said, "enqueue-secondary was last started …")
        shows(said, "… in the queue, and run-queue was never started")

    def test_the_last_cycle_failed(self, free: World) -> None:
        free.provider.order("status=503", times=None)
        start(free, "run-priority")
        shows(status(free), "the last run-priority failed: …")

    def test_the_plan_has_no_data_of_today(self, free: World) -> None:
        free.know_that_today_is_refused()
        shows(status(free), "your plan has no … data of the running day; data up to the last day are used")

    def test_the_plan_has_no_snapshots(self, make_world: MakeWorld) -> None:
        world = make_world(plan="basic", tier="starter")
        assert start(world, "run-priority").returncode == 0
        assert start(world, "run-priority").returncode == 0
        said = status(world)
        shows(said, "your plan has no … snapshots; …")

    def test_the_plan_has_only_some_indices(self, make_world: MakeWorld) -> None:
        index = {"symbol": "SPX", "polygon_ticker": "I:SPX", "asset_type": "indices"}
        world = make_world(plan="basic", document={"priority_assets": [index]})
        start(world, "run-priority")
        shows(status(world), "your plan has no bars of I:… by range; …")

    def test_the_window_is_used_up(self, make_world: MakeWorld) -> None:
        world = make_world(limit=2, window_seconds=2)
        said = start(world, "-v", "run-priority").stderr
        shows(said, "all calls of this window are used")

    def test_redis_has_lost_the_window(self, free: World) -> None:
        start(free, "run-priority")
        change(free, "UPDATE data_sources.assetbatch_sync SET status_at = status_at - interval '1 hour'")
        with free.services() as services:
            services.redis.flushall()
        said = start(free, "-v", "run-queue", "--max-seconds", "5").stderr
        shows(
            said,
            "redis has no log of the last calls with this key "
            "(the key is new there, or redis was restarted, emptied or is another server)",
        )
        shows(said, "redis is another server: what the queue may have lost is queued again")
        shows(said, "redis was emptied or is another server; no price and no bar is lost: … queued again")

    def test_calls_are_kept_for_priority(self, make_world: MakeWorld) -> None:
        world = make_world(plan="starter", limit=2)
        with world.services() as services:
            services.queue.enqueue([("ETHUSD", Lane.HIGH)])
            services.window.reserve(services.now_ms() + 30_000, 2, 60_000)
        said = start(world, "-v", "run-queue", "--max-seconds", "5").stderr
        shows(said, "the free calls are kept for the next priority cycle")

    def test_an_asset_is_not_registered(self, free: World) -> None:
        change(free, "DELETE FROM trading.symbols WHERE symbol = 'XAUUSD'")
        shows(start(free, "run-priority").stderr, "not registered in the database")

    def test_the_database_refuses_a_symbol(self, free: World) -> None:
        change(free, "ALTER TABLE market_data.ohlcv_5m ALTER close TYPE numeric(7,5)")
        done = start(free, "run-priority")
        shows(done.stderr, "the database refuses it: …")
        assert done.returncode == 1

    def test_the_queue_is_full(self, free: World) -> None:
        free.know_that_today_is_refused()
        free.document["queue"] = {"max_size": 1}
        shows(start(free, "enqueue-secondary").stderr, "the queue is full (at most …): … found no room: …")

    def test_a_ticker_is_mistyped_on_the_free_plan(self, make_world: MakeWorld) -> None:
        world = make_world(plan="basic", document={"priority_assets": [*PRIORITY, WRONG]})
        start(world, "run-priority")
        shows(status(world), "no data (the provider has no bars of …)")

    def test_a_ticker_is_mistyped_on_a_paid_plan(self, make_world: MakeWorld) -> None:
        world = make_world(plan="starter", document={"priority_assets": [*PRIORITY, WRONG]})
        start(world, "run-priority")
        shows(status(world), "not found (…)")

    def test_a_price_is_stale(self, paid: World) -> None:
        start(paid, "run-priority")
        then = "jsonb_set(metadata, '{last_update,timestamp}', '\"2026-01-05T12:00:00Z\"')"
        change(paid, f"UPDATE trading.symbols SET metadata = {then}")
        change(
            paid, "UPDATE data_sources.data_sync_status SET last_sync_timestamp = now() - interval '1 hour'"
        )
        shows(status(paid), "stale, its price is … old (…)")

    def test_dead_letters(self, waiting: World) -> None:
        waiting.provider.order("status=500", times=1)  # and the other items are answered
        waiting.document["queue"] = {"retry_max_attempts": 1}
        start(waiting, "run-queue")
        shows(status(waiting), "… dead letter")

    def test_clocks_disagree(self, free: World, monkeypatch: pytest.MonkeyPatch) -> None:
        ahead = SandboxServer(PLANS["basic"], clock=lambda: system_clock() + 300_000)
        ahead.start()
        free.document["provider"] = {"base_url": ahead.base_url}
        said = start(free, "doctor").stdout
        ahead.stop()
        shows(said, "the provider's clock is … ahead of redis'")

    def test_metrics_have_no_place(self, free: World) -> None:
        free.know_that_today_is_refused()
        free.document["metrics"] = {"prometheus_file": "/nowhere/assetbatch.prom"}
        shows(start(free, "run-priority").stderr, "metrics.prometheus_file: … cannot be written: …")

    def test_a_service_is_not_reached(self, free: World) -> None:
        free.document["notify"] = "json://127.0.0.1:1/x"
        said = start(free, "run-queue", REDIS_URL="redis://127.0.0.1:1/0").stderr
        shows(said, "notify: … did not receive the lines above: …")

    def test_cron_cannot_keep_a_frequency(self, free: World) -> None:
        free.document["priority_assets"] = [{**PRIORITY[0], "update_frequency_seconds": 60}]
        said = start(free, "config", "check").stderr
        shows(said, "…: update_frequency_seconds … cannot be kept, … is …")


class TestADayThatIsLate:
    @pytest.fixture
    def clock(self) -> SetClock:
        """Just after midnight in New York."""
        return SetClock(to_ms(datetime(2026, 11, 18, 5, 10, tzinfo=UTC)))

    def test_is_said(
        self, free: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        ask = ProviderClient.bars

        def bars(
            client: ProviderClient, ticker: str, start_ms: int, end_ms: int, **options: Any
        ) -> BarsAnswer:
            if end_ms >= start_of_day(date(2026, 11, 17)):
                raise Refusal(RefusalKind.TODAY_NOT_YET, "Attempted to request today's data", http_status=403)
            return ask(client, ticker, start_ms, end_ms, **options)

        monkeypatch.setattr(ProviderClient, "bars", bars)
        with caplog.at_level("INFO", "assetbatch"):
            free.run_priority()
            free.clock.at_ms += 300_000
            free.run_priority()
        shows(caplog.text, "the last day of … is not published yet; the day before is used")


def test_an_earlier_start_still_runs(free: World) -> None:
    with free.services() as services, services.locks.hold(Command.RUN_PRIORITY, 60):
        done = start(free, "-v", "run-priority")
    assert done.returncode == 0
    shows(done.stderr, "skipped: an earlier start of this command is still running")


def change(world: World, sql: str) -> None:
    with psycopg.connect(world.database_url, autocommit=True) as database:
        database.execute(sql.encode())
