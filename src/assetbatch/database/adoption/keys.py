"""By which columns rows are told apart: ours alone, or further ones with a constant; or not at all.

No unique index is ever added on fewer columns than those by which a platform keeps its rows apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from assetbatch.config.tables import OF_INSTRUMENTS
from assetbatch.database.adoption.catalogue import Column, Index, TableFacts
from assetbatch.database.adoption.findings import Findings, configured, elsewhere
from assetbatch.database.adoption.recognition import KEYS, is_timeframe
from assetbatch.database.adoption.vocabulary import DISTINGUISHING, LENGTHS, plain, stem
from assetbatch.database.names import Table
from assetbatch.database.quoting import listed, place, qualified, quoted

Samples = Mapping[str, tuple[str, ...]]
"""Some values of columns: `bars.timeframe`."""


_UNITS = (("ms", 60_000), ("sec", 60), ("secs", 60), ("seconds", 60))
"""What a minute is in a column of numbers whose name ends so; else it counts minutes."""

_MINUTES = {"bars": 5, "bars_1m": 1, "bars_1d": 1440}
_WORDS = {"bars": "5m", "bars_1m": "1m", "bars_1d": "1d"}
"""How long the bars of each table are."""


_ROW_IDS = ("id", "uuid", "uid")
"""What the id of a row is called, even where the platform's program makes it."""


class KeyChoice(NamedTuple):
    """`further` are the columns that tell rows apart together with ours. `missing` are the columns that need
    a unique index. `sampled` are columns whose values a remedy names."""

    further: tuple[str, ...] = ()
    missing: tuple[str, ...] | None = None
    sampled: tuple[str, ...] = ()


def choose_key(key: str, facts: TableFacts, table: Table, samples: Samples, findings: Findings) -> KeyChoice:
    """Choose the key of a table that is there; refuse the table where it has none that can be used."""
    return _Choice(key, facts, table, samples, findings).choose()


class _Choice:
    def __init__(
        self, key: str, facts: TableFacts, table: Table, samples: Samples, findings: Findings
    ) -> None:
        self._key = key
        self._facts = facts
        self._table = table
        self._samples = samples
        self._findings = findings
        self._place = place(table)
        self._ours = tuple(table.columns[ours] for ours in KEYS[key])

    def choose(self) -> KeyChoice:
        own = set(self._ours)
        whole = [index for index in self._facts.indexes if index.is_plain]
        narrower = [index for index in whole if set(index.columns) < own]
        exact = [index for index in whole if set(index.columns) == own]
        if narrower:
            self._refuse_narrower(narrower[0])
            return KeyChoice()
        if exact:
            if not any(index.immediate for index in exact):
                self._refuse_deferrable(exact[0])
            return KeyChoice()
        wider = [index for index in whole if own < set(index.columns) and not self._is_made_up(index)]
        covered = [index for index in wider if set(self._further(index)) <= set(self._table.constants)]
        if usable := [index for index in covered if index.immediate]:
            return KeyChoice(self._further(min(usable, key=lambda index: len(index.columns))))
        if covered:
            self._refuse_deferrable(covered[0])
            return KeyChoice()
        if wider:
            return self._refuse_wider(min(wider, key=lambda index: len(self._uncovered(index))))
        partial = [index for index in self._facts.indexes if index.partial and own <= set(index.columns)]
        if partial:
            self._refuse_partial(partial[0])
            return KeyChoice()
        if other := next((index for index in self._facts.indexes if self._is_another_key(index)), None):
            self._refuse_another(other)
            return KeyChoice()
        return self._added()

    def _column(self, name: str) -> Column:
        column = self._facts.column(name)
        assert column is not None, "an index speaks of columns of its table"
        return column

    def _is_made_up(self, index: Index) -> bool:
        return any(self._column(name).is_surrogate for name in self._further(index))

    def _is_another_key(self, index: Index) -> bool:
        """Return whether columns of others are part of what tells rows apart: two rows may then have the same
        values in ours."""
        others = [name for name in index.uses if name not in self._ours]
        if index.partial or not others or len(index.uses) == 1:
            return False
        return not any(self._column(name).is_surrogate or plain(name) in _ROW_IDS for name in others)

    def _further(self, index: Index) -> tuple[str, ...]:
        return tuple(name for name in index.columns if name not in self._ours)

    def _uncovered(self, index: Index) -> tuple[str, ...]:
        return tuple(name for name in self._further(index) if name not in self._table.constants)

    def _added(self) -> KeyChoice:
        """Add a unique index, if only our columns and constants tell rows apart."""
        apart = [
            column.name
            for column in self._facts.columns
            if (stem(column.name) in DISTINGUISHING or is_timeframe(column))
            and column.name not in self._table.columns.values()
            and not column.is_surrogate
        ]
        unknown = [name for name in apart if name not in self._table.constants]
        if unknown:
            self._findings.refuse(
                self._place,
                f"has no unique index, and seems to tell rows apart by {listed(unknown)} besides "
                f"({listed(self._ours)})",
                self._constants_wanted(unknown),
            )
            return KeyChoice(sampled=tuple(unknown))
        further = tuple(name for name in self._table.constants if name in apart)
        columns = (*self._ours, *further)
        divided = self._facts.partition_columns
        if not set(divided) <= set(columns):
            self._findings.refuse(
                self._place,
                f"has no unique index on ({listed(columns)}) and is partitioned by "
                f"{listed(name for name in divided if name) or 'an expression'}, "
                "which such an index would need",
                elsewhere(self._key),
            )
            return KeyChoice()
        if self._facts.has_rows and self._key in (
            *OF_INSTRUMENTS,
            "sync_status",
        ):  # a log of runs, revisions of bars
            self._findings.refuse(
                self._place,
                f"has rows and no unique index on ({listed(columns)}): an added one may keep out rows that "
                "others write",
                f"CREATE UNIQUE INDEX ON {self._place} ({listed(columns)}) yourself, if no two rows may have "
                f"the same there; or {elsewhere(self._key)}",
            )
            return KeyChoice()
        return KeyChoice(further, columns)

    def _refuse_narrower(self, index: Index) -> None:
        self._findings.refuse(
            self._place,
            f"has at most one row for each ({listed(index.columns)}), by {quoted(index.name)}: "
            "rows of assetbatch would keep those of others out",
            f"make it unique on ({listed(self._ours)}), or {elsewhere(self._key)}",
        )

    def _refuse_deferrable(self, index: Index) -> None:
        name = qualified(self._facts.schema, index.name)
        self._findings.refuse(
            f"the unique constraint {name} of {self._place}", "is deferrable", f"make {name} not deferrable"
        )

    def _refuse_partial(self, index: Index) -> None:
        self._findings.refuse(
            self._place,
            f"keeps ({listed(self._ours)}) apart only for some rows, by {quoted(index.name)}",
            f"make an index without WHERE if all rows are apart: CREATE UNIQUE INDEX ON {self._place} "
            f"({listed(self._ours)}); or {elsewhere(self._key)}",
        )

    def _refuse_another(self, index: Index) -> None:
        self._findings.refuse(
            self._place,
            f"tells rows apart by {quoted(index.name)}, which uses ({listed(index.uses)}), and by no unique "
            f"index on ({listed(self._ours)})",
            f"set database.tables.{self._key} to the columns of that key if they are meant; or CREATE UNIQUE "
            f"INDEX ON {self._place} ({listed(self._ours)}) if no two rows may have the same there; or "
            f"{elsewhere(self._key)}",
        )

    def _refuse_wider(self, index: Index) -> KeyChoice:
        uncovered = self._uncovered(index)
        self._findings.refuse(
            self._place,
            f"tells rows apart by ({listed(index.columns)}), not by ({listed(self._ours)}) alone",
            self._constants_wanted(uncovered),
        )
        return KeyChoice(sampled=uncovered)

    def _constants_wanted(self, names: Sequence[str]) -> str:
        return constants_wanted(self._key, [self._column(name) for name in names], self._samples)


def constants_wanted(key: str, columns: Sequence[Column], samples: Samples) -> str:
    """Return the remedy that names constants, with the values that rows have."""
    shown, known = [], []
    for column in columns:
        values = samples.get(f"{key}.{column.name}") or column.labels[:6]
        if is_timeframe(column):
            known_length = next((value for value in values if plain(value) in LENGTHS.get(key, ())), None)
            shown.append(f"{column.name}: {_yaml(known_length or _length(key, column))}")
        else:
            shown.append(f"{column.name}: {_yaml(values[0]) if len(values) == 1 else '...'}")
        if values:
            known.append(f"{column.name}: {', '.join(value[:40] for value in values)}")
    has = f" (there are {'; '.join(known)})" if known else ""
    return f"say which rows are ours: {configured(key, ', '.join(shown))}{has}"


def _length(key: str, column: Column) -> str:
    """Return how a column most likely writes how long the bars of a table are."""
    if column.is_text or column.labels:
        return _WORDS.get(key, "...")
    minutes = _MINUTES.get(key, 5)
    if column.base == "interval":
        return f"{minutes // 60:02}:{minutes % 60:02}:00"
    name = plain(column.name)
    return str(minutes * next((count for ending, count in _UNITS if name.endswith(ending)), 1))


def _yaml(value: str) -> str:
    return (
        value
        if (value.replace("_", "").isalnum() and not value[:1].isdigit()) or value in _WORDS.values()
        else f"'{value}'"
    )
