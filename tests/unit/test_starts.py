"""How cron and systemd start an installation, in words."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.records import Command
from assetbatch.errors import ConfigError
from assetbatch.setup.starts import (
    Starter,
    calendar,
    config_of,
    cron_schedule,
    crontab_lines,
    environment_for,
    out_of_step,
    program_of,
    rhythm,
    starts_of,
)
from assetbatch.setup.systemd import Units, unit_texts
from assetbatch.setup.systemd import config_of as config_of_service

REPOSITORY = Path(__file__).resolve().parents[2]
STARTER = Starter(("/opt/x/bin/assetbatch",), Path("/etc/x/config.yml"), {}, Path("/var/log/x.log"))
EVERY = {Command.RUN_PRIORITY: 5, Command.RUN_QUEUE: 1, Command.ENQUEUE_SECONDARY: 30}
DAY = 24 * 60


class TestOutOfStep:
    CONFIG = Path("/etc/a b/config.yml")
    LINES = crontab_lines(STARTER._replace(config=CONFIG), EVERY)

    def test_lines_as_they_are_written_now_are_in_step(self) -> None:
        assert out_of_step("\n".join(self.LINES).encode(), self.CONFIG, EVERY) == {}

    def test_names_a_command_whose_interval_has_changed_since(self) -> None:
        changed = {**EVERY, Command.RUN_PRIORITY: 7}
        crontab = "\n".join(["# it's a comment", *self.LINES, "* * * * * say 'open"]).encode()
        assert out_of_step(crontab, self.CONFIG, changed) == {Command.RUN_PRIORITY: "*/5 * * * *"}

    def test_lines_of_other_configurations_do_not_count(self) -> None:
        changed = {**EVERY, Command.RUN_PRIORITY: 7}
        assert out_of_step("\n".join(self.LINES).encode(), Path("/etc/b/config.yml"), changed) == {}


def starts(schedule: str) -> list[int]:
    """The minutes of a day at which a schedule starts something."""

    def fits(field: str, value: int) -> bool:
        return field == "*" or (
            value % int(field[2:]) == 0 if field.startswith("*/") else value == int(field)
        )

    minute, hour, *rest = schedule.split()
    assert rest == ["*", "*", "*"]
    return [at for at in range(DAY) if fits(minute, at % 60) and fits(hour, at // 60)]


@given(st.integers(1, DAY))
def test_no_two_starts_are_further_apart_than_was_asked(minutes: int) -> None:
    found = starts(cron_schedule(minutes))
    gaps = [later - earlier for earlier, later in zip(found, [*found[1:], found[0] + DAY], strict=True)]
    assert max(gaps) <= minutes
    if DAY % minutes == 0 and (minutes < 60 and 60 % minutes == 0):
        assert set(gaps) == {minutes}
    assert rhythm(minutes) == (
        "every minute" if minutes == 1 else f"every {Counter(gaps).most_common(1)[0][0]} minutes"
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("minutes", [1, 2, 5, 30, 45, 59, 60, 90, 120, 300, 1439, 1440])
def test_systemd_reads_the_same_starts(minutes: int) -> None:
    done = subprocess.run(
        [
            "systemd-analyze",
            "calendar",
            "--base-time=2026-11-30 00:00:30",
            "--iterations=2",
            calendar(minutes),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first = starts(cron_schedule(minutes))
    following = [at for at in first if at > 0] or [DAY]
    hours, rest = divmod(following[0] % DAY, 60)
    assert f"{hours:02}:{rest:02}:00" in done.stdout


def test_the_lines_have_absolute_paths_and_the_log() -> None:
    assert crontab_lines(STARTER, EVERY) == [
        f"{when} /opt/x/bin/assetbatch --config /etc/x/config.yml --log-file /var/log/x.log {command}"
        for when, command in (
            ("*/5 * * * * ", "run-priority"),
            ("* * * * *   ", "run-queue"),
            ("*/30 * * * *", "enqueue-secondary"),
        )
    ]


def test_a_shell_reads_any_path_as_it_is_and_cron_no_percent() -> None:
    odd = Path('/a b/it\'s 100% "$HOME" `x`;*/config.yml')
    starter = STARTER._replace(config=odd, environment={"POLYGON_API_KEY_FILE": "/a b/%key"})
    (line, *_) = crontab_lines(starter, EVERY)
    command = line.split(None, 5)[5]
    assert "%" not in command.replace(r"\%", "")
    words = shlex.split(command.replace(r"\%", "%"))
    assert words[:3] == ["/usr/bin/env", "POLYGON_API_KEY_FILE=/a b/%key", "/opt/x/bin/assetbatch"]
    assert words[4] == str(odd)
    assert config_of([line]) == odd


def test_lines_that_somebody_has_changed_name_the_configuration_that_is_left() -> None:
    broken = "* * * * * it's --config /a run-queue"
    assert config_of([broken, "x", '* * * * * "$AB" --config "/a b" run-queue']) == Path("/a b")
    assert config_of([broken, "* * * * * run-queue --config"]) is None


def test_a_path_over_two_lines_is_refused() -> None:
    with pytest.raises(ConfigError, match="control character"):
        crontab_lines(STARTER._replace(config=Path("/a\nb")), EVERY)


@pytest.mark.parametrize(
    ("argv0", "is_program", "expected"),
    [
        ("/home/me/.local/bin/assetbatch", True, ("/home/me/.local/bin/assetbatch",)),
        (".venv/bin/assetbatch", True, ("/here/.venv/bin/assetbatch",)),
        ("/x/assetbatch/__main__.py", True, ("/usr/bin/python3", "-m", "assetbatch")),
        ("assetbatch", False, ("/usr/bin/python3", "-m", "assetbatch")),
    ],
)
def test_the_program_is_the_one_that_runs_now(
    argv0: str, is_program: bool, expected: tuple[str, ...]
) -> None:
    assert program_of(argv0, "/usr/bin/python3", Path("/here"), is_program) == expected


class TestTheEnvironment:
    def test_of_files_is_carried_over_with_absolute_paths(self) -> None:
        origins = {"api_key": "env POLYGON_API_KEY_FILE", "redis.url": ".env REDIS_URL", "x": "default"}
        env = {"POLYGON_API_KEY_FILE": "key", "XDG_DATA_HOME": "/data", "XDG_STATE_HOME": "odd", "HOME": "/h"}
        assert environment_for(origins, env, Path("/here")) == {
            "POLYGON_API_KEY_FILE": "/here/key",
            "XDG_DATA_HOME": "/data",
        }

    def test_of_values_is_refused_since_cron_does_not_have_them(self) -> None:
        origins = {"api_key": "env POLYGON_API_KEY", "database.url": "env DB_HOST, env DB_NAME"}
        with pytest.raises(ConfigError) as raised:
            environment_for(origins, {}, Path("/"))
        assert raised.value.message.startswith("DB_HOST, DB_NAME, POLYGON_API_KEY: set in this shell only")


def test_a_line_of_ones_own_is_found_and_a_comment_is_not() -> None:
    own = ["# * * * * * /x/assetbatch run-queue", "*/5 * * * * /x/assetbatch run-priority 2>&1 | tee -a log"]
    assert [starts_of(own, command) for command in Command] == [True, False, False]


def test_the_lines_of_the_shipped_crontab_are_found() -> None:
    lines = (REPOSITORY / "crontab.example").read_text().splitlines()
    assert [starts_of(lines, command) for command in Command] == [True, True, True]
    others = [line for line in lines if "*" not in line or line.startswith("#")]
    assert not any(starts_of(others, command) for command in Command)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('* * * * * cd /x && "$AB" run-queue>>/x/log 2>&1', True),
        ("@hourly ab -v 'run-queue'", True),
        ("LAST=ab run-queue", False),
        ("* * * * * ab run-queue-later", False),
        ("* * * * * /x/run-queue.sh", False),
    ],
)
def test_a_line_starts_a_command_that_is_a_word_of_it(line: str, found: bool) -> None:
    assert starts_of([line], Command.RUN_QUEUE) is found


class TestUnits:
    def texts(self, tmp_path: Path, *, system: bool, name: str = "main") -> dict[str, str]:
        units = Units(name, system=system, home=tmp_path)
        starter = STARTER._replace(
            program=("/bin/true",),
            config=Path('/a b/it\'s 100% "$HOME"/config.yml'),
            environment={"XDG_DATA_HOME": "/a b/%i"},
            log_file=None,
        )
        return unit_texts(units, starter, EVERY, user="root", max_cycle_seconds=300)

    @pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
    @pytest.mark.parametrize("system", [True, False])
    def test_have_nothing_that_systemd_complains_of(self, tmp_path: Path, system: bool) -> None:
        texts = self.texts(tmp_path, system=system)
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
            if name.endswith(".timer"):
                (tmp_path / name.replace(".timer", ".service")).write_text(texts["assetbatch@.service"])
        units = [str(path) for path in tmp_path.iterdir() if "@." not in path.name]
        assert len(units) == 6
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
        )
        said = [line for line in done.stderr.splitlines() if "assetbatch" in line]
        assert (done.returncode, said) == (0, [])

    def test_name_the_program_and_its_files_as_systemd_reads_them(self, tmp_path: Path) -> None:
        service = self.texts(tmp_path, system=True)["assetbatch@.service"]
        assert 'ExecStart=/bin/true --config "/a b/it\'s 100%% \\"$$HOME\\"/config.yml" %i\n' in service
        assert 'Environment="XDG_DATA_HOME=/a b/%%i"\n' in service
        assert "User=root\n" in service
        assert config_of_service(service) == Path('/a b/it\'s 100% "$HOME"/config.yml')
        assert "TimeoutStartSec=360\n" in service

    def test_of_a_user_name_no_user_and_wait_for_no_unit_of_the_system(self, tmp_path: Path) -> None:
        service = self.texts(tmp_path, system=False)["assetbatch@.service"]
        assert "User=" not in service
        assert "network-online" not in service

    def test_of_another_name_lie_beside_the_first(self, tmp_path: Path) -> None:
        assert "assetbatch-two@run-queue.timer" in self.texts(tmp_path, system=False, name="two")
