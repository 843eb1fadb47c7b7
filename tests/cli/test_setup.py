"""`setup` on real servers: in a script, and as a person at a terminal sees it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from assetbatch.cli.setup import _write
from assetbatch.config import load
from assetbatch.sandbox import SandboxServer
from assetbatch.secret import Secret
from tests import program
from tests.commands.conftest import MakeWorld
from tests.documented import shows
from tests.world import World

from .terminal import Terminal

KEY = "made-up-key-of-setup"
ONLY_KEY = "the-only-key-it-takes"
PASSWORD = "made-up-password"
NOWHERE = "postgresql://me@127.0.0.1:1/x"


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """Servers without tables, and a provider."""
    return make_world(init=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


def redis_of(world: World) -> str:
    return str(world.document["redis"]["url"])


def with_password(world: World) -> str:
    """The URL of the database with a password; the server asks for none."""
    parts = urlsplit(world.database_url)
    user = parts.netloc.partition("@")[0].partition(":")[0]
    return parts._replace(netloc=f"{user}:{PASSWORD}@{parts.netloc.partition('@')[2]}").geturl()


def arguments(world: World, **changed: str) -> list[str]:
    """The options that answer everything but the key."""
    given = {"database-file": "database", "redis": redis_of(world), "base-url": world.provider.base_url}
    return ["--config", "ab/config.yml", "setup"] + [
        word for name, value in (given | changed).items() if value for word in (f"--{name}", value)
    ]


def run(
    world: World, home: Path, *more: str, key: str = KEY, **changed: str
) -> subprocess.CompletedProcess[str]:
    (home / "database").write_text(with_password(world))
    return program.start(
        *arguments(world, **changed), *more, cwd=home, env={"HOME": str(home), "POLYGON_API_KEY": key}
    )


def files(home: Path) -> set[str]:
    return {path.name for path in (home / "ab").glob("*")}


class TestInAScript:
    def test_writes_what_works_creates_the_tables_and_registers_the_assets(
        self, world: World, home: Path
    ) -> None:
        done = run(world, home, "--assets", "ETHUSD GBPUSD")
        assert (done.returncode, done.stderr) == (0, "")
        assert files(home) == {"config.yml", ".env", "api_key", "db_password"}
        for name in (".env", "api_key", "db_password"):
            assert (home / "ab" / name).stat().st_mode & 0o777 == 0o600
        assert world.rows("SELECT count(*) FROM trading.symbols") == [(5,)]
        config = load(home / "ab/config.yml", {}, cwd=home)
        assert config.require_api_key().reveal() == KEY
        status = program.start("--config", "ab/config.yml", "run-priority", "--json", cwd=home, env={})
        assert status.returncode == 0, status.stderr

    def test_says_what_to_type_next(self, world: World, home: Path) -> None:
        lines = run(world, home).stdout.splitlines()
        assert lines[0].startswith("written to ")
        assert [line.split("    ")[0].rsplit(" ", 1)[-1] for line in lines[1:]] == [
            "status",
            "doctor",
            "install",
        ]

    def test_without_a_key_names_the_option(self, world: World, home: Path) -> None:
        done = run(world, home, key="")
        assert (done.returncode, done.stdout) == (2, "")
        assert "--key-file" in done.stderr
        assert files(home) == set()

    def test_without_a_server_names_the_option(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        script = (
            "import sys, assetbatch.embedded.binaries as b; b.find_valkey = lambda path=None: None;"
            "sys.argv = ['assetbatch', '--config', 'ab/config.yml', 'setup', '--database', 'embedded'];"
            "from assetbatch.cli import main; main()"
        )
        done = subprocess.run(
            [program.PROGRAM[0], "-c", script],
            cwd=home, env={**program.BARE, "HOME": str(home), "POLYGON_API_KEY": KEY},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "--redis is missing" in done.stderr

    def test_a_database_that_is_not_there_ends_with_doctors_code_and_writes_nothing(
        self, world: World, home: Path
    ) -> None:
        done = run(world, home, **{"database-file": "", "database": NOWHERE})
        assert done.returncode == 3
        assert "nothing listens there" in done.stdout
        assert "check database.url in your answers" in done.stdout
        assert "no file was written" in done.stderr
        assert files(home) == set()

    def test_a_wrong_key_ends_with_doctors_code_and_writes_nothing(
        self, world: World, home: Path, refusing: SandboxServer
    ) -> None:
        done = run(world, home, **{"base-url": refusing.base_url})
        assert done.returncode == 4
        assert "refuses the API key" in done.stdout
        assert files(home) == set()

    def test_is_written_untried_where_that_is_asked(self, world: World, home: Path) -> None:
        done = run(world, home, "--no-check", **{"database-file": "", "database": NOWHERE})
        assert (done.returncode, done.stderr) == (0, "")
        assert world.rows("SELECT to_regclass('trading.symbols')::text") == [(None,)]
        assert NOWHERE in (home / "ab/config.yml").read_text()

    def test_repeated_changes_nothing_that_is_not_asked(self, world: World, home: Path) -> None:
        run(world, home)
        config = home / "ab/config.yml"
        config.write_text("# mine\n" + config.read_text().replace("max_size: 1000 ", "max_size: 7    "))
        config.chmod(0o640)
        before = {path: (path.read_text(), path.stat().st_mtime_ns) for path in (home / "ab").iterdir()}
        dry = run(world, home, "--dry-run")
        assert dry.stdout == "nothing would change: everything is as it was answered\n"
        again = run(world, home)
        assert again.stdout.startswith("nothing to write")
        assert {
            path: (path.read_text(), path.stat().st_mtime_ns) for path in (home / "ab").iterdir()
        } == before
        (home / "key").write_text("another-made-up-key")
        added = run(world, home, "--assets", "ETHUSD", "--key-file", "key")
        assert added.returncode == 0, added.stderr
        assert config.read_text().startswith("# mine\n")
        assert "max_size: 7    " in config.read_text()
        assert config.stat().st_mode & 0o777 == 0o640
        assert (home / "ab/api_key").read_text() == "another-made-up-key\n"
        assert world.rows("SELECT count(*) FROM trading.symbols") == [(4,)]

    def test_a_server_of_another_program_in_the_shell_is_named_and_left(
        self, world: World, home: Path
    ) -> None:
        (home / "ab").mkdir()
        config = home / "ab/config.yml"
        config.write_text(
            "database: {url: postgresql://me@db/x}\nredis: {url: redis://db}\nnotify: [ntfy://mine]\n"
        )
        env = {"HOME": str(home), "POLYGON_API_KEY": KEY, "DATABASE_URL": "postgresql://a:b@c/d"}
        env["ASSETBATCH_NOTIFY_URLS"] = "ntfy://theirs"
        words = ("--config", "ab/config.yml", "setup", "--yes", "--no-check", "--assets", "ETHUSD")
        done = program.start(*words, cwd=home, env=env)
        assert done.returncode == 0, done.stderr
        assert "DATABASE_URL: not what is configured, which stays (hint: --database or" in done.stderr
        assert "ASSETBATCH_NOTIFY_URLS: not what is configured" in done.stderr
        assert "url: postgresql://me@db/x" in config.read_text()
        assert files(home) == {"config.yml", ".env", "api_key"}

    def test_a_file_that_cannot_be_changed_safely_stays_as_it_is(self, world: World, home: Path) -> None:
        (home / "ab").mkdir()
        config = home / "ab/config.yml"
        config.write_text("x: &server {url: embedded}\nredis: *server\n".replace("x:", "database:"))
        before = config.read_text()
        done = run(world, home)
        assert (done.returncode, config.read_text()) == (2, before)
        shows(done.stderr, "this config.yml is written in a way that setup does not change by itself")
        assert "database.url: " in done.stderr

    def test_a_dry_run_shows_the_files_and_no_secret_and_changes_nothing(
        self, world: World, home: Path
    ) -> None:
        done = run(world, home, "--dry-run", "--schedule", "crontab")
        assert (done.returncode, done.stderr) == (0, "")
        assert not (home / "ab").exists()
        assert world.rows("SELECT to_regclass('trading.symbols')::text") == [(None,)]
        for text in (f"{home}/ab/api_key (new, mode 600)", "priority_assets:", "# assetbatch begin main"):
            assert text in done.stdout
        assert KEY not in done.stdout
        assert PASSWORD not in done.stdout

    def test_shows_no_command_that_prints_a_secret(self, world: World, home: Path) -> None:
        (home / "database").write_text(world.database_url)
        env = {"HOME": str(home), "POLYGON_API_KEY_COMMAND": f"echo \\\n{KEY}"}
        done = program.start(*arguments(world), "--dry-run", cwd=home, env=env)
        assert "  + POLYGON_API_KEY_COMMAND=***\n" in done.stdout
        assert KEY not in done.stdout + done.stderr

    def test_names_the_lines_of_a_second_installation(self, world: World, home: Path) -> None:
        done = run(world, home, "--dry-run", "--schedule", "crontab", "--name", "second")
        assert "# assetbatch begin second" in done.stdout
        assert run(world, home, "--name", "a/b").returncode == 2

    def test_shows_no_password_of_a_line_that_it_replaces(self, world: World, home: Path) -> None:
        run(world, home)
        config = home / "ab/config.yml"
        old = 'database: {url: "postgresql://x:old-password@h/x"}'
        config.write_text(re.sub(r"(?m)^database:\n( .*\n)+", f"{old}\n", config.read_text()))
        (home / "ab/.env").write_text("POLYGON_API_KEY=old-key # mine\n")
        done = run(world, home, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert "postgresql://***@" in done.stdout
        assert "old-" not in done.stdout + done.stderr

    @pytest.mark.parametrize("name", ["config.yml", ".env"])
    def test_a_file_that_is_broken_is_told_and_left(self, world: World, home: Path, name: str) -> None:
        run(world, home)
        (home / "ab" / name).write_text("a: [")
        done = run(world, home)
        assert (done.returncode, (home / "ab" / name).read_text()) == (2, "a: [")
        assert ": line " in done.stderr
        assert "Traceback" not in done.stderr

    def test_takes_the_key_from_stdin(self, world: World, home: Path) -> None:
        (home / "database").write_text(world.database_url)
        done = subprocess.run(
            [*program.PROGRAM, *arguments(world), "--key-file", "-"],
            cwd=home, env={**program.BARE, "HOME": str(home)},
            input=f"{KEY}\n", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (home / "ab/api_key").read_text() == f"{KEY}\n"

    def test_is_there_all_the_same_where_nothing_can_start_it(self, world: World, home: Path) -> None:
        (home / "database").write_text(with_password(world))
        env = {"HOME": str(home), "POLYGON_API_KEY": KEY, "PATH": "/nowhere"}
        done = program.start(*arguments(world), "--schedule", "crontab", cwd=home, env=env)
        assert done.returncode == 3
        assert "there is no crontab on this host" in done.stderr
        assert "config.yml" in files(home)
        assert "cron install    lets cron start it" in done.stdout

    def test_warns_of_a_setting_that_cron_will_not_have(self, world: World, home: Path) -> None:
        (home / "database").write_text(world.database_url)
        env = {"HOME": str(home), "POLYGON_API_KEY": KEY, "QUEUE_MAX_SIZE": "5"}
        done = program.start(*arguments(world), cwd=home, env=env)
        assert "QUEUE_MAX_SIZE: set in this shell only" in done.stderr

    def test_is_not_for_a_sandbox(self, home: Path) -> None:
        done = program.start("--sandbox", "setup", cwd=home, env={"HOME": str(home)})
        assert done.returncode == 2
        assert "a sandbox needs no setup" in done.stderr


@pytest.fixture
def refusing() -> Iterator[SandboxServer]:
    with SandboxServer(key=Secret(ONLY_KEY)) as server:
        yield server


class TestAtATerminal:
    @pytest.fixture
    def terminal(self, world: World, home: Path) -> Callable[..., Terminal]:
        def start(*more: str) -> Terminal:
            given = ["--base-url", world.provider.base_url, "--schedule", "none", *more]
            return Terminal("--config", "ab/config.yml", "setup", *given, cwd=home, env={})

        return start

    def questions(self, world: World) -> list[tuple[str, str]]:
        return [
            ("API key: ", KEY),
            ("Plan", ""),
            ("PostgreSQL", with_password(world)),
            ("Redis", redis_of(world)),
            ("Priority assets", ""),
            ("More assets", "NONSENSE"),
            ("is no pair of known names", "ETHUSD"),
        ]

    def test_asks_tries_writes_and_fetches(
        self, world: World, home: Path, terminal: Callable[..., Terminal]
    ) -> None:
        with terminal() as screen:
            screen.answer(*self.questions(world))
            screen.answer(("Try this", ""), ("Fetch the first prices now?", "y"))
            screen.see("BTCUSD")
            assert screen.end() == 0
        assert KEY not in screen.shown  # it is not echoed
        assert "all is well" in screen.shown
        assert world.rows("SELECT count(*) FROM trading.symbols WHERE metadata ? 'last_update'") == [(3,)]

    def test_asks_again_for_what_is_wrong(
        self, world: World, home: Path, terminal: Callable[..., Terminal]
    ) -> None:
        with terminal() as screen:
            missing = urlsplit(with_password(world))._replace(path="/not_there").geturl()
            answers = dict(self.questions(world)) | {"PostgreSQL": NOWHERE}
            for question, text in answers.items():
                screen.answer((question, text))
                if question == "PostgreSQL":
                    screen.answer(("Its password", ""))
            screen.answer(("Try this", ""))
            screen.see("nothing listens there")
            screen.answer(("[c]orrect", "c"), ("PostgreSQL", missing))
            assert "CREATE" not in screen.shown
            screen.see("there is no such database")
            screen.see("CREATE DATABASE not_there OWNER")
            assert files(home) == set()
            screen.answer(("[c]orrect", "c"), ("PostgreSQL", with_password(world)), ("Fetch", "n"))
            assert screen.end() == 0
        assert "config.yml" in files(home)

    def test_asks_again_for_a_key_that_is_refused(
        self, world: World, home: Path, refusing: SandboxServer
    ) -> None:
        given = ["--base-url", refusing.base_url, "--schedule", "none"]
        with Terminal("--config", "ab/config.yml", "setup", *given, cwd=home, env={}) as screen:
            screen.answer(*self.questions(world), ("Try this", ""))
            screen.see("refuses the API key")
            screen.answer(("[c]orrect", ""), ("API key: ", ONLY_KEY), ("Fetch", "n"))
            assert screen.end() == 0
        assert (home / "ab/api_key").read_text() == f"{ONLY_KEY}\n"

    @pytest.mark.parametrize("at", [0, 2, 6, 7])
    def test_ctrl_c_at_a_question_leaves_nothing(
        self, world: World, home: Path, terminal: Callable[..., Terminal], at: int
    ) -> None:
        questions = [*self.questions(world), ("Try this", "")]
        with terminal() as screen:
            screen.answer(*questions[:at])
            screen.see(questions[at][0])
            assert screen.interrupt() == 130
        assert not (home / "ab").exists()
        assert world.rows("SELECT to_regclass('trading.symbols')::text") == [(None,)]

    def test_keeps_what_is_there_with_enter(
        self, world: World, home: Path, terminal: Callable[..., Terminal]
    ) -> None:
        run(world, home)
        before = {path: path.read_text() for path in (home / "ab").iterdir()}
        with terminal() as screen:
            screen.answer(
                ("API key [keep]", ""), ("Plan", ""), ("PostgreSQL", ""), ("Redis", ""), ("More assets", "")
            )
            screen.answer(("Fetch", "n"))
            assert screen.end() == 0
        assert {path: path.read_text() for path in (home / "ab").iterdir()} == before
        assert PASSWORD not in screen.shown


class TestASecretThatIsThere:
    @pytest.mark.parametrize(("mode", "kept"), [(0o640, 0o640), (0o660, 0o640), (0o644, 0o600)])
    def test_stays_readable_by_its_group(self, tmp_path: Path, mode: int, kept: int) -> None:
        file = tmp_path / "api_key"
        file.write_text("old")
        file.chmod(mode)
        if os.geteuid() == 0:
            os.chown(file, 0, 65534)
        before = file.stat()
        _write(file, "new", 0o600, is_secret=True)
        after = file.stat()
        assert (after.st_mode & 0o777, after.st_gid, after.st_uid) == (kept, before.st_gid, before.st_uid)

    def test_behind_a_link_to_another_folder_is_left(self, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        shared.write_text("shared")
        folder = tmp_path / "ab"
        folder.mkdir()
        (folder / "api_key").symlink_to(shared)
        _write(folder / "api_key", "new", 0o600, is_secret=True)
        assert shared.read_text() == "shared"
        assert ((folder / "api_key").read_text(), (folder / "api_key").is_symlink()) == ("new", False)


class TestThePlace:
    def test_is_that_of_the_user_and_not_the_file_of_the_clone(self, world: World, home: Path) -> None:
        from assetbatch.config import built_in_config

        (home / "config.yml").write_bytes(built_in_config())
        words = [word for word in arguments(world) if word not in ("--config", "ab/config.yml")]
        (home / "database").write_text(world.database_url)
        done = program.start(*words, "--dry-run", cwd=home, env={"HOME": str(home), "POLYGON_API_KEY": KEY})
        found = re.findall(r"(?m)^(\S+/config\.yml) \(new", done.stdout)
        assert found in ([f"{home}/.config/assetbatch/config.yml"], ["/etc/assetbatch/config.yml"])

    def test_is_the_file_that_is_in_force(self, world: World, home: Path) -> None:
        (home / "config.yml").write_text("priority_assets: [{symbol: XAUUSD}]  # mine\n")
        words = [word for word in arguments(world) if word not in ("--config", "ab/config.yml")]
        (home / "database").write_text(world.database_url)
        done = program.start(*words, "--dry-run", cwd=home, env={"HOME": str(home), "POLYGON_API_KEY": KEY})
        assert f"{home}/config.yml (changed" in done.stdout


def test_generate_prints_a_file_that_is_valid_and_the_schema_is_that_of_the_settings(tmp_path: Path) -> None:
    import json

    from assetbatch.config.schema import config_schema

    generated = program.start("config", "generate", cwd=tmp_path, env={"HOME": str(tmp_path)})
    (tmp_path / "config.yml").write_text(generated.stdout)
    config = load(tmp_path / "config.yml", {}, cwd=tmp_path)
    assert len(config.assets) > 12
    schema = program.start("config", "schema", cwd=tmp_path, env={"HOME": str(tmp_path)})
    assert json.loads(schema.stdout) == config_schema()
    (named,) = re.findall(r"\$schema=(\S+)", generated.stdout)
    assert json.loads(Path(named).read_text()) == config_schema()
