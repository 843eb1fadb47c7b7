"""The marked lines in a crontab: only they change, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.errors import ConfigError
from assetbatch.setup.crontab import block_of, daemon_runs, names, other_lines, with_block, without_block

MINE = b"MAILTO=me@example.org\n# caf\xe9\n\n*/5 * * * * backup   \n@reboot x"
LINES = ["* * * * * one", "*/5 * * * * two \\% %"]
TEXTS = st.lists(st.sampled_from([b"# x", b"", b"* * * * * a\xff", b"\t ", b"A=b", b"# assetbatch"])).map(
    lambda lines: b"".join(line + b"\n" for line in lines)
)


@given(TEXTS)
def test_what_was_there_is_there_again_after_the_removal(crontab: bytes) -> None:
    installed = with_block(crontab, "main", LINES)
    assert installed.startswith(crontab)
    assert block_of(installed, "main") == LINES
    assert without_block(installed, "main") == crontab


@given(TEXTS, TEXTS)
def test_a_second_installation_replaces_the_block_in_its_place(above: bytes, below: bytes) -> None:
    first = with_block(above, "main", LINES) + below
    second = with_block(first, "main", ["@daily three"])
    assert second == with_block(above, "main", ["@daily three"]) + below
    assert with_block(first, "main", LINES) == first


def test_a_last_line_without_its_end_gets_one() -> None:
    assert with_block(MINE, "main", LINES).startswith(MINE + b"\n# assetbatch begin main\n")


def test_other_blocks_and_names_that_begin_alike_stay() -> None:
    crontab = with_block(with_block(MINE + b"\n", "main", ["a"]), "main2", ["b"])
    assert names(crontab) == ["main", "main2"]
    assert without_block(crontab, "main") == with_block(MINE + b"\n", "main2", ["b"])
    assert other_lines(crontab) == MINE.decode(errors="surrogateescape").splitlines()


@pytest.mark.parametrize(
    "crontab",
    [
        b"# assetbatch begin main\n* * * * * one\n",
        b"* * * * * one\n# assetbatch end main\n",
        b"# assetbatch end main\n# assetbatch begin main\n",
        b"# assetbatch begin main\n# assetbatch end main\n" * 2,
    ],
)
def test_a_mark_that_is_missing_or_there_twice_is_refused(crontab: bytes) -> None:
    with pytest.raises(ConfigError, match="expected one of each"):
        with_block(crontab, "main", LINES)
    with pytest.raises(ConfigError, match="expected one of each"):
        without_block(crontab, "main")


def test_other_lines_are_found_beside_a_broken_block_of_somebody_else() -> None:
    broken = b"# assetbatch begin theirs\n* * * * * one\n"
    assert other_lines(with_block(broken, "main", LINES)) == broken.decode().splitlines()


class TestTheDaemon:
    @pytest.mark.parametrize(
        ("processes", "runs"),
        [
            ({"1": b"init\n", "7": b"cron\n"}, True),
            ({"1": b"init\n", "7": b"fourteen-bytes\xc3", "8": b"crond\n"}, True),
            ({"1": b"init\n", "7": b"fourteen-bytes\xc3"}, False),
            ({"7": b"sh\n"}, None),
            ({}, None),
        ],
    )
    def test_is_seen_by_its_name_unless_processes_are_hidden(
        self, tmp_path: Path, processes: dict[str, bytes], runs: bool | None
    ) -> None:
        for number, name in processes.items():
            (tmp_path / "proc" / number).mkdir(parents=True)
            (tmp_path / "proc" / number / "comm").write_bytes(name)
        assert daemon_runs(tmp_path) is runs

    def test_is_not_missed_where_systemd_reads_the_crontabs(self, tmp_path: Path) -> None:
        (tmp_path / "proc/1").mkdir(parents=True)
        (tmp_path / "proc/1/comm").write_bytes(b"systemd\n")
        target = tmp_path / "usr/lib/systemd/system/cron.target"
        target.parent.mkdir(parents=True)
        target.touch()
        assert daemon_runs(tmp_path) is None
