"""What a shell offers where a symbol is expected."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import program
from tests.program import BARE

CONFIG = """
priority_assets:
  - {symbol: XAUUSD, name: Gold / US Dollar}
  - {symbol: EUR/USD, name: 'Euro "and" $(date) `date` Dollar'}
secondary_assets: [{symbol: EURGBP}, {symbol: BTCUSD, enabled: false}]
database: {url: "postgresql://127.0.0.1:1/none"}
redis: {url: "redis://127.0.0.1:1/0"}
"""
NAMED_AS_IN_TESTS = "_PYTHON _M ASSETBATCH_COMPLETE"
"""The variable of a program that is started as `python -m assetbatch`."""

PROGRAM = Path(sys.executable).with_name("assetbatch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yml").write_text(CONFIG)
    return tmp_path


def complete(folder: Path, words: str, shell: str = "bash") -> tuple[str, str]:
    """What a shell is told at the end of a line, and what is said on stderr."""
    env = {NAMED_AS_IN_TESTS: f"complete_{shell}", "HOME": str(folder)}
    if shell == "bash":
        env |= {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    else:
        env |= {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = program.start(cwd=folder, env=env)
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("assetbatch holes ", ["XAUUSD", "EUR/USD", "EURGBP", "BTCUSD"]),
        ("assetbatch backfill EUR", ["EUR/USD", "EURGBP"]),
        ("assetbatch backfill EURGBP E", ["EUR/USD"]),
        ("assetbatch dead retry X", ["XAUUSD"]),
        ("assetbatch export --size 1h EUR", ["EUR/USD", "EURGBP"]),
        ("assetbatch dead drop Z", []),
    ],
)
def test_offers_the_symbols_that_fit_and_are_not_typed_yet(
    folder: Path, line: str, offered: list[str]
) -> None:
    said, complained = complete(folder, line)
    assert said.split() == offered
    assert complained == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_shows_their_names_where_a_shell_can(folder: Path, shell: str) -> None:
    said, complained = complete(folder, "assetbatch holes X", shell)
    assert "XAUUSD" in said
    assert "Gold / US Dollar" in said
    assert complained == ""


def test_reads_the_configuration_that_the_line_names(folder: Path) -> None:
    (folder / "other.yml").write_text("priority_assets: [{symbol: SOLUSD}]")
    assert complete(folder, "assetbatch --config other.yml holes ")[0].split() == ["SOLUSD"]


@pytest.mark.parametrize("text", ["priority_assets: {", "nothing: 1", None])
def test_offers_nothing_and_says_nothing_without_a_valid_configuration(
    folder: Path, text: str | None
) -> None:
    if text is None:
        (folder / "config.yml").unlink()
    else:
        (folder / "config.yml").write_text(text)
    assert complete(folder, "assetbatch holes ") in [("", ""), ("\n", "")]


def test_is_quick_whatever_servers_do(folder: Path) -> None:
    began = time.monotonic()
    env = {"_ASSETBATCH_COMPLETE": "complete_bash", "COMP_WORDS": "assetbatch dead retry ", "COMP_CWORD": "3"}
    env |= {"HOME": str(folder), **BARE}
    done = subprocess.run([PROGRAM], env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["XAUUSD", "EUR/USD", "EURGBP", "BTCUSD"]
    assert time.monotonic() - began < 5  # 0.3 s on a quiet machine; a server that hangs would cost more


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_works_in_bash_itself(folder: Path) -> None:
    script = f"""
        PATH={PROGRAM.parent}:$PATH
        eval "$(assetbatch --show-completion bash)"
        COMP_WORDS=(assetbatch holes X) COMP_CWORD=2
        _assetbatch_completion assetbatch
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(folder), **BARE},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("XAUUSD\n", "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_works_in_fish_itself(folder: Path) -> None:
    script = f"""
        set -x PATH {PROGRAM.parent} $PATH
        assetbatch --show-completion fish | source
        complete -C 'assetbatch holes EURG'
    """
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(folder), **BARE},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["EURGBP"], done.stderr
