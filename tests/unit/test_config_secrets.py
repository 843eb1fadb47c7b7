"""Passwords beside URLs, secrets that a command prints, and what hints call a setting."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

from assetbatch.config import Config, load, secret_commands
from assetbatch.config.display import effective
from assetbatch.config.options import check_options
from assetbatch.config.secret_commands import SecretCommand
from assetbatch.config.sources import sources
from assetbatch.deadline import Deadline
from assetbatch.errors import ConfigError

from .config_folder import cwd, read_config

__all__ = ["cwd"]

HUSH = "hu/sh@:? #%"
PATH = os.environ["PATH"]


def read(cwd: Path, text: str = "", dotenv: str | None = None, **env: str) -> Config:
    return read_config(cwd, text, dotenv, PATH=PATH, **env)


def password_file(cwd: Path) -> str:
    (cwd / "password").write_text(f"{HUSH}\n")
    return "password"


class TestAPasswordBesideAUrl:
    @pytest.mark.parametrize(
        ("url", "parts"),
        [
            ("postgresql://me@db:5433/x", {"user": "me", "host": "db", "port": "5433", "dbname": "x"}),
            ("postgresql://db/x", {"host": "db", "dbname": "x"}),
            ("postgresql:///x?host=/run/pg", {"host": "/run/pg", "dbname": "x"}),
            ("postgresql://me@/x?host=/run/pg", {"user": "me", "host": "/run/pg", "dbname": "x"}),
            ("postgresql://me@a,b:2/x?sslmode=require", {"user": "me", "host": "a,b", "sslmode": "require"}),
            ("postgres://me@db", {"user": "me", "host": "db"}),
            ("postgresql://me:@db/x", {"user": "me", "host": "db"}),
        ],
    )
    @pytest.mark.parametrize("where", ["config.yml", "env", "file", "dotenv"])
    def test_goes_into_a_database_url_wherever_that_stands(
        self, cwd: Path, url: str, parts: dict[str, str], where: str
    ) -> None:
        (cwd / "url").write_text(url)
        env = {"env": {"DATABASE_URL": url}, "file": {"DATABASE_URL_FILE": "url"}}.get(where, {})
        config = read(
            cwd,
            f"database: {{url: '{url}'}}" if where == "config.yml" else "",
            f"DATABASE_URL='{url}'\n" if where == "dotenv" else "",
            DB_PASSWORD_FILE=password_file(cwd),
            **env,
        )
        found = conninfo_to_dict(config.require_database().reveal())
        assert found["password"] == HUSH
        assert {name: found[name] for name in parts} == parts
        assert config.origins["database.url"].endswith(", env DB_PASSWORD_FILE")

    @pytest.mark.parametrize(
        ("url", "username"),
        [
            ("redis://cache/0", None),
            ("rediss://me@cache:6380/0", "me"),
            ("unix:///run/redis.sock?db=1", None),
            ("redis://cache", None),
        ],
    )
    def test_goes_into_a_redis_url(self, cwd: Path, url: str, username: str | None) -> None:
        config = read(cwd, f"redis: {{url: '{url}'}}", REDIS_PASSWORD_FILE=password_file(cwd))
        parse: Any = parse_url
        options = parse(config.require_redis().reveal())
        assert options["password"] == HUSH
        assert (options.get("username") or None) == username

    def test_goes_into_the_url_of_a_group(self, cwd: Path) -> None:
        url = read(cwd, REDIS_URL="redis+sentinel://a,b:2/master", REDIS_PASSWORD="hush").require_redis()
        assert url.reveal() == "redis+sentinel://:hush@a,b:2/master"
        assert url.group == "sentinel"

    @pytest.mark.parametrize(
        "url", ["postgresql://me:own@db/x", "postgresql://me@db/x?password=own", "embedded"]
    )
    def test_leaves_a_url_that_has_one_as_it_is(self, cwd: Path, url: str) -> None:
        config = read(cwd, DATABASE_URL=url, DB_PASSWORD="other")
        assert config.require_database().reveal() == url

    def test_is_shown_by_its_origin_only(self, cwd: Path) -> None:
        config = read(cwd, "database: {url: postgresql://me@db/x}", DB_PASSWORD="hush")
        (line,) = [line for line in effective(config) if line.path == "database.url"]
        assert line.value == "postgresql://me:***@db/x"
        assert line.origin == "config.yml database.url, env DB_PASSWORD"

    def test_without_any_database_is_a_mistake(self, cwd: Path) -> None:
        with pytest.raises(ConfigError, match=r"env DB_PASSWORD: found without a database, expected "):
            read(cwd, DB_PASSWORD="hush")

    def test_is_not_read_for_embedded_servers(self, cwd: Path) -> None:
        read(cwd, "database: {url: embedded}\nredis: {url: embedded}", DB_PASSWORD_FILE="gone")


SECRETS: dict[str, tuple[str, Callable[[Config], str]]] = {
    "POLYGON_API_KEY": ("made-up-key", lambda config: config.require_api_key().reveal()),
    "MASSIVE_API_KEY": ("made-up-key", lambda config: config.require_api_key().reveal()),
    "DATABASE_URL": ("postgresql://me:hush@db/x", lambda config: config.require_database().reveal()),
    "DB_PASSWORD": ("hush", lambda config: config.require_database().reveal()),
    "REDIS_URL": ("redis://:hush@cache/0", lambda config: config.require_redis().reveal()),
    "REDIS_PASSWORD": ("hush", lambda config: config.require_redis().reveal()),
    "ASSETBATCH_NOTIFY_URLS": (
        "json://me:hush@h",
        lambda config: " ".join(url.reveal() for url in config.notify or ()),
    ),
}
URLS = {
    "DB_PASSWORD": "database: {url: 'postgresql://me@db/x'}",
    "REDIS_PASSWORD": "redis: {url: 'redis://cache/0'}",
}


def counting(cwd: Path, secret: str) -> str:
    """A command that prints a secret and leaves a line for each of its runs."""
    script = cwd / "get secret"
    script.write_text(f"#!/bin/sh\necho run >> '{cwd}/runs'\necho '{secret}'\n")
    script.chmod(0o755)
    return f"'{script}' --for massive"


def runs(cwd: Path) -> int:
    return (cwd / "runs").read_text().count("run") if (cwd / "runs").exists() else 0


class TestACommand:
    @pytest.mark.parametrize("name", SECRETS)
    @pytest.mark.parametrize("in_dotenv", [False, True])
    def test_gives_each_secret_when_it_is_wanted_and_once(
        self, cwd: Path, name: str, in_dotenv: bool
    ) -> None:
        secret, get = SECRETS[name]
        line = counting(cwd, secret)
        dotenv, env = (f'{name}_COMMAND="{line}"', {}) if in_dotenv else ("", {f"{name}_COMMAND": line})
        config = read(cwd, URLS.get(name, ""), dotenv, **env)
        shown = f"{effective(config)} {config!r}"
        check_options(config)
        assert runs(cwd) == 0
        assert secret not in shown
        assert [secret in get(config) for _ in range(3)] == [True] * 3
        assert runs(cwd) == 1

    def test_of_a_url_takes_a_password_beside_it(self, cwd: Path) -> None:
        config = read(cwd, DATABASE_URL_COMMAND="echo postgresql://me@db/x", DB_PASSWORD_COMMAND="echo hush")
        assert config.require_database().reveal() == "postgresql://me:hush@db/x"

    def test_may_say_that_the_server_is_embedded(self, cwd: Path) -> None:
        assert read(cwd, REDIS_URL_COMMAND="echo embedded").require_redis().embedded

    def test_runs_without_a_shell(self, cwd: Path) -> None:
        config = read(cwd, POLYGON_API_KEY_COMMAND="echo $HOME;id")
        assert config.require_api_key().reveal() == "$HOME;id"

    def test_starts_in_the_folder_of_the_file_that_names_it(self, cwd: Path, tmp_path: Path) -> None:
        (cwd / "key").write_text("made-up-key\n")
        (cwd / ".env").write_text("POLYGON_API_KEY_COMMAND='cat key'")
        (cwd / "config.yml").write_text("")
        config = load(cwd / "config.yml", {"PATH": PATH}, cwd=tmp_path)
        assert config.require_api_key().reveal() == "made-up-key"

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("sh -c 'echo hush; echo hush >&2; exit 3'", "the command ended with exit code 3"),
            ("sh -c 'echo hush; kill -9 $$'", "the command was ended by signal 9"),
            ("/nowhere/hush", "the command cannot be started: no such file or directory"),
            ("/etc/passwd", "the command cannot be started: permission denied"),
            ("true", "the command printed nothing"),
            ("printf 'hush\\nhush'", "the command printed several lines, expected the secret alone"),
            ("printf 'hush\\0'", "the command printed no text"),
            ("printf '\\377hush'", "the command printed no text"),
            ("yes hush", "the command printed more than 65536 bytes"),
            ("echo hush hush", "found a space, a control character or a letter beyond ASCII in the key, "),
        ],
    )
    def test_that_fails_is_named_without_what_may_be_the_secret(
        self, cwd: Path, capfd: pytest.CaptureFixture[str], line: str, problem: str
    ) -> None:
        config = read(cwd, POLYGON_API_KEY_COMMAND=line)
        with pytest.raises(ConfigError) as caught:
            config.require_api_key().reveal()
        assert caught.value.message.startswith(f"env POLYGON_API_KEY_COMMAND: {problem}")
        assert caught.value.exit_code == 2
        assert caught.value.hint
        assert "hush" not in str(caught.value)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(
        ("name", "line"), [("DATABASE_URL", "echo mysql://hush"), ("REDIS_URL", "echo hush")]
    )
    def test_that_prints_no_url_is_a_mistake(self, cwd: Path, name: str, line: str) -> None:
        config = read(cwd, **{f"{name}_COMMAND": line})
        url = config.database.url or config.redis.url
        assert url is not None
        with pytest.raises(ConfigError, match=f"env {name}_COMMAND: found ") as caught:
            url.reveal()
        assert "hush" not in str(caught.value)

    @pytest.mark.parametrize("line", ["echo 'hush", "hush\\", "''", "   "])
    def test_that_is_none_is_a_mistake_at_once(self, cwd: Path, line: str) -> None:
        with pytest.raises(ConfigError, match="env POLYGON_API_KEY_COMMAND: found ") as caught:
            read(cwd, POLYGON_API_KEY_COMMAND=line)
        assert "hush" not in str(caught.value)

    def test_that_hangs_is_killed_with_what_it_has_started(
        self, cwd: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(secret_commands, "SECONDS", 0.5)
        line = f"sh -c 'sleep 60 & echo $! > {cwd}/pid; wait'"
        config = read(cwd, POLYGON_API_KEY_COMMAND=line)
        began = time.monotonic()
        with pytest.raises(ConfigError, match=r"the command did not end within 0\.5 s"):
            config.require_api_key().reveal()
        assert time.monotonic() - began < 10
        sleeper = Path(f"/proc/{(cwd / 'pid').read_text().strip()}/cmdline")
        until = time.monotonic() + 10
        while sleeper.exists() and sleeper.read_bytes() and time.monotonic() < until:
            time.sleep(0.01)
        assert not (sleeper.exists() and sleeper.read_bytes())

    def test_that_hangs_until_the_deadline_is_what_is_named(self, cwd: Path) -> None:
        config = read(cwd, POLYGON_API_KEY_COMMAND="sleep 60")
        said = "env POLYGON_API_KEY_COMMAND: the command did not end before the time of this start was over"
        with pytest.raises(ConfigError, match=said), Deadline(0.3):
            config.require_api_key().reveal()

    def test_that_leaves_a_daemon_behind_is_not_waited_for(self, cwd: Path) -> None:
        config = read(cwd, POLYGON_API_KEY_COMMAND="sh -c 'sleep 5 & echo made-up-key'")
        began = time.monotonic()
        assert config.require_api_key().reveal() == "made-up-key"
        assert time.monotonic() - began < 4

    def test_that_failed_is_not_run_again_in_the_same_start(
        self, cwd: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [100.0]
        monkeypatch.setattr(secret_commands, "monotonic", lambda: now[0])
        (cwd / "fails").write_text(f"#!/bin/sh\necho run >> '{cwd}/runs'\nexit 1\n")
        (cwd / "fails").chmod(0o755)
        get = SecretCommand([str(cwd / "fails")], "env X_COMMAND", cwd, {"PATH": PATH})
        for _ in range(3):
            with pytest.raises(ConfigError):
                get()
        assert runs(cwd) == 1
        now[0] += secret_commands.AGAIN_SECONDS + 1  # `serve` runs on
        with pytest.raises(ConfigError):
            get()
        assert runs(cwd) == 2

    @pytest.mark.parametrize(
        ("env", "problem"),
        [
            (
                {"POLYGON_API_KEY": "hush", "POLYGON_API_KEY_COMMAND": "echo hush"},
                "env POLYGON_API_KEY_COMMAND: found besides POLYGON_API_KEY, expected only one of them",
            ),
            (
                {"DB_PASSWORD_FILE": "hush", "DB_PASSWORD_COMMAND": "echo hush", "DATABASE_URL": "postgresql://a/b"},
                "env DB_PASSWORD_COMMAND: found besides DB_PASSWORD_FILE, expected only one of them",
            ),
            (
                {"MASSIVE_API_KEY": "hush", "POLYGON_API_KEY_COMMAND": "echo hush"},
                "env POLYGON_API_KEY_COMMAND and env MASSIVE_API_KEY: found beside each other, "
                "expected only one of them",
            ),
        ],
    )  # fmt: skip
    def test_beside_another_source_is_a_mistake(self, cwd: Path, env: dict[str, str], problem: str) -> None:
        with pytest.raises(ConfigError) as caught:
            read(cwd, **env)
        assert str(caught.value) == problem

    def test_of_a_dotenv_that_others_may_write_is_not_run(self, cwd: Path) -> None:
        (cwd / ".env").write_text("POLYGON_API_KEY_COMMAND='echo hush'\n")
        (cwd / ".env").chmod(0o666)
        with pytest.raises(ConfigError, match=r"not run: others may write the \.env"):
            read(cwd)

    def test_is_not_run_for_a_sandbox(self, cwd: Path) -> None:
        (cwd / "config.yml").write_text("")
        load(None, {"POLYGON_API_KEY_COMMAND": "'"}, cwd=cwd, sandbox=True)


class TestNamesInHints:
    """A hint names what is set, and where."""

    @pytest.mark.parametrize(
        ("text", "dotenv", "env", "names"),
        [
            ("database: {url: 'postgresql://a/b'}", "", {}, ("database.url in config.yml",) * 3),
            ("", "", {"DATABASE_URL": "postgresql://a/b"}, ("DATABASE_URL",) * 3),
            ("", "DATABASE_URL=postgresql://a/b", {}, ("DATABASE_URL in .env",) * 3),
            ("", "", {"DATABASE_URL_COMMAND": "echo"}, ("DATABASE_URL_COMMAND",) * 3),
            (
                "",
                "DB_PASSWORD=hush",
                {"DB_HOST": "a", "DB_NAME": "b", "DB_USER": "c"},
                ("DB_HOST", "DB_USER and DB_PASSWORD in .env", "DB_NAME"),
            ),
            (
                "",
                "",
                {"DB_HOST": "a", "DB_PORT": "1", "DB_NAME": "b"},
                ("DB_HOST and DB_PORT", "DB_USER", "DB_NAME"),
            ),
            (
                "database: {url: 'postgresql://a/b'}",
                "",
                {"DB_PASSWORD": "hush"},
                (
                    "database.url in config.yml",
                    "database.url in config.yml and DB_PASSWORD",
                    "database.url in config.yml",
                ),
            ),
        ],
    )
    def test_of_the_database(
        self, cwd: Path, text: str, dotenv: str, env: dict[str, str], names: tuple[str, ...]
    ) -> None:
        url = read(cwd, text, dotenv, **env).require_database()
        assert (url.names.address, url.names.login, url.names.database) == names

    def test_of_the_key(self, cwd: Path) -> None:
        assert read(cwd, "", "MASSIVE_API_KEY=k").require_api_key().name == "MASSIVE_API_KEY in .env"


def test_each_file_that_holds_a_secret_is_watched_for_a_change(cwd: Path) -> None:
    for name in ("key", "urls", "other"):
        (cwd / name).write_text("json://somewhere.example")
    dotenv = "ASSETBATCH_NOTIFY_URLS_FILE=urls\n"
    config = read(cwd, "", dotenv, POLYGON_API_KEY_FILE="key", DB_ANYTHING_FILE="other")
    assert sources(config) == [cwd / "config.yml", cwd / ".env", cwd / "key", cwd / "urls"]
