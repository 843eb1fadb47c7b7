"""No decision rests on the words of a message: the cycles do the same when every message is another text.

`tests/rewording.py` says how messages are found and what replaces them. `cycles.py` plays the cycles.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import REPOSITORY
from tests.rewording import reword_package, reworded

SOURCE = REPOSITORY / "src"


class Program(NamedTuple):
    """A program on its path, and the servers that it uses."""

    path: Path
    folder: Path
    redis_url: str
    database_url: str

    def play(self, plan: str, part: int) -> tuple[list[Any], list[str]]:
        """Return what the cycles of a part did, and what they said."""
        arguments = [str(self.folder), self.redis_url, self.database_url, plan, str(part)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.commands.cycles", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": f"{self.path}:{REPOSITORY}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told: tuple[list[Any], list[str]] = json.loads(done.stdout.splitlines()[-1])
        return told


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["basic", "starter"])
def test_other_words_change_nothing(plan: str, tmp_path: Path, redis_url: str, database_url: str) -> None:
    """Neither within a version, nor after a version that said the same in other words."""
    assert reword_package(SOURCE / "assetbatch", tmp_path / "reworded" / "assetbatch") > 300
    ours = Program(SOURCE, tmp_path, redis_url, database_url)
    reworded = ours._replace(path=tmp_path / "reworded")
    expected = [ours.play(plan, part) for part in (1, 2)]
    for programs in ((reworded, ours), (ours, reworded)):
        for part, program in enumerate(programs, start=1):
            (done, texts), (then, words) = program.play(plan, part), expected[part - 1]
            for step, (one, other) in enumerate(zip(done, then, strict=True)):
                assert one == other, f"part {part}, step {step}"
            if program is reworded:
                assert texts != words


def test_a_reworded_message_keeps_what_is_filled_in() -> None:
    assert reworded("%s of %d calls: {why}", "here").split()[1:] == ["%s", "%d", "{why}"]


def test_the_same_message_in_two_places_becomes_two() -> None:
    assert reworded("no call is free", "here") != reworded("no call is free", "there")
