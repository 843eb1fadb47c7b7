"""The lines of crontab.example under Debian's own cron daemon, and the mail that it really sends.

The daemon sees a spool, a mailer and a /run of the test's own: all that it starts is these lines.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

import pytest

from tests.commands.conftest import MakeWorld, make_world, template
from tests.conftest import REPOSITORY
from tests.world import KEY, PRIORITY, RealClock, SetClock, World

__all__ = ["make_world", "template"]

MINUTES = 3.5 * 60
"""Maximum time in which something must happen: cron starts at whole minutes."""

MAILER = """#!/bin/sh
cat > "{folder}/$$.part" && mv "{folder}/$$.part" "{folder}/$$.mail"
"""

DAEMON = """
set -e
mount --bind "$0/spool" /var/spool/cron/crontabs
mount --bind "$0/run" /run
mount --bind "$0/sbin" /usr/sbin
mount --bind "$0/none" /etc/cron.d
mount --bind "$0/crontab" /etc/crontab
exec cron -f
"""


@pytest.fixture
def clock() -> SetClock:
    """Processes take the real time, so the simulated provider does too."""
    return RealClock()


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A paid plan; the priority assets are due in every minute."""
    often = [{**asset, "update_frequency_seconds": 1, "bars": False} for asset in PRIORITY]
    return make_world(
        plan="starter",
        document={"priority_assets": often, "secondary_assets": [], "batch": {"interval_minutes": 1}},
    )


class Cron:
    """A daemon with a crontab of root's own."""

    def __init__(self, folder: Path, crontab: str) -> None:
        self.mailbox = folder / "mail"
        for name in ("spool", "run", "none", "mail"):
            (folder / name).mkdir()
        (folder / "spool" / "root").write_text(crontab)
        (folder / "spool" / "root").chmod(0o600)
        (folder / "crontab").write_text("")
        shutil.copytree("/usr/sbin", folder / "sbin", symlinks=True)
        mailer = folder / "sbin" / "sendmail"
        mailer.unlink(missing_ok=True)
        mailer.write_text(MAILER.format(folder=self.mailbox))
        mailer.chmod(0o755)
        self._process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", DAEMON, str(folder)],
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )

    @property
    def mails(self) -> list[Message]:
        """What has been sent, in order."""
        files = sorted(self.mailbox.glob("*.mail"), key=lambda file: file.stat().st_mtime_ns)
        return [email.message_from_string(file.read_text()) for file in files]

    def runs(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        if self.runs():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def cron(world: World, tmp_path: Path) -> Iterator[Cron]:
    """The lines of crontab.example with paths of the test's own, run-priority every minute."""
    if os.geteuid() or shutil.which("cron", path="/usr/sbin") is None:
        pytest.skip("no cron daemon can be started here: that takes root and Debian's cron")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    folder = tmp_path / "cron"
    folder.mkdir()
    key = folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    world.config()
    own = {
        "ASSETBATCH_CONFIG": str(world.folder / "config.yml"),
        "POLYGON_API_KEY_FILE": str(key),
        "AB": str(Path(sys.executable).with_name("assetbatch")),
        "LOG": str(folder / "log"),
    }
    text = (REPOSITORY / "crontab.example").read_text(encoding="utf-8")
    for name, value in own.items():
        text, replaced = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert replaced == 1, name
    text = re.sub(r"^\*/\d+", "*", text, flags=re.MULTILINE)
    cron = Cron(folder, f"HOME={folder}\nMAILTO=you@example.org\n{text}")
    yield cron
    cron.stop()


def wait(cron: Cron, until: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not until():
        assert cron.runs(), "the daemon has ended"
        assert time.monotonic() - began < MINUTES, [str(mail) for mail in cron.mails]
        time.sleep(0.25)


@pytest.mark.timeout(600)
def test_a_failure_comes_by_mail_when_it_begins_and_when_it_ends(world: World, cron: Cron) -> None:
    wait(cron, lambda: world.last_update("BTCUSD") is not None)
    assert cron.mails == []
    world.provider.order("status=500", times=None)
    wait(cron, lambda: len(cron.mails) == 1)
    world.provider.faults.clear()
    wait(cron, lambda: len(cron.mails) == 2)
    begun, ended = cron.mails
    assert begun["To"] == "you@example.org"
    assert begun["Subject"].startswith("Cron <root@")
    failure = r"\S+ ERROR run-priority: the provider answers 500: .*\(hint: .*\)\n"
    assert re.fullmatch(failure, str(begun.get_payload()))
    end = r"\S+ NOTICE run-priority: over: the provider answers 500.*\n"
    assert re.fullmatch(end, str(ended.get_payload()))
