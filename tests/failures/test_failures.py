"""Every failure that a night may bring, on the real thing: exit code, one line with what to do, what doctor
says, nothing lost or half done, and all well after the repair."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from tests import program
from tests.commands.conftest import MakeWorld
from tests.documented import shows
from tests.own_redis import OwnServer
from tests.program import CLOCK
from tests.world import World

from .start import NOWHERE, PROGRAM, doctor, environment, fails, is_root, start, unharmed, works_again

RUN = ["run-priority", "run-queue", "enqueue-secondary"]
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture
def waiting(free: World) -> World:
    """A world in which three items wait in the queue."""
    free.know_that_today_is_refused()
    assert start(free, "enqueue-secondary").returncode == 0
    unharmed(free, waiting=3)
    return free


class TestRedis:
    @pytest.mark.parametrize("command", [*RUN, "status"])
    def test_is_not_there(self, waiting: World, command: str) -> None:
        env = {"REDIS_URL": f"redis://{NOWHERE}/0"}
        shows(fails(waiting, command, code=3, **env), "redis cannot be reached: …")
        doctor(waiting, code=3, check="redis", said="redis cannot be reached", **env)
        assert waiting.paths == []
        unharmed(waiting, waiting=3)
        works_again(waiting)

    @pytest.fixture
    def own(self, waiting: World, own_server: Callable[..., OwnServer]) -> OwnServer:
        """A server of this test's own, which the world uses from now on."""
        server = own_server()
        waiting.document["redis"] = {"url": f"unix://{server.socket}", "prefix": "{own}"}
        waiting.know_that_today_is_refused()
        assert start(waiting, "enqueue-secondary").returncode == 0
        return server

    @pytest.mark.parametrize("command", ["run-priority", "run-queue"])
    def test_is_full(self, waiting: World, own: OwnServer, command: str) -> None:
        client = own.client()
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) - 1)
        shows(fails(waiting, command, code=3), "redis is full (maxmemory is reached)")
        doctor(waiting, code=3, check="redis", said="memory is 1..% full|redis is full")
        assert start(waiting, "status", "--check").returncode == 2
        client.config_set("maxmemory", 0)
        unharmed(waiting, waiting=3)
        works_again(waiting)

    @pytest.mark.parametrize("command", ["run-priority", "run-queue"])
    def test_is_a_read_only_replica(self, waiting: World, own: OwnServer, command: str) -> None:
        client = own.client()
        client.config_set("replica-serve-stale-data", "yes")
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        shows(fails(waiting, command, code=3), "redis is a read-only replica")
        doctor(waiting, code=3, check="redis", said="this is a read-only replica")
        client.execute_command("REPLICAOF", "NO", "ONE")
        unharmed(waiting, waiting=3)
        works_again(waiting)

    @pytest.mark.parametrize("command", ["run-priority", "run-queue", "status"])
    def test_is_a_replica_whose_master_is_down(self, waiting: World, own: OwnServer, command: str) -> None:
        client = own.client()
        client.config_set("replica-serve-stale-data", "no")
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        said = fails(waiting, command, code=3, said="at the master")
        shows(said, "redis is a replica that has lost its master")
        doctor(waiting, code=3, check="redis", said="redis is a replica that has lost its master")
        client.execute_command("REPLICAOF", "NO", "ONE")
        unharmed(waiting, waiting=3)
        works_again(waiting)

    @pytest.mark.parametrize("command", RUN)
    def test_wants_another_password(self, waiting: World, own: OwnServer, command: str) -> None:
        own.client().config_set("requirepass", "made-up-password")
        shows(fails(waiting, command, code=3), "redis refuses the login: …")
        doctor(waiting, code=3, check="redis", said="redis refuses the login")
        admin = redis.Redis(unix_socket_path=str(own.socket), password="made-up-password")
        admin.config_set("requirepass", "")
        admin.close()
        unharmed(waiting, waiting=3)
        works_again(waiting)

    def test_evicts(self, waiting: World, own: OwnServer) -> None:
        own.client().config_set("maxmemory", 100_000_000)
        own.client().config_set("maxmemory-policy", "allkeys-lru")
        doctor(waiting, code=3, check="redis", said="eviction policy allkeys-lru")


class TestPostgreSQL:
    @pytest.mark.parametrize("command", ["run-priority", "run-queue", "enqueue-secondary"])
    def test_is_not_there(self, waiting: World, command: str) -> None:
        env = {"DATABASE_URL": f"postgresql://me@{NOWHERE}/x"}
        shows(fails(waiting, command, code=3, **env), "connecting at …: nothing listens there")
        doctor(waiting, code=3, check="postgresql", said="nothing listens there", **env)
        assert [path for path in waiting.paths if "marketstatus" not in path] == []
        unharmed(waiting, waiting=3)
        works_again(waiting)

    def test_is_gone_and_costs_the_queue_no_slot(self, waiting: World) -> None:
        assert start(waiting, "run-priority").returncode == 0  # the window is known from now on
        with waiting.services() as services:
            used = services.window.state().used
        env = {"DATABASE_URL": f"postgresql://me@{NOWHERE}/x"}
        fails(waiting, "run-queue", code=3, said="nothing listens there", **env)
        with waiting.services() as services:
            assert services.window.state().used == used
        unharmed(waiting, waiting=3)

    @pytest.mark.parametrize("command", ["run-priority", "run-queue"])
    def test_denies_rights(self, waiting: World, command: str) -> None:
        role = f"role_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(waiting.database_url, autocommit=True) as connection:
            for sql in (
                f"CREATE ROLE {role} LOGIN PASSWORD 'made-up'",
                f"GRANT USAGE ON SCHEMA trading, market_data, data_sources TO {role}",
                f"GRANT SELECT ON ALL TABLES IN SCHEMA trading, market_data, data_sources TO {role}",
            ):
                connection.execute(sql.encode())
            tail = waiting.database_url.split("@", 1)[1]
            env = {"DATABASE_URL": f"postgresql://{role}:made-up@{tail}"}
            try:
                shows(fails(waiting, command, code=3, **env), "permission denied (…)")
                said = "INSERT ON market_data.ohlcv_5m"
                doctor(waiting, code=3, check="postgresql", said=said, **env)
            finally:
                connection.execute(f"DROP OWNED BY {role}".encode())
                connection.execute(f"DROP ROLE {role}".encode())
        assert waiting.last_update("XAUUSD") is None
        unharmed(waiting, waiting=3)

    @pytest.mark.parametrize("command", ["run-priority", "run-queue"])
    def test_is_read_only_and_no_call_is_spent(self, waiting: World, command: str) -> None:
        name = psycopg.conninfo.conninfo_to_dict(waiting.database_url)["dbname"]
        with psycopg.connect(waiting.database_url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        shows(fails(waiting, command, code=3), "connecting at …: the database is read-only")
        assert waiting.paths == []
        doctor(waiting, code=3, check="postgresql", said="the database is read-only")
        unharmed(waiting, waiting=3)
        with psycopg.connect(waiting.database_url, autocommit=True) as connection:
            connection.execute(b"SET default_transaction_read_only = off")
            connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
        works_again(waiting)

    @pytest.mark.parametrize("command", ["run-priority", "run-queue"])
    def test_has_no_tables(self, make_world: MakeWorld, command: str) -> None:
        world = make_world(init=False)
        with world.services() as services:
            from assetbatch.domain.queueing import Lane

            services.queue.enqueue([("ETHUSD", Lane.HIGH)])
        shows(fails(world, command, code=3), "the database has no tables of assetbatch")
        doctor(world, code=3, check="postgresql", said="the database has no tables of assetbatch")
        unharmed(world, waiting=1)
        assert start(world, "init").returncode == 0
        works_again(world)


class TestTheProvider:
    @pytest.mark.parametrize("command", ["run-priority", "run-queue"])
    def test_refuses_the_key(self, waiting: World, command: str) -> None:
        waiting.provider.order("status=401", times=None)
        shows(fails(waiting, command, code=4), "the provider refuses the API key: …")
        doctor(waiting, code=4, check="vendor", said="refuses the API key")
        assert len(waiting.paths) == 2  # one of each
        unharmed(waiting, waiting=3)
        waiting.provider.faults.clear()
        works_again(waiting)

    def test_has_less_than_the_tier_promises(self, make_world: MakeWorld) -> None:
        world = make_world(plan="basic", tier="starter")
        first = start(world, "run-priority")
        assert first.returncode == 0
        assert "your plan has no unified forex snapshots" in first.stderr
        doctor(world, code=0, check="plan", said="your plan has no unified forex snapshots")
        refused = [arrival for arrival in world.provider.arrivals if arrival.status == 403]
        for _ in range(3):
            start(world, "run-priority")
        again = [arrival for arrival in world.provider.arrivals if arrival.status == 403]
        assert world.last_update("XAUUSD") is not None
        paths = [arrival.path.split("?")[0] for arrival in again]
        assert len(paths) == len(set(paths))  # nothing is asked twice that was refused
        assert len(refused) >= 1

    @pytest.mark.parametrize("fault", ["status=503", "drop"])
    def test_is_down(self, waiting: World, fault: str) -> None:
        waiting.provider.order(fault, times=None)
        done = start(waiting, "run-priority")
        assert (done.returncode, done.stderr.count("\n")) == (3, 1)
        if fault == "drop":
            shows(done.stderr, "the API cannot be reached: …")
        else:
            shows(done.stderr, "the provider answers …")
            assert "network" not in done.stderr
        again = start(waiting, "run-priority")
        assert (again.returncode, again.stderr) == (3, "")  # it was said
        doctor(waiting, code=3, check="vendor", said="cannot be used")
        unharmed(waiting, waiting=3)
        waiting.provider.faults.clear()
        works_again(waiting)

    def test_is_slow(self, waiting: World) -> None:
        waiting.provider.order("drip-body=0.5", times=None)
        done = start(waiting, "run-priority", "--max-seconds", "6")
        assert (done.returncode, done.stderr.count("\n")) == (3, 1)
        assert re.search("no (complete )?answer (with)?in|took longer|deadline", done.stderr), done.stderr
        unharmed(waiting, waiting=3)
        waiting.provider.faults.clear()
        works_again(waiting)

    def test_says_too_many_calls(self, waiting: World) -> None:
        waiting.provider.order("429=2", times=1)
        done = start(waiting, "run-priority")
        assert done.stderr.count("\n") == 1
        shows(done.stderr, "the provider says too many calls; nobody calls for …")
        assert "(hint: " in done.stderr
        assert len(waiting.paths) == 1
        unharmed(waiting, waiting=3)

    def test_is_down_for_a_whole_queue_is_one_line_and_then_silence(self, waiting: World) -> None:
        waiting.provider.order("status=503", times=None)
        first, again = (start(waiting, "run-queue") for _ in range(2))
        assert (first.returncode, first.stderr.count("\n")) == (3, 1)
        assert "the provider answers 503" in first.stderr
        assert again.stderr == ""

    def test_answers_nonsense_for_every_asset_is_one_line(self, waiting: World) -> None:
        waiting.provider.order("html", times=None)
        done = start(waiting, "run-queue")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "ETHUSD, GBPUSD, USDJPY: " in done.stderr

    def test_has_forbidden_calls_for_long(self, waiting: World) -> None:
        waiting.provider.order("429=1800", times=1)
        start(waiting, "run-priority")
        doctor(waiting, code=0, check="vendor", said="allows no call for another 30 min")


class TestTheHost:
    @pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
    def test_has_closed_our_streams(self, waiting: World, closed: str) -> None:
        for command in ("run-priority", "config show", "status"):
            line = f"exec {' '.join(PROGRAM)} {command} {closed}"
            done = subprocess.run(
                ["/bin/sh", "-c", line],
                cwd=waiting.folder,
                env=environment(waiting),
                check=False,
                capture_output=True,
            )
            assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
        assert waiting.last_update("XAUUSD") is not None

    def test_has_removed_the_folder_we_are_in(self, waiting: World, tmp_path: Path) -> None:
        config = waiting.folder / "config.yml"
        start_it = f"exec {' '.join(PROGRAM)} --config {config} run-priority"
        line = f"mkdir gone && cd gone && rmdir ../gone && {start_it}"
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=waiting.folder,
            env=environment(waiting),
            check=False,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.skipif(
        FAKETIME is None or bool(CLOCK), reason="libfaketime is not installed, or .ci/at runs"
    )
    @pytest.mark.parametrize("offset", ["-5m", "+5m"])
    def test_has_a_clock_that_is_off(self, waiting: World, offset: str) -> None:
        """Nothing depends on it; doctor says it."""
        fake = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset}
        for command in RUN:
            done = start(waiting, command, **fake)
            assert (done.returncode, done.stderr) == (0, "")
        word = "ahead of" if offset[0] == "-" else "behind"
        doctor(waiting, code=3, check="redis", said=f"redis' clock is 5 min {word} this host's", **fake)
        unharmed(waiting, waiting=0)
        assert waiting.last_update("XAUUSD") is not None

    @pytest.mark.parametrize("form", ["--json", "", "--html=/dev/full", "--prometheus=/dev/full"])
    def test_has_a_full_disk_where_output_goes(self, free: World, form: str) -> None:
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*PROGRAM, "status", *form.split()],
                cwd=free.folder,
                env=environment(free),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "No space left on device" in done.stderr

    @pytest.mark.parametrize(
        "command", ["config show", "config check", "init", "--version", "--help", "status --help", "dead"]
    )
    def test_has_a_full_disk_behind_stdout(self, free: World, command: str) -> None:
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*PROGRAM, *command.split()],
                cwd=free.folder,
                env=environment(free),
                check=False,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "the output cannot be written: No space left on device" in done.stderr

    @pytest.mark.skipif(not is_root(), reason="only root can mount a small disk")
    def test_has_a_full_disk_where_the_embedded_servers_live(self, free: World, tmp_path: Path) -> None:
        small = tmp_path / "small"
        small.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(small)], check=False, capture_output=True
        )
        if mounted.returncode:
            pytest.skip("no tmpfs can be mounted here")
        try:
            done = start(free, "--sandbox", "run-priority", XDG_DATA_HOME=str(small))
        finally:
            subprocess.run(["umount", "-l", str(small)], check=True)
        assert done.returncode == 3, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "No space left" in done.stderr

    def test_has_a_cron_that_has_stopped(self, free: World) -> None:
        start(free, "run-priority")
        with free.services() as services:
            job = services.keys.job("run_priority")
            services.redis.hset(job, "last_started", services.now_ms() - 3_600_000)
        doctor(free, code=1, check="cron", said="run-priority was last started 60 min ago")
        assert start(free, "status", "--check").returncode == 2


@pytest.mark.parametrize(
    ("text", "named"),
    [("batch: {intervall_minutes: 5}", "batch.intervall_minutes"), ("batch: [", "config.yml")],
    ids=["an unknown key", "no YAML"],
)
def test_a_mistake_in_the_configuration_is_a_line_that_names_it(
    tmp_path: Path, text: str, named: str
) -> None:
    (tmp_path / "config.yml").write_text(text)
    env = {"HOME": str(tmp_path), "POLYGON_API_KEY": "made-up"}
    for command in ("run-priority", "config check", "doctor"):
        done = program.start(*command.split(), cwd=tmp_path, env=env)
        said = done.stdout if command == "doctor" else done.stderr
        assert done.returncode == 2, said
        assert named in " ".join(said.split()), said
        assert command == "doctor" or len(done.stderr.splitlines()) == 1
