"""`--log-file`: everything that a start says and does, in one file that may be rotated, full or gone."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetbatch.cli.log_file import LogFile
from tests.conftest import REPOSITORY
from tests.failures.start import PROGRAM, environment, start
from tests.world import World

DATED = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*\+00:00 [A-Z]+ [a-z-]+( [a-z]+)?: "


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "assetbatch.log"


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The program's logger without the handlers of others."""
    logger = logging.getLogger("assetbatch")
    before, level = logger.handlers[:], logger.level
    logger.handlers[:] = []
    logger.setLevel(logging.INFO)
    yield logger
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:] = before
    logger.setLevel(level)


class TestACycle:
    def test_that_goes_well_is_silent_and_leaves_its_result_in_the_file(
        self, free: World, file: Path
    ) -> None:
        done = start(free, "--log-file", str(file), "run-priority")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        lines = file.read_text().splitlines()
        assert all(re.match(DATED, line) for line in lines)
        assert "INFO run-priority: 3 calls, 3 prices published" in lines[-1]

    def test_with_nothing_to_do_leaves_a_line_too(self, free: World, file: Path) -> None:
        for _ in range(2):
            assert start(free, "--log-file", str(file), "run-queue").stderr == ""
        assert [bool(re.match(DATED, line)) for line in file.read_text().splitlines()] == [True, True]

    def test_that_fails_again_is_mailed_once_and_written_each_time(self, free: World, file: Path) -> None:
        free.config()
        mailed = []
        for _ in range(3):
            done = start(free, "--log-file", str(file), "run-queue", REDIS_URL="redis://127.0.0.1:1/0")
            assert done.returncode == 3
            mailed.append(done.stderr.count("\n"))
        assert mailed == [1, 0, 0]
        assert len(re.findall(r"ERROR run-queue: redis cannot be reached", file.read_text())) == 3

    def test_is_written_in_full_where_stderr_is_quiet(self, free: World, file: Path) -> None:
        free.provider.order("status=500", path_contains="C:EURUSD")
        done = start(free, "-q", "--log-file", str(file), "run-priority")
        assert (done.returncode, done.stderr) == (1, "")
        assert "WARNING run-priority: EURUSD: " in file.read_text()
        assert "INFO run-priority: " in file.read_text()

    def test_is_written_as_json_where_stderr_is(self, free: World, file: Path) -> None:
        start(free, "--log-format", "json", "--log-file", str(file), "run-priority")
        events = [json.loads(line) for line in file.read_text().splitlines()]
        assert events[-1]["command"] == "run-priority"
        assert events[-1]["calls"] == 3
        assert len({event["cycle_id"] for event in events}) == 1

    def test_takes_the_file_from_the_environment(self, free: World, file: Path) -> None:
        start(free, "run-queue", ASSETBATCH_LOG_FILE=str(file))
        assert "INFO run-queue: " in file.read_text()

    def test_says_what_is_wrong_with_the_configuration_there_too(self, free: World, file: Path) -> None:
        assert start(free, "--log-file", str(file), "run-queue", POLYGON_TIER="gold").returncode == 2
        assert "ERROR run-queue: env POLYGON_TIER: found 'gold'" in file.read_text()

    def test_that_dies_of_a_bug_leaves_the_traceback(self, free: World, file: Path) -> None:
        bug = "import assetbatch.config as c; c.load = lambda *a, **k: 1 / 0; from assetbatch.cli import main"
        free.config()
        done = subprocess.run(
            [sys.executable, "-c", f"{bug}; main()", "--log-file", str(file), "run-queue"],
            cwd=free.folder,
            env=environment(free),
            capture_output=True,
            text=True,
            check=False,
        )
        assert "ZeroDivisionError" in done.stderr
        assert re.search(rf"^{DATED}ZeroDivisionError", file.read_text(), re.MULTILINE)


class TestAFileThatCannotBeWritten:
    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("gone/assetbatch.log", "no such file or directory"),
            ("", "is a directory"),
            ("/dev/full", "no space left on device"),
        ],
    )
    def test_is_said_once_and_the_cycle_goes_on(
        self, free: World, tmp_path: Path, name: str, why: str
    ) -> None:
        said = []
        for _ in range(3):
            done = start(free, "--log-file", str(tmp_path / name), "run-priority")
            assert done.returncode == 0
            said += done.stderr.splitlines()
        (line,) = said
        assert re.search(rf"WARNING run-priority: the log file \S+ cannot be written: {why} \(hint: ", line)
        assert free.last_update("XAUUSD") is not None

    def test_changes_no_exit_code_of_a_failure(self, free: World) -> None:
        done = start(free, "--log-file", "/dev/full", "run-queue", REDIS_URL="redis://127.0.0.1:1/0")
        assert done.returncode == 3
        assert sorted(line.split()[1] for line in done.stderr.splitlines()) == ["ERROR", "WARNING"]

    def test_is_said_to_be_over(self, free: World, tmp_path: Path) -> None:
        file = tmp_path / "later" / "log"
        start(free, "--log-file", str(file), "run-priority")
        file.parent.mkdir()
        said = start(free, "--log-file", str(file), "run-priority").stderr
        assert "NOTICE run-priority: over: the log file" in said

    def test_is_a_pipe_that_nobody_reads(self, free: World, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        began = time.monotonic()
        assert start(free, "--log-file", str(tmp_path / "pipe"), "run-queue").returncode == 0
        assert time.monotonic() - began < 20

    def test_is_named_without_what_may_be_a_secret(self, free: World) -> None:
        said = start(free, "--log-file", f"/nowhere/{'k3yM4rk' * 4}/log", "run-queue").stderr
        assert "/nowhere/***/log" in said


class TestTheFile:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
    def test_is_created_with_mode_640_whatever_the_umask(self, file: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            LogFile(file).open()
        finally:
            os.umask(before)
        assert stat.S_IMODE(file.stat().st_mode) == 0o640

    def test_keeps_its_mode_and_what_it_holds(self, file: Path, logger: logging.Logger) -> None:
        file.write_text("before\n")
        file.chmod(0o604)
        logger.addHandler(LogFile(file))
        logger.info("after")
        assert file.read_text() == "before\nafter\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o604

    def test_is_followed_where_it_is_a_link(self, tmp_path: Path, logger: logging.Logger) -> None:
        (tmp_path / "link").symlink_to("target")
        logger.addHandler(LogFile(tmp_path / "link"))
        logger.info("one")
        assert (tmp_path / "target").read_text() == "one\n"

    def test_is_reopened_after_a_rotation(self, file: Path, logger: logging.Logger) -> None:
        logger.addHandler(LogFile(file))
        logger.info("one")
        file.rename(f"{file}.1")
        logger.info("two")
        file.unlink()
        logger.info("three")
        file.rename(f"{file}.2")
        file.touch()  # logrotate's `create`
        logger.info("four")
        assert [Path(f"{file}{end}").read_text() for end in (".1", ".2", "")] == [
            "one\n",
            "three\n",
            "four\n",
        ]

    def test_is_reopened_by_a_server_that_runs_on(self, free: World, file: Path) -> None:
        free.config()
        command = [*PROGRAM, "-v", "--log-file", str(file), "serve", "--port", "0"]
        process = subprocess.Popen(
            command,
            cwd=free.folder,
            env=environment(free),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with process:
            try:
                assert process.stdout is not None
                host, port = re.findall(r"http://([\d.]+):(\d+)/", process.stdout.readline())[0]
                file.rename(f"{file}.1")
                _ask(host, int(port), "/metrics")
                deadline = time.monotonic() + 20
                while not file.exists() and time.monotonic() < deadline:
                    time.sleep(0.05)
                assert "GET /metrics" in file.read_text()
            finally:
                process.terminate()

    def test_begins_a_new_line_behind_one_that_a_full_disk_has_cut_off(
        self, file: Path, logger: logging.Logger
    ) -> None:
        file.write_text("cut of")
        logger.addHandler(LogFile(file))
        logger.info("whole")
        assert file.read_text() == "cut of\nwhole\n"

    def test_that_has_reached_its_limit_is_whole_again_afterwards(self, free: World, file: Path) -> None:
        free.config()
        file.write_bytes(b"x" * 990 + b"\n")
        done = subprocess.run(
            ["sh", "-c", 'ulimit -f 2; exec "$@"', "sh", *PROGRAM, "--log-file", str(file), "run-queue"],
            cwd=free.folder,
            env=environment(free, PYTHONDONTWRITEBYTECODE="1"),  # or the limit would cut the bytecode off
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("cannot be written") == 1
        assert file.stat().st_size == 1024
        start(free, "--log-file", str(file), "run-queue")
        assert re.fullmatch(DATED + ".*", file.read_text().splitlines()[-1])

    def test_has_no_empty_line_where_another_process_was_at_its_line(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def complete(_seconds: float) -> None:
            with file.open("a") as other:
                other.write(" line\n")

        monkeypatch.setattr("assetbatch.cli.log_file.sleep", complete)
        file.write_text("another")
        LogFile(file).emit(logging.makeLogRecord({"msg": "ours"}))
        assert file.read_text() == "another line\nours\n"

    def test_of_ten_at_once_has_whole_lines_only(self, file: Path) -> None:
        writes = (
            "import logging, sys; from pathlib import Path; from assetbatch.cli.log_file import LogFile;"
            "log = logging.getLogger('assetbatch'); log.setLevel(20);"
            "log.addHandler(LogFile(Path(sys.argv[1])));"
            "[log.info('%s', f'{sys.argv[2]}:{n}:' + sys.argv[2] * (n % 700)) for n in range(400)]"
        )
        running = [
            subprocess.Popen([sys.executable, "-c", writes, str(file), letter]) for letter in "abcdefghij"
        ]
        assert [process.wait(60) for process in running] == [0] * 10
        found = sorted(file.read_text().splitlines())
        assert found == sorted(f"{a}:{n}:{a * (n % 700)}" for a in "abcdefghij" for n in range(400))


def _ask(host: str, port: int, path: str) -> None:
    from http.client import HTTPConnection

    connection = HTTPConnection(host, port, timeout=20)
    connection.request("GET", path)
    connection.getresponse().read()
    connection.close()


class TestLogrotate:
    pytestmark = pytest.mark.skipif(
        shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin") is None,
        reason="logrotate is not installed",
    )

    @pytest.fixture
    def rules(self, tmp_path: Path, file: Path) -> Path:
        """deploy/logrotate/assetbatch, with only its path edited."""
        text = (REPOSITORY / "deploy" / "logrotate" / "assetbatch").read_text()
        rules = tmp_path / "rules"
        rules.write_text(re.sub(r"^/\S+", str(file), text, flags=re.MULTILINE))
        rules.chmod(0o644)
        return rules

    def logrotate(self, folder: Path, *arguments: str) -> str:
        """What logrotate says; it must end well."""
        done = subprocess.run(
            ["logrotate", "--state", str(folder / "state"), *arguments],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    def test_accepts_the_file(self, tmp_path: Path, rules: Path) -> None:
        said = self.logrotate(tmp_path, "-d", str(rules))
        assert "error" not in said.lower()
        assert "weekly (8 rotations)" in said

    def test_rotates_and_the_next_start_goes_on(
        self, free: World, tmp_path: Path, rules: Path, file: Path
    ) -> None:
        start(free, "--log-file", str(file), "run-queue")
        tmp_path.chmod(0o755)
        before = file.read_text()
        self.logrotate(tmp_path, "--force", str(rules))
        start(free, "--log-file", str(file), "run-queue")
        assert Path(f"{file}.1").read_text() == before
        assert file.read_text().count("\n") == 1
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
