"""`cron install`, `show` and `remove` with the real `crontab`, on a spool of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import program
from tests.commands.conftest import MakeWorld
from tests.documented import shows
from tests.program import BARE, PROGRAM
from tests.world import KEY, World

SPOOL = Path("/var/spool/cron/crontabs")
OURS = "# mine  \nMAILTO=me@example.org\n\n0 4 * * * /usr/bin/backup % x\n"


def own_spool() -> list[str] | str:
    """What starts a command with the folder $0 as the spool of crontabs, or why that cannot be had."""
    if shutil.which("crontab") is None or not SPOOL.is_dir():
        return "Debian's crontab is not installed"
    shell = f'mount --bind "$0" {SPOOL} && exec "$@"'
    for options in ("-m", "-Urm"):
        command = ["unshare", options, "sh", "-c", shell]
        tried = subprocess.run([*command, "/tmp", "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return command
    return "no mount namespace can be made here"


@pytest.fixture(scope="module")
def private() -> list[str]:
    found = own_spool()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spool")
    folder.chmod(0o1777)
    return folder


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(private: list[str], spool: Path, tmp_path: Path) -> Run:
    for file in spool.iterdir():
        file.unlink()
    (tmp_path / ".env").write_text(f"POLYGON_API_KEY={KEY}\n")
    within = (*private, str(spool))

    def run(
        *command: str, content: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(tmp_path), **(env or {})}
        if command[: len(PROGRAM)] == tuple(PROGRAM):
            return program.start(*command[len(PROGRAM) :], cwd=tmp_path, env=environment, within=within)
        return subprocess.run(
            [*within, *command],
            cwd=tmp_path,
            env={**BARE, **environment},
            input=content,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A configuration that needs no server to be read."""
    file = tmp_path / "config.yml"
    file.write_text(
        "priority_assets: [{symbol: XAUUSD}]\nbatch: {interval_minutes: 10}\n"
        "database: {url: postgresql://me@db/x}\nredis: {url: redis://db}\n"
    )
    return file


def log_file(home: Path) -> Path:
    return (
        Path("/var/log/assetbatch.log")
        if os.geteuid() == 0
        else home / ".local/state/assetbatch/assetbatch.log"
    )


class TestInstall:
    def test_makes_a_crontab_where_there_is_none(self, run: Run, written: Path) -> None:
        assert "no crontab" in run("crontab", "-l").stderr
        done = run(*PROGRAM, "cron", "install")
        assert done.returncode == 0, done.stderr
        assert "run-priority every 10 minutes, run-queue every minute" in done.stdout
        lines = run("crontab", "-l").stdout.splitlines()
        assert (lines[0], lines[-1]) == ("# assetbatch begin main", "# assetbatch end main")
        words = f"{' '.join(PROGRAM)} --config {written} --log-file {log_file(written.parent)}"
        assert [line for line in lines if line.endswith("run-priority")] == [
            f"*/10 * * * * {words} run-priority"
        ]
        assert len(lines) == 5

    def test_touches_nothing_else_and_its_removal_leaves_what_was_there(
        self, run: Run, written: Path
    ) -> None:
        run("crontab", "-", content=OURS)
        run(*PROGRAM, "cron", "install")
        run(*PROGRAM, "--config", "config.yml", "cron", "install", "--name", "second")
        assert run("crontab", "-l").stdout.startswith(OURS)
        run(*PROGRAM, "cron", "remove")
        shown = run(*PROGRAM, "cron", "show", "--name", "second")
        assert len(shown.stdout.splitlines()) == 3
        assert run(*PROGRAM, "cron", "show").returncode == 1
        run(*PROGRAM, "cron", "remove", "--name", "second")
        assert run("crontab", "-l").stdout == OURS

    def test_a_removal_of_all_there_is_leaves_no_crontab(self, run: Run, written: Path) -> None:
        run(*PROGRAM, "cron", "install")
        removed = run(*PROGRAM, "cron", "remove")
        assert (removed.returncode, removed.stdout) == (0, "removed: the lines named main\n")
        assert "no crontab" in run("crontab", "-l").stderr
        again = run(*PROGRAM, "cron", "remove")
        assert (again.returncode, again.stdout) == (1, "no lines in the crontab of assetbatch\n")

    def test_repeated_it_replaces_its_lines_in_their_place(self, run: Run, written: Path) -> None:
        run(*PROGRAM, "cron", "install")
        before = run("crontab", "-l").stdout
        run("crontab", "-", content=before + OURS)
        text = written.read_text()
        written.write_text(text.replace("interval_minutes: 10", "enqueue_interval_minutes: 15"))
        run(*PROGRAM, "cron", "install")
        after = run("crontab", "-l").stdout
        assert after.endswith("# assetbatch end main\n" + OURS)
        assert [line[:4] for line in after.splitlines() if line.startswith("*")] == ["*/5 ", "* * ", "*/15"]
        written.write_text(text)
        run(*PROGRAM, "cron", "install")
        assert run("crontab", "-l").stdout == before + OURS

    def test_does_not_take_the_lines_of_another_installation(self, run: Run, written: Path) -> None:
        run(*PROGRAM, "cron", "install")
        before = run("crontab", "-l").stdout
        other = written.parent / "other"
        other.mkdir()
        (other / "config.yml").write_text(written.read_text())
        (other / ".env").write_text("POLYGON_API_KEY=x\n")
        done = run(*PROGRAM, "--config", "other/config.yml", "cron", "install")
        assert done.returncode == 2
        shows(done.stderr, "the lines named … start another installation")
        removed = run(*PROGRAM, "--config", "other/config.yml", "cron", "remove")
        assert (removed.returncode, removed.stdout) == (2, "")
        assert run("crontab", "-l").stdout == before
        written.unlink()  # nothing of the first installation is left but its lines
        assert run(*PROGRAM, "--config", "other/config.yml", "cron", "remove").returncode == 0

    def test_needs_nothing_of_a_shell_that_says_what_the_dotenv_says(self, run: Run, written: Path) -> None:
        assert run(*PROGRAM, "cron", "install", env={"POLYGON_API_KEY": KEY}).returncode == 0
        assert "POLYGON" not in run("crontab", "-l").stdout

    def test_refuses_a_key_that_cron_does_not_have(self, run: Run, written: Path) -> None:
        (written.parent / ".env").unlink()
        done = run(*PROGRAM, "cron", "install", env={"POLYGON_API_KEY": KEY})
        assert done.returncode == 2
        shows(done.stderr, "…: set in this shell only, which cron does not see")
        assert "no crontab" in run("crontab", "-l").stderr

    def test_names_the_file_of_a_key_with_its_whole_path(self, run: Run, written: Path) -> None:
        (written.parent / ".env").unlink()
        (written.parent / "key").write_text(KEY)
        run(*PROGRAM, "cron", "install", env={"POLYGON_API_KEY_FILE": "key"})
        assert f" /usr/bin/env POLYGON_API_KEY_FILE={written.parent}/key " in run("crontab", "-l").stdout

    def test_names_a_line_of_ones_own_that_starts_it_too(self, run: Run, written: Path) -> None:
        run("crontab", "-", content="* * * * * /opt/assetbatch run-queue\n")
        done = run(*PROGRAM, "cron", "install")
        assert "another line of the crontab starts run-queue too" in done.stderr

    def test_makes_the_folder_of_the_log_without_a_warning(self, run: Run, written: Path) -> None:
        done = run(*PROGRAM, "--log-file", "new/log", "cron", "install")
        assert done.returncode == 0
        assert "cannot" not in done.stderr
        assert "folder" not in done.stderr
        assert [path.name for path in written.parent.glob("new*")] == ["new"]

    def test_a_dry_run_prints_the_lines_and_installs_none(self, run: Run, written: Path) -> None:
        done = run(*PROGRAM, "cron", "install", "--dry-run")
        assert len(done.stdout.splitlines()) == 5
        assert "no crontab" in run("crontab", "-l").stderr

    def test_a_broken_block_is_refused_and_left_as_it_is(self, run: Run, written: Path) -> None:
        broken = "# assetbatch begin main\n* * * * * x\n"
        run("crontab", "-", content=broken)
        for command in ("install", "remove", "show"):
            done = run(*PROGRAM, "cron", command)
            assert (done.returncode, done.stdout) == (2, "")
        assert run("crontab", "-l").stdout == broken


class TestTimers:
    @pytest.fixture
    def systemctl(self, tmp_path: Path) -> Path:
        """Stands for systemd, which runs in no container: writes down what it is asked."""
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "systemctl"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
        program.chmod(0o755)
        return folder

    def start(self, home: Path, systemctl: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"HOME": str(home), "PATH": f"{systemctl}:/usr/bin:/bin"}
        (home / ".env").write_text(f"POLYGON_API_KEY={KEY}\n")
        return program.start(*arguments, cwd=home, env=env)

    def test_of_a_user_are_written_started_and_removed(self, written: Path, systemctl: Path) -> None:
        home = written.parent
        done = self.start(home, systemctl, "cron", "install", "--systemd")
        assert done.returncode == 0, done.stderr
        units = home / ".config/systemd/user"
        assert sorted(path.name for path in units.iterdir()) == [
            "assetbatch@.service",
            "assetbatch@enqueue-secondary.timer",
            "assetbatch@run-priority.timer",
            "assetbatch@run-queue.timer",
        ]
        assert f"--config {written} %i" in (units / "assetbatch@.service").read_text()
        assert (
            (home / "asked").read_text().splitlines()[-1].startswith("--user enable --now assetbatch@run-pri")
        )
        assert self.start(home, systemctl, "cron", "show", "--systemd").returncode == 0
        assert self.start(home, systemctl, "cron", "remove", "--systemd").returncode == 0
        assert list(units.iterdir()) == []

    def test_of_the_system_run_as_the_owner_of_the_configuration(
        self, written: Path, systemctl: Path
    ) -> None:
        done = self.start(written.parent, systemctl, "cron", "install", "--system", "--dry-run")
        assert f"User={written.owner()}\n" in done.stdout
        assert "# /etc/systemd/system/assetbatch@run-queue.timer" in done.stdout

    def test_beside_lines_in_the_crontab_are_told(self, run: Run, written: Path, systemctl: Path) -> None:
        self.start(written.parent, systemctl, "cron", "install", "--systemd")
        assert "timers start it too" in run(*PROGRAM, "cron", "install").stderr

    def test_name_the_lines_of_the_crontab_that_start_it_too(
        self, run: Run, written: Path, systemctl: Path
    ) -> None:
        run("crontab", "-", content="* * * * * /opt/assetbatch run-queue\n")
        run(*PROGRAM, "cron", "install")
        path = {"PATH": f"{systemctl}:/usr/bin:/bin"}
        said = run(*PROGRAM, "cron", "install", "--systemd", env=path).stderr
        assert "the lines of the crontab named main start it too" in said
        assert "another line of the crontab starts run-queue too" in said

    def test_do_not_take_the_timers_of_another_installation(self, written: Path, systemctl: Path) -> None:
        home = written.parent
        self.start(home, systemctl, "cron", "install", "--systemd")
        service = home / ".config/systemd/user/assetbatch@.service"
        before = service.read_text()
        (home / "other.yml").write_text(written.read_text())
        done = self.start(home, systemctl, "--config", "other.yml", "cron", "install", "--systemd")
        assert done.returncode == 2
        assert f"the timers named main start another installation: {written}" in done.stderr
        done = self.start(home, systemctl, "--config", "other.yml", "cron", "remove", "--systemd")
        assert (done.returncode, done.stdout) == (2, "")
        assert service.read_text() == before
        assert self.start(home, systemctl, "cron", "install", "--systemd").returncode == 0

    def test_do_not_replace_a_unit_of_ones_own(self, written: Path, systemctl: Path) -> None:
        unit = written.parent / ".config/systemd/user/assetbatch@.service"
        unit.parent.mkdir(parents=True)
        unit.write_text("[Service]\n")
        done = self.start(written.parent, systemctl, "cron", "install", "--systemd")
        assert done.returncode == 2
        assert "was not written by assetbatch" in done.stderr
        self.start(written.parent, systemctl, "cron", "remove", "--systemd")
        assert unit.read_text() == "[Service]\n"

    def test_where_systemd_does_not_run_nothing_is_written(self, written: Path, systemctl: Path) -> None:
        (systemctl / "systemctl").write_text("#!/bin/sh\necho Failed to connect to bus >&2; exit 1\n")
        done = self.start(written.parent, systemctl, "cron", "install", "--systemd")
        assert done.returncode == 3
        assert "Failed to connect to bus" in done.stderr
        assert not (written.parent / ".config").exists()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("cron") is None, reason="Debian's cron is not installed")
def test_a_real_cron_starts_what_was_installed(
    run: Run, make_world: MakeWorld, private: list[str], spool: Path
) -> None:
    if private[1] != "-m":
        pytest.skip("cron starts the lines of root only as root")
    world: World = make_world()
    world.config()
    assert run(*PROGRAM, "cron", "install").returncode == 0
    crontab = run("crontab", "-l").stdout.replace("*/5 * * * *", "* * * * *")
    run("crontab", "-", content=crontab.replace("/var/log/assetbatch.log", f"{world.folder}/a.log"))
    system = "mount --bind /dev/null /etc/crontab; mount -t tmpfs none /etc/cron.d; exec cron -f"
    daemon = subprocess.Popen([*private, str(spool), "sh", "-c", system])
    try:
        until = time.monotonic() + 150
        while not (world.last_update("XAUUSD") and world.last_update("ETHUSD")):
            assert time.monotonic() < until, (world.folder / "a.log").read_text()
            time.sleep(1)
    finally:
        daemon.terminate()
        daemon.wait()
    assert "run-priority" in (world.folder / "a.log").read_text()
