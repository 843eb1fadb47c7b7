"""What a plan consists of: what is added, what is taken as it is, what is refused, each with its words."""

from __future__ import annotations

from enum import StrEnum

import msgspec

MOST_TEXT = 600
"""Maximum number of characters of one line."""


def configured(key: str, mapping: str) -> str:
    """Return what to write into config.yml to say something of a table."""
    return f"database: {{tables: {{{key}: {{{mapping}}}}}}}"


def elsewhere(key: str) -> str:
    """Return the remedy that always helps: a table of ours beside the platform's."""
    return f"set database.tables.{key}.table to another name, which init makes"


class Part(StrEnum):
    """What is added."""

    SCHEMA = "schema"
    TABLE = "table"
    COLUMN = "column"
    DEFAULT = "default"
    INDEX = "index"
    ROW = "row"
    MIGRATION = "migration"
    VIEW = "view"


class Addition(msgspec.Struct, frozen=True, kw_only=True):
    """Something that `init` adds. `sql` is what it executes, with `parameters`; None: a migration adds it."""

    part: Part
    what: str
    sql: str | None = None
    parameters: dict[str, str] = {}


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is used as it is, or that a warning speaks of."""

    what: str
    why: str
    remedy: str | None = None

    def __str__(self) -> str:
        return _line(self.what, self.why, self.remedy)


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why the tables cannot be used, and what to do about it."""

    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return _line(self.what, self.why, self.remedy)


def _line(what: str, why: str, remedy: str | None) -> str:
    text = f"{what} {why}"
    text = text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
    return f"{text} (hint: {remedy})" if remedy else text


class Findings:
    """Collects what a plan will consist of."""

    def __init__(self) -> None:
        self.additions: list[Addition] = []
        self.taken: list[Note] = []
        self.warnings: list[Note] = []
        self.refusals: list[Refusal] = []

    def add(self, part: Part, what: str, sql: str | None = None, **parameters: str) -> None:
        """Note something to be added."""
        self.additions.append(Addition(part=part, what=what, sql=sql, parameters=parameters))

    def take(self, what: str, why: str) -> None:
        """Note something that is used as it is."""
        self.taken.append(Note(what=what, why=why))

    def warn(self, what: str, why: str, remedy: str | None = None) -> None:
        """Note something that is no reason to refuse."""
        self.warnings.append(Note(what=what, why=why, remedy=remedy))

    def refuse(self, what: str, why: str, remedy: str) -> None:
        """Note a reason to refuse; the same once."""
        refusal = Refusal(what=what, why=why, remedy=remedy)
        if refusal not in self.refusals:
            self.refusals.append(refusal)
