"""Secrets and servers as operators give them: what is missing, what others may read, what a hint names."""

from __future__ import annotations

import json
import os
import re
import subprocess
from grp import getgrall
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from assetbatch.config import Config
from assetbatch.config.needs import NEEDED_BY
from assetbatch.doctor.secrets import readable_secrets
from tests import program
from tests.failures.start import is_root, start
from tests.world import KEY, World

ASSET = "priority_assets: [{symbol: XAUUSD}]\n"
BROAD = next((one.gr_gid for one in getgrall() if one.gr_name in ("users", "nogroup", "staff")), 0)
"""A group that many are in, or root's own where there is none."""

SERVERS = {"database": "database: {url: embedded}\n", "redis": "redis: {url: embedded}\n"}
ARGUMENTS = {
    "backfill": ["backfill", "XAUUSD", "--from", "2026-11-02"],
    "call": ["call", "true"],
    "slot": ["slot", "take"],
    "dead": ["dead", "list"],
}
SAID = {
    "api_key": "no API key is configured",
    "redis": "no Redis is configured",
    "database": "no database is configured",
}


def run(folder: Path, text: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "config.yml").write_text(text)
    return program.start(*arguments, cwd=folder, env={"HOME": str(folder), **env})


class TestConfigCheck:
    def test_of_an_empty_file_says_what_is_missing_for_which_command(self, tmp_path: Path) -> None:
        done = run(tmp_path, "# nothing\n", "config", "check")
        assert (done.returncode, done.stdout) == (2, "")
        lines = done.stderr.splitlines()
        assert len(lines) == 3
        for line, what in zip(lines, NEEDED_BY, strict=True):
            assert f"ERROR config check: {SAID[what]}, and run-priority, run-queue, " in line
            assert " need it (hint: " in line

    @pytest.mark.parametrize("what", NEEDED_BY)
    def test_says_which_is_missing(self, tmp_path: Path, what: str) -> None:
        text = ASSET + "".join(server for name, server in SERVERS.items() if name != what)
        env = {} if what == "api_key" else {"POLYGON_API_KEY": KEY}
        done = run(tmp_path, text, "config", "check", **env)
        assert done.returncode == 2
        assert re.search(rf"{SAID[what]}, and .* need it", done.stderr)
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        ("what", "command"),
        [
            (what, command)
            for what, commands in NEEDED_BY.items()
            for command in commands
            if command != "serve"  # it goes on, and its documents say so
        ],
    )
    def test_names_commands_that_cannot_work(self, free: World, what: str, command: str) -> None:
        if command == "run-queue":
            free.enqueue_secondary()  # without work it asks nobody
        if what == "api_key":
            done = start(free, *ARGUMENTS.get(command, [command]), POLYGON_API_KEY="")
        else:
            del free.document[what]
            done = start(free, *ARGUMENTS.get(command, [command]))
        assert done.returncode == 2
        assert SAID[what] in done.stderr

    def test_is_content_with_a_command_that_it_does_not_run(self, tmp_path: Path) -> None:
        text = ASSET + "".join(SERVERS.values())
        done = run(tmp_path, text, "config", "check", POLYGON_API_KEY_COMMAND="touch ran")
        assert (done.returncode, done.stderr) == (0, "")
        assert "config.yml: valid, 1 priority and 0 secondary assets" in done.stdout
        assert not (tmp_path / "ran").exists()

    def test_warns_of_no_assets(self, tmp_path: Path) -> None:
        done = run(tmp_path, "".join(SERVERS.values()), "config", "check", POLYGON_API_KEY=KEY)
        assert done.returncode == 0
        assert "no asset is enabled" in done.stderr


def findings(world: World, **env: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(start(world, "doctor", "--no-call", "--json", **env).stdout)[
        "findings"
    ]
    return found


def readable(world: World, **env: str) -> list[tuple[str, str]]:
    """Message and hint of what doctor says of files that others may read."""
    return [(f["message"], f["hint"]) for f in findings(world, **env) if "can be read by" in f["message"]]


class TestDoctor:
    @pytest.mark.parametrize(
        ("mode", "readers"),
        [(0o604, "every user of this host"), (0o644, "every user of this host"), (0o640, r"the group \S+")],
    )
    @pytest.mark.parametrize("name", ["POLYGON_API_KEY", "DATABASE_URL", "REDIS_URL", "DB_PASSWORD"])
    def test_names_the_file_of_a_secret_that_others_may_read(
        self, free: World, name: str, mode: int, readers: str
    ) -> None:
        file = free.folder / "secret"
        values = {"POLYGON_API_KEY": KEY, "DATABASE_URL": free.database_url, "DB_PASSWORD": "made-up"}
        file.write_text(values.get(name, free.document["redis"]["url"]))
        file.chmod(mode)
        (free.folder / "config.yml").touch(0o600)
        env = {f"{name}_FILE": str(file)} | ({name: ""} if name == "POLYGON_API_KEY" else {})
        found = [one for one in readable(free, **env) if "config.yml" not in one[0]]
        ((message, hint),) = found
        assert re.fullmatch(rf"{re.escape(str(file))} \({name}_FILE\) can be read by {readers}", message)
        assert hint == f"chmod 600 {file}"

    @pytest.mark.parametrize("mode", [0o600, 0o400])
    def test_says_nothing_of_a_file_that_only_its_owner_may_read(self, free: World, mode: int) -> None:
        file = free.folder / "secret"
        file.write_text(KEY)
        file.chmod(mode)
        free.document["database"] = {"url": free.database_url.replace("hush", "")}
        found = readable(free, POLYGON_API_KEY="", POLYGON_API_KEY_FILE=str(file))
        assert [one for one in found if "secret" in one[0]] == []

    @pytest.mark.skipif(not is_root(), reason="only root can give a file away")
    def test_says_nothing_of_a_group_by_which_alone_it_may_be_read(self, free: World) -> None:
        file = free.folder / "secret"
        file.write_text(KEY)
        file.chmod(0o440)
        os.chown(file, 12345, 0)
        assert [
            one
            for one in readable(free, POLYGON_API_KEY="", POLYGON_API_KEY_FILE=str(file))
            if "secret" in one[0]
        ] == []

    @pytest.mark.skipif(not is_root(), reason="only root can give a file away")
    @pytest.mark.parametrize(
        ("group", "mode", "hint"),
        [
            (12345, 0o640, None),
            (12345, 0o644, "chmod 640"),
            (12345, 0o604, "chmod 600"),
            (0, 0o640, "chmod 600"),
            (BROAD, 0o640, "chmod 600"),
        ],
    )
    def test_lets_root_give_a_secret_to_the_group_of_a_service(
        self, tmp_path: Path, group: int, mode: int, hint: str | None
    ) -> None:
        file = tmp_path / "secret"
        file.write_text(KEY)
        file.chmod(mode)
        os.chown(file, 0, group)
        found = list(readable_secrets(Config(secret_files={"env POLYGON_API_KEY_FILE": file})))
        assert [finding.hint for finding in found] == ([f"{hint} {file}"] if hint else [])

    @pytest.mark.parametrize("mode", [0o644, 0o640])
    @pytest.mark.parametrize(
        ("section", "named"),
        [
            ({"database": {"url": "postgresql://me:hush@127.0.0.1:1/x"}}, "database.url"),
            ({"database": {"url": "postgresql://me@127.0.0.1:1/x?password=hush"}}, "database.url"),
            ({"redis": {"url": "redis://:hush@127.0.0.1:1/0"}}, "redis.url"),
            ({"redis": {"url": "rediss://127.0.0.1:1/0?ssl_password=hush"}}, "redis.url"),
            ({"ping_url": "http://127.0.0.1:1/hush"}, "ping_url"),
        ],
    )
    def test_names_a_configuration_with_a_secret(
        self, free: World, section: dict[str, Any], named: str, mode: int
    ) -> None:
        free.document["database"] = {"url": "postgresql://me@127.0.0.1:1/x"}
        free.document["redis"] = {"url": "redis://127.0.0.1:1/0"}
        free.document |= section
        free.config()
        file = free.folder / "config.yml"
        file.chmod(mode)
        ((message, hint),) = readable(free)
        assert message.startswith(f"{file} ({named}) can be read by ")
        assert hint == f"chmod 600 {file}"

    def test_says_nothing_of_a_configuration_without_one(self, free: World) -> None:
        free.document["database"] = {"url": "postgresql://me@127.0.0.1:1/x"}
        free.document["redis"] = {"url": "redis://me@127.0.0.1:1/0"}
        assert readable(free, DB_PASSWORD="hush", REDIS_PASSWORD="hush") == []

    def test_takes_a_lone_word_in_the_login_of_redis_for_a_password(self, free: World) -> None:
        free.document["redis"] = {"url": "redis://hush@127.0.0.1:1/0"}
        ((message, _),) = readable(free)
        assert "(redis.url) can be read by " in message

    @pytest.mark.parametrize("mode", [0o644, 0o640])
    def test_names_the_dotenv(self, free: World, mode: int) -> None:
        free.document["database"] = {"url": "postgresql://me@127.0.0.1:1/x"}
        file = free.folder / ".env"
        file.write_text(f"POLYGON_API_KEY={KEY}\n")
        file.chmod(mode)
        ((message, hint),) = readable(free)
        assert message.startswith(f"{file} can be read by ")
        assert hint == f"chmod 600 {file}"

    def test_says_that_an_empty_configuration_was_read_and_not_that_it_is_valid(self, tmp_path: Path) -> None:
        done = run(tmp_path, "", "doctor", "--json")
        assert done.returncode == 2
        first = json.loads(done.stdout)["findings"][0]
        assert "config.yml: read, 0 priority" in first["message"]

    def test_says_that_a_command_fails_and_runs_it_once(self, free: World) -> None:
        script = free.folder / "key"
        script.write_text(f"#!/bin/sh\necho run >> {free.folder}/runs\necho hush\nexit 9\n")
        script.chmod(0o700)
        found = findings(free, POLYGON_API_KEY="", POLYGON_API_KEY_COMMAND=str(script))
        said = [one["message"] for one in found if one["level"] == "error"]
        assert "env POLYGON_API_KEY_COMMAND: the command ended with exit code 9" in said
        assert (free.folder / "runs").read_text() == "run\n"


class TestACommand:
    def test_gives_key_and_password_to_a_cycle_and_runs_once(self, free: World) -> None:
        script = free.folder / "get"
        script.write_text(f'#!/bin/sh\necho "$1" >> {free.folder}/runs\necho "$1"\n')
        script.chmod(0o700)
        done = start(
            free,
            "run-priority",
            POLYGON_API_KEY="",
            POLYGON_API_KEY_COMMAND=f"{script} {KEY}",
            DB_PASSWORD_COMMAND=f"{script} anything",
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert free.last_update("XAUUSD") is not None
        ran = (free.folder / "runs").read_text().split()
        assert ran.count(KEY) == 1
        assert ran.count("anything") <= 1

    def test_for_the_database_is_not_run_by_an_idle_run_queue(self, free: World) -> None:
        free.document["database"] = {"url": "postgresql://me@127.0.0.1:1/x"}
        done = start(free, "run-queue", DB_PASSWORD_COMMAND="touch ran")
        assert done.returncode == 0
        assert not (free.folder / "ran").exists()

    def test_that_fails_ends_the_start_with_code_2_and_one_line(self, free: World) -> None:
        command = "sh -c 'echo hush >&2; exit 1'"
        done = start(free, "run-priority", POLYGON_API_KEY="", POLYGON_API_KEY_COMMAND=command)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert "env POLYGON_API_KEY_COMMAND: the command ended with exit code 1 (hint: " in line


class TestAPasswordFile:
    def test_logs_in_beside_the_url_of_the_configuration(self, free: World) -> None:
        role = f"beside_{os.getpid()}"
        with psycopg.connect(free.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'p@ss/w:rd'".encode())
        try:
            tail = free.database_url.split("@", 1)[1]
            free.document["database"] = {"url": f"postgresql://{role}@{tail}"}
            (free.folder / "password").write_text("p@ss/w:rd\n")
            done = start(free, "run-priority", DB_PASSWORD_FILE=str(free.folder / "password"))
            assert (done.returncode, done.stderr) == (0, "")
        finally:
            with psycopg.connect(free.database_url, autocommit=True) as connection:
                connection.execute(f"DROP ROLE {role}".encode())


class TestAHint:
    """What is wrong with a server is looked for where the server is configured."""

    @pytest.mark.parametrize("source", ["DATABASE_URL", "DATABASE_URL_FILE", "DATABASE_URL_COMMAND"])
    @pytest.mark.parametrize(
        "change", [{"host": "127.0.0.1", "port": "1"}, {"dbname": "gone"}, {"user": "gone"}]
    )
    def test_names_the_url(self, free: World, source: str, change: dict[str, str]) -> None:
        parts = psycopg.conninfo.conninfo_to_dict(make_conninfo(free.database_url, **change))
        host = str(parts.pop("host", "")).replace("/", "%2F")
        url = f"postgresql://{parts.get('user', '')}@{host}:{parts.get('port', 5432)}/{parts['dbname']}"
        (free.folder / "url").write_text(url)
        value = {"DATABASE_URL": url, "DATABASE_URL_FILE": "url", "DATABASE_URL_COMMAND": "cat url"}[source]
        done = start(free, "run-priority", **{source: value})
        assert done.returncode == 3
        (hint,) = re.findall(r"\(hint: (.*)\)", done.stderr)
        assert re.search(rf"\b{source}\b", hint)
        assert "DB_" not in hint

    def test_names_the_parts_that_are_set(self, free: World) -> None:
        done = start(free, "run-priority", DB_HOST="127.0.0.1", DB_PORT="1", DB_NAME="x")
        assert "check DB_HOST and DB_PORT)" in done.stderr

    def test_names_the_setting_of_the_file(self, free: World) -> None:
        free.document["database"] = {"url": "postgresql://127.0.0.1:1/x"}
        assert "check database.url in config.yml)" in start(free, "run-priority").stderr

    @pytest.mark.parametrize("source", ["REDIS_URL", "REDIS_URL_FILE"])
    def test_names_the_redis_url(self, free: World, source: str) -> None:
        (free.folder / "url").write_text("redis://127.0.0.1:1/0")
        value = "url" if source.endswith("FILE") else "redis://127.0.0.1:1/0"
        done = start(free, "run-queue", **{source: value})
        assert f"is it running, and is {source} right?)" in done.stderr

    def test_names_the_address_of_the_provider(self, free: World) -> None:
        env = {"POLYGON_BASE_URL": "http://127.0.0.1:1"}
        hint = "is the network up, and POLYGON_BASE_URL right?"
        assert f"(hint: {hint})" in start(free, "run-priority", **env).stderr
        found = json.loads(start(free, "doctor", "--json", **env).stdout)["findings"]
        assert [one["hint"] for one in found if one["check"] == "vendor"] == [hint]
        free.document["provider"]["base_url"] = "http://127.0.0.1:1"
        assert "and provider.base_url in config.yml right?" in start(free, "run-priority").stderr

    @pytest.mark.parametrize("source", ["POLYGON_API_KEY", "MASSIVE_API_KEY_FILE", "POLYGON_API_KEY_COMMAND"])
    def test_names_the_key(self, free: World, source: str) -> None:
        (free.folder / "key").write_text("made-up-key-9")
        free.provider.order("status=401", times=None)
        value = {"MASSIVE_API_KEY_FILE": "key", "POLYGON_API_KEY_COMMAND": "cat key"}.get(source, "made-up")
        done = start(free, "run-priority", **{"POLYGON_API_KEY": "", source: value})
        assert done.returncode == 4
        assert f"(hint: put a valid key into {source})" in done.stderr
        found = json.loads(start(free, "doctor", "--json", **{"POLYGON_API_KEY": "", source: value}).stdout)
        assert any(one["hint"] == f"put a valid key into {source}" for one in found["findings"])
