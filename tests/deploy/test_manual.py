"""The manual pages: as new as the help texts, and nothing in them that a reader complains of."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

import pytest
from docs import make_manual
from docs.make_manual import MANUAL

from tests.deploy.command_lines import commands_of, options_of, program

PAGES = sorted(MANUAL.glob("*.1"))


@cache
def pages() -> dict[str, str]:
    """The pages as they would be made now."""
    return make_manual.pages()


def plain(page: str) -> str:
    """The text of a page without its marks."""
    return page.replace(r"\-", "-").replace(r"\fB", "").replace(r"\fR", "").replace(r"\fI", "")


def test_pages_are_as_new_as_the_help_texts() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in MANUAL.iterdir()}
    assert there == pages(), "write them again: .venv/bin/python docs/make_manual.py"


def test_each_command_has_a_page_with_all_its_options() -> None:
    made = pages()
    for name, command in commands_of(program()).items():
        text = plain(made[f"assetbatch-{name.split()[0]}.1"])
        assert f"assetbatch {name}" in text
        for option in options_of(command) - {"--help", "-h"}:
            assert option in text, f"{name}: {option}"
        assert f"assetbatch-{name.split()[0]}(1)" in plain(made["assetbatch.1"]).replace(" (1)", "(1)")


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_has_nothing_to_warn_of() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *PAGES], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_has_nothing_to_warn_of() -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-z", "-Tutf8", *PAGES], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
