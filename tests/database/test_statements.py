"""The files of SQL statements: each statement has a purpose and is used."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

import assetbatch.database
from assetbatch.database.statements import Statements, statements_of

SQL = resources.files("assetbatch.database") / "sql"
FILES = sorted(path.name.removesuffix(".sql") for path in SQL.iterdir() if path.name.endswith(".sql"))


def _sql_of(file: str) -> str:
    return (SQL / f"{file}.sql").read_text(encoding="utf-8")


NAMES = [f"{file}.{name}" for file in FILES for name in statements_of(file)]
SOURCES = "".join(
    path.read_text(encoding="utf-8") for path in Path(assetbatch.database.__file__).parent.rglob("*.py")
)
PARTS = set(re.findall(r"\{part\[([a-z_.]+)\]\}", "".join(map(_sql_of, FILES))))
"""Statements that others contain."""
USED = set(re.findall(rf'"((?:{"|".join(FILES)})\.[a-z_]+)"', SOURCES)) | PARTS


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_says_what_it_is_for_and_is_used(name: str) -> None:
    file, _, statement = name.partition(".")
    text = statements_of(file)[statement]
    assert re.match(r"-- [A-Z]\S+ \S", text), "no line of purpose"
    assert not text.startswith(("-- What ", "-- Which ", "-- Whether ", "-- The "))
    assert text.rstrip().endswith((";", ")")) or name in PARTS, "no end"
    assert name in USED


def test_every_name_that_is_used_is_there() -> None:
    assert sorted(USED) == sorted(NAMES)


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_what_it_is_about_and_names_each_statement_once(file: str) -> None:
    text = (SQL / f"{file}.sql").read_text(encoding="utf-8")
    assert re.match(r"-- [A-Z]", text)
    names = re.findall(r"^-- name: ([a-z_]+)$", text, re.MULTILINE)
    assert names == list(dict.fromkeys(names))
    assert names == list(statements_of(file))
    assert text.count("-- name:") == len(names)


def test_each_statement_is_its_own_text() -> None:
    text = Statements()("assets.find").decode()
    assert text.startswith("-- Return which of the symbols")
    assert "-- name:" not in text
    assert text.count(";") == 1
