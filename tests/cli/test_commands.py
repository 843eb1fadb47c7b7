"""The program as cron and people start it: a process with arguments, environment, output and exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.core import TyperGroup

from assetbatch.cli.app import LazyGroup
from tests import program
from tests.commands.conftest import MakeWorld
from tests.program import BARE
from tests.world import KEY, World

RUN_COMMANDS = ["run-priority", "run-queue", "enqueue-secondary"]
MARK = "m4rk3d"


def every_command() -> list[str]:
    """All that one can type, `dead list` too."""
    names = []
    for name, command in LazyGroup().commands.items():
        names += [f"{name} {sub}" for sub in command.commands] if isinstance(command, TyperGroup) else [name]
    return names


COMMANDS = every_command()


def start(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, cold: bool = False
) -> subprocess.CompletedProcess[str]:
    """One start with an environment as bare as cron's."""
    return program.start(*arguments, cwd=cwd, env={"HOME": str(cwd), **(env or {})}, cold=cold)


def run(world: World, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    world.config()  # writes the file
    return start(*arguments, cwd=world.folder, env={"POLYGON_API_KEY": KEY, **env})


class TestHelp:
    def test_names_every_command(self, tmp_path: Path) -> None:
        shown = start("--help", cwd=tmp_path)
        assert shown.returncode == 0
        for command in COMMANDS:
            assert command.split()[0] in shown.stdout

    @pytest.mark.parametrize("command", [*COMMANDS, "config", "dead", ""])
    def test_of_each_command_and_group_ends_with_examples_and_exit_codes(
        self, tmp_path: Path, command: str
    ) -> None:
        shown = start(*command.split(), "--help", cwd=tmp_path)
        assert shown.returncode == 0
        assert "Examples: assetbatch" in shown.stdout
        assert "Exit codes: 0" in shown.stdout

    def test_a_wrong_option_is_a_usage_error(self, tmp_path: Path) -> None:
        assert start("run-priority", "--max-second", "5", cwd=tmp_path).returncode == 2

    def test_a_shell_completes_commands_and_options(self, tmp_path: Path) -> None:
        def complete(words: str) -> list[str]:
            wanted = {"_ASSETBATCH_COMPLETE": "complete_bash", "COMP_WORDS": words}
            env = {**wanted, "COMP_CWORD": str(words.count(" "))}
            program = Path(sys.executable).with_name("assetbatch")
            done = subprocess.run(
                [program], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
            )
            return done.stdout.split()

        assert complete("assetbatch run-") == ["run-priority", "run-queue"]
        assert "--check" in complete("assetbatch status --")

    def test_no_help_breaks_its_lines_where_a_docstring_does(self) -> None:
        for name, command in LazyGroup().commands.items():
            for one in (command, *getattr(command, "commands", {}).values()):
                assert "\n" not in (one.help or "").replace("\n\n", ""), name

    def test_the_version_is_printed(self, tmp_path: Path) -> None:
        assert re.fullmatch(r"assetbatch \d+\.\d+\.\d+\n", start("--version", cwd=tmp_path).stdout)


class TestSuccess:
    def test_is_silent_when_nobody_watches(self, free: World) -> None:
        for command in ("run-priority", "enqueue-secondary", "run-queue"):
            done = run(free, command)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_is_told_with_v(self, free: World) -> None:
        done = run(free, "-v", "run-priority")
        assert re.search(r"\+00:00 INFO run-priority: 5-minute bars of C:XAUUSD, .*: ok \(\d+", done.stderr)
        assert "INFO run-priority: 3 calls, 3 prices published" in done.stderr

    def test_can_be_had_as_json(self, free: World) -> None:
        result = json.loads(run(free, "run-priority", "--json").stdout)
        assert [asset["status"] for asset in result["assets"]] == ["success"] * 3
        assert (result["command"], result["command_old"]) == ("run-priority", "run_priority")
        assert result["calls"] == 3

    def test_is_the_same_moment_whatever_the_time_zone_of_the_machine(self, free: World) -> None:
        run(free, "run-priority", TZ="Asia/Kolkata")
        update = free.last_update("BTCUSD")
        ((latest,),) = free.rows("SELECT max(ts) + interval '5 minutes' FROM market_data.ohlcv_5m")
        assert update is not None
        assert datetime.fromisoformat(update["timestamp"]) == latest
        assert latest.astimezone(ZoneInfo("America/New_York")).time() == datetime.min.time()

    def test_a_dry_run_prints_its_plan_and_calls_nobody(self, free: World) -> None:
        done = run(free, "run-priority", "--dry-run")
        assert done.stdout.startswith("call 1: 5-minute bars of C:XAUUSD")
        assert free.paths == []


class TestFailure:
    def test_of_some_assets_is_exit_1_and_a_line_each(self, free: World) -> None:
        free.provider.order("status=500", path_contains="C:EURUSD")
        done = run(free, "run-priority")
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "WARNING run-priority: EURUSD: " in line

    def test_of_the_configuration_is_exit_2_and_names_file_key_and_what_is_allowed(self, free: World) -> None:
        free.document["queue"] = {"max_size": "many"}
        (free.folder / "config.yml").write_text(json.dumps(free.document))
        done = start("run-queue", cwd=free.folder, env={"POLYGON_API_KEY": KEY})
        assert done.returncode == 2
        assert "config.yml: queue.max_size: found 'many', expected a whole number" in done.stderr

    def test_of_status_without_a_database_is_exit_3(self, free: World) -> None:
        free.document["database"]["url"] = f"postgresql://me:{MARK}@/nothing?host={free.folder}"
        done = run(free, "status")
        assert done.returncode == 3
        assert free.paths == []
        assert MARK not in done.stdout + done.stderr


class TestOutput:
    def test_an_error_comes_with_the_cycle_as_json_where_that_is_wanted(self, free: World) -> None:
        done = run(free, "run-priority", "--json", POLYGON_BASE_URL="http://127.0.0.1:9")
        assert done.returncode == 3
        result = json.loads(done.stdout)
        assert (result["result"], [asset["status"] for asset in result["assets"]]) == (
            "failed",
            ["failed"] * 3,
        )
        assert "the API cannot be reached" in result["error"]

    @pytest.mark.parametrize(
        "command",
        ["run-priority", "holes", "verify", "queue list", "dead list", "backfill --all --from 2024-01-01"],
    )
    def test_an_error_is_a_document_where_one_is_wanted(self, free: World, command: str) -> None:
        free.document["redis"]["url"] = f"unix://{free.folder}/nothing"
        free.document["database"]["url"] = f"postgresql:///nothing?host={free.folder}"
        done = run(free, *command.split(), "--json")
        assert done.returncode == 3
        document = json.loads(done.stdout)
        assert document.keys() == {"error", "hint"}
        assert f"{document['error']} (hint: {document['hint']})" in done.stderr

    def test_the_health_document_says_that_redis_is_down(self, free: World) -> None:
        free.document["redis"]["url"] = f"unix://{free.folder}/nothing"
        done = run(free, "status", "--json")
        assert done.returncode == 3
        document = json.loads(done.stdout)
        assert (document["status"], len(document["problems"])) == ("unhealthy", 1)

    def test_an_ascii_terminal_gets_substitutes(self, free: World) -> None:
        done = run(free, "status", PYTHONIOENCODING="ascii")
        assert done.returncode == 0
        assert "plan" in done.stdout

    def test_a_full_disk_under_the_output_is_an_error_in_words(self, free: World) -> None:
        free.config()
        command = f"{sys.executable} -m assetbatch status > /dev/full"
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=free.folder,
            env={**BARE, "POLYGON_API_KEY": KEY},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "the output cannot be written: No space left on device" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_closed_output_does_not_break_the_cycle(self, free: World) -> None:
        free.config()
        command = f"{sys.executable} -m assetbatch run-priority --json >&-"
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=free.folder,
            env={**BARE, "POLYGON_API_KEY": KEY},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert free.last_update("XAUUSD") is not None

    @pytest.mark.parametrize("columns", ["80", "120"])
    def test_the_table_keeps_its_columns_beside_a_long_error(self, free: World, columns: str) -> None:
        free.provider.order("status=500", path_contains="C:EURUSD")
        run(free, "run-priority")
        shown = run(free, "status", COLUMNS=columns).stdout
        assert re.search(r"^asset +price +day +age +behind +bars +market +state *$", shown, re.MULTILINE)
        assert re.search(r"^EURUSD +- .* failed( .*)?$", shown, re.MULTILINE)


class TestStopping:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_a_signal_hands_the_work_back(self, make_world: MakeWorld, number: int, code: int) -> None:
        world = make_world(limit=1, window_seconds=30)
        world.know_that_today_is_refused()
        run(world, "enqueue-secondary")
        process = subprocess.Popen(
            [sys.executable, "-m", "assetbatch", "-v", "run-queue"],
            cwd=world.folder,
            env={**BARE, "POLYGON_API_KEY": KEY},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert any("waiting" in line for line in iter(process.stderr.readline, ""))
        started = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=10)
        assert process.returncode == code
        assert time.monotonic() - started < 10  # of the 30 s it would wait
        with world.services() as services:
            state = services.queue.state()
        assert (state.size, state.leased) == (2, 0)


class TestStatus:
    def test_has_the_documents_public_keys(self, free: World) -> None:
        run(free, "run-priority")
        document = json.loads(run(free, "status", "--json").stdout)
        assert {
            "status",
            "checked_at",
            "plan",
            "jobs",
            "queue",
            "last_priority_update",
            "api_calls_remaining",
            "next_slot_in_seconds",
            "assets",
            "metrics",
            "alerts",
        } <= document.keys()
        assert {"tier", "limit", "window_seconds", "refusals"} <= document["plan"].keys()
        assert [job["id"] for job in document["jobs"]] == RUN_COMMANDS
        assert [job["id_old"] for job in document["jobs"]] == [
            "run_priority",
            "run_queue",
            "enqueue_secondary",
        ]
        for job in document["jobs"]:
            assert {"last_started", "last_finished", "last_result", "next_run", "skipped"} <= job.keys()
        assert document["queue"]["by_priority"] == {"CRITICAL": 0, "HIGH": 0, "MEDIUM": 0, "LOW": 0}
        assert document["queue"].keys() == {
            "total_items",
            "by_priority",
            "bars",
            "history",
            "oldest_item_age_seconds",
            "leased",
            "delayed",
            "dead",
            "max_size",
            "calls_ahead",
            "done_in_seconds",
        }
        gold = document["assets"][0]
        assert {"symbol", "class", "last_price", "as_of", "age_seconds", "state", "error"} <= gold.keys()
        assert (gold["symbol"], gold["class"], gold["state"]) == ("XAUUSD", "CRITICAL", "fresh")
        assert document["metrics"].keys() >= {
            "batch.priority.success_rate",
            "batch.priority.latency_ms",
            "queue.size",
            "api.rate_limit_waits",
        }
        assert document["status"] == "healthy"

    def test_is_plain_and_fits_80_columns_when_piped(self, free: World) -> None:
        run(free, "run-priority")
        shown = run(free, "status").stdout
        assert "\x1b" not in shown
        assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
        assert re.search(r"XAUUSD +[\d,.]+ .* fresh", shown)

    def test_shows_problems_first(self, free: World) -> None:
        free.provider.order("status=401", times=None)
        run(free, "run-priority")
        lines = run(free, "status").stdout.splitlines()
        assert lines[0].startswith("unhealthy")
        assert lines[1].startswith("! the last run-priority failed: the provider refuses the API key")


class TestConfig:
    def test_show_masks_secrets_and_names_origins(self, free: World) -> None:
        done = run(free, "config", "show", POLYGON_TIER="starter", REDIS_URL=f"redis://:{MARK}@localhost/0")
        assert "rate_limiting.tier = starter  # env POLYGON_TIER" in done.stdout
        assert "queue.max_size = 1000  # default" in done.stdout
        assert MARK not in done.stdout
        assert KEY not in done.stdout

    def test_check_says_valid(self, free: World) -> None:
        done = run(free, "config", "check")
        assert done.stdout.strip().endswith("valid, 3 priority and 3 secondary assets")
        assert done.stderr == ""

    def test_symbols_that_are_nearly_alike_are_a_warning_of_check_and_doctor(self, free: World) -> None:
        twin = {"symbol": "eur/usd", "polygon_ticker": "C:EURGBP", "enabled": False}
        free.document["secondary_assets"] = [twin]
        told = "EURUSD, eur/usd differ in nothing but case or separators"
        done = run(free, "config", "check")
        assert (done.returncode, done.stdout.count("\n"), done.stderr.count("\n")) == (0, 1, 1)
        assert f"WARNING config check: {told} (hint: remove one of them" in done.stderr
        findings = json.loads(run(free, "doctor", "--no-call", "--json").stdout)["findings"]
        assert [f["level"] for f in findings if f["message"] == told] == ["warning"]
        assert run(free, "run-priority").stderr == ""


class TestSandbox:
    @pytest.fixture
    def home(self, tmp_path: Path) -> dict[str, str]:
        return {"XDG_DATA_HOME": str(tmp_path / "data")}

    def test_works_from_nothing_without_key_or_servers(self, tmp_path: Path, home: dict[str, str]) -> None:
        result = start("--sandbox", "run-priority", "--json", cwd=tmp_path, env=home)
        assert result.returncode == 0, result.stderr
        assert [asset["status"] for asset in json.loads(result.stdout)["assets"]] == ["success"] * 3
        status = json.loads(start("--sandbox", "status", "--json", cwd=tmp_path, env=home).stdout)
        fresh = [asset["symbol"] for asset in status["assets"] if asset["state"] == "fresh"]
        assert fresh == ["XAUUSD", "EURUSD", "BTCUSD"]

    def test_never_uses_the_real_key_or_the_real_servers(self, tmp_path: Path, home: dict[str, str]) -> None:
        env = {
            **home,
            "POLYGON_API_KEY": MARK,
            "DATABASE_URL": f"postgresql://me:{MARK}@127.0.0.1:9/x",
            "REDIS_URL": f"redis://:{MARK}@127.0.0.1:9/0",
            "POLYGON_BASE_URL": "http://127.0.0.1:9",
        }
        result = start("--sandbox", "run-priority", cwd=tmp_path, env=env)
        assert result.returncode == 0, result.stderr
        found = [
            path for path in tmp_path.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()
        ]
        assert found == []

    def test_leaves_no_server_behind(self, tmp_path: Path, home: dict[str, str]) -> None:
        start("--sandbox", "run-priority", cwd=tmp_path, env=home)
        held = [
            name for name in os.listdir("/proc") if name.isdigit() and str(tmp_path) in _command_line(name)
        ]
        assert held == []


def _command_line(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_the_sandbox_command_serves_until_it_is_stopped(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "assetbatch", "sandbox", "--plan", "starter"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 0
