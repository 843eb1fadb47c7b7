"""The SQL of the package: the templates in `sql/`, over the names of the owner's tables.

A file holds the statements of one subject. `-- name: load` begins a statement, and the comment below it says
what the statement is for; `bars.merge` is the statement `merge` of `bars.sql`. A file is read when one of its
statements is first wanted. Each table that `init` creates has a file of its own, `create/bars` for instance.

In a template `{bars}` is a table, `{bars.ts}` its column, `{bars.ts[o]}` the column of the alias `o` (a NULL
where the table has none), `{bars.ts.zone}` what converts a moment to or from a column of naive timestamps.
`{bars.ours[o]}` is the condition that tells our rows from others, `{bars.of[s]}` what the table's column for
the instrument holds for a row `s` of the symbols. `{bars}` is the table of bars of five minutes, or another
table of bars that the caller names. `{part[bars.hourly_closes]}` is the text of another statement, over the
same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from importlib.resources import files

from assetbatch.config.tables import OF_INSTRUMENTS
from assetbatch.database import quoting
from assetbatch.database.names import OWN, Names, Table

VALUES = ("open", "high", "low", "close", "volume", "vwap", "trades")
"""The columns of a bar besides its key, in the order of `domain.models.Bar`."""

_TYPES = {"trades": "int8", "fits": "bool"}


_MARK = "-- name: "


@cache
def _file(name: str) -> str:
    return files("assetbatch.database").joinpath("sql", f"{name}.sql").read_text("utf-8")


@cache
def statements_of(file: str) -> Mapping[str, str]:
    """Return the templates in `sql/<file>.sql` by their names."""
    _, *parts = f"\n{_file(file)}".split(f"\n{_MARK}")
    return {name: text for name, _, text in (part.partition("\n") for part in parts)}


def _text(name: str) -> str:
    file, _, statement = name.partition(".")
    return statements_of(file)[statement] if statement else _file(file)


class Statements:
    """The statements of `sql/` for tables of these names, each rendered once."""

    def __init__(self, names: Names = OWN) -> None:
        self.names = names
        self._rendered: dict[tuple[str, str], bytes] = {}

    def __call__(self, name: str, of: str = "bars", **parts: str) -> bytes:
        """Return a statement by its name, ready for `psycopg.Cursor.execute`.

        `of` is the table that the template calls `bars`. `parts` are further SQL texts that this one template
        takes.
        """
        if parts:
            return self._render(name, of, parts)
        if (name, of) not in self._rendered:
            self._rendered[name, of] = self._render(name, of, {})
        return self._rendered[name, of]

    def _render(self, name: str, of: str, parts: Mapping[str, str]) -> bytes:
        template, tables = _text(name), {**self._tables, "bars": self._tables[of]}
        part = _By(lambda other: _text(other).format(**tables))
        if "%(" not in template:
            return self.rendered(template, part=part, **{"bars": tables["bars"], **parts})
        return template.format(**tables, part=part, **parts).encode()

    def rendered(self, template: str, **parts: object) -> bytes:
        """Return the text of a template without parameters: psycopg halves no per cent sign of it."""
        text = template.format(**{**self._tables, **parts})
        return text.replace("%%", "%").encode()

    @cached_property
    def _tables(self) -> Mapping[str, object]:
        names = self.names
        own_id = names.symbols.columns["id"]
        return {
            "symbols": _Table(names.symbols, _column_of(own_id)),
            **{
                key: _Table(names.table(key), self._instrument(names.table(key)), key)
                for key in OF_INSTRUMENTS
            },
            "providers": _Table(names.providers, _column_of(names.providers.columns["id"])),
            "sync_status": _Table(names.sync_status, _column_of(names.sync_status_target or own_id)),
            "provider": literal(names.provider),
        }

    def _instrument(self, table: Table) -> Callable[[str], str]:
        """Return what a table of bars holds for a row of the symbols, by the alias of that."""
        columns = self.names.symbols.columns
        if table.instrument == "polygon_ticker":
            # Parsed once for each statement: `transactions.set_tickers` makes the text a setting.
            ticker = "(SELECT current_setting('assetbatch.tickers')::jsonb) ->> {}." + quoted(
                columns["symbol"]
            )
            return ticker.format
        return _column_of(
            columns["symbol"] if table.instrument == "symbol" else table.target or columns["id"]
        )


def doubled(sql: str) -> str:
    """Return a part of a statement with parameters, of which psycopg halves each per cent sign."""
    return sql.replace("%", "%%")


def quoted(name: str) -> str:
    """Return the name as an SQL identifier of a statement with parameters."""
    return doubled(quoting.quoted(name))


def literal(text: str) -> str:
    """Return the text as an SQL literal of such a statement; its type is that of what it meets."""
    return doubled(quoting.literal(text))


def _column_of(name: str) -> Callable[[str], str]:
    return lambda alias: f"{alias}.{quoted(name)}"


class _By:
    """What a template asks for by `[alias]`."""

    def __init__(self, of: Callable[[str], str]) -> None:
        self._of = of

    def __getitem__(self, alias: str) -> str:
        return self._of(alias)


class _Column:
    """A column of ours under the table's name for it."""

    def __init__(self, table: Table, ours: str) -> None:
        self._name = table.columns.get(ours)
        self._type = _TYPES.get(ours, "float8")
        zone = table.zones.get(ours)
        self.zone = f" AT TIME ZONE {literal(zone)}" if zone else ""

    @property
    def literal(self) -> str:
        """The table's name for it as a text."""
        return literal(self._name) if self._name is not None else "NULL"

    def __str__(self) -> str:
        assert self._name is not None, "only what may be absent is asked for by its alias"
        return quoted(self._name)

    def __getitem__(self, alias: str) -> str:
        return f"NULL::{self._type}" if self._name is None else f"{alias}.{quoted(self._name)}"


class _Table:
    """A table as the templates see it."""

    def __init__(self, table: Table, of: Callable[[str], str], key: str = "") -> None:
        self._table = table
        self.of = _By(of)
        self.batch = f"assetbatch_{key}"
        """The temporary table in which the rows of a batch arrive."""

    def __str__(self) -> str:
        return f"{quoted(self._table.schema)}.{quoted(self._table.name)}"

    def __getattr__(self, ours: str) -> _Column:
        return _Column(self._table, ours)

    @property
    def schema(self) -> str:
        """The name of its schema as a text."""
        return literal(self._table.schema)

    @property
    def table(self) -> str:
        """Its name without the schema as a text."""
        return literal(self._table.name)

    @property
    def text(self) -> str:
        """The table as a text that to_regclass reads."""
        return literal(str(self))

    @property
    def regclass(self) -> str:
        """The table as an object identifier."""
        return f"{self.text}::regclass"

    @property
    def pairs(self) -> str:
        """Its columns as rows of VALUES: our name, its name."""
        return ", ".join(
            f"({literal(ours)}, {literal(theirs)})" for ours, theirs in self._table.columns.items()
        )

    @property
    def ours(self) -> _By:
        """The condition that tells our rows from others, by their constants."""
        marks = [(quoted(name), literal(self._table.constants[name])) for name in self._table.key]
        return _By(lambda alias: " AND ".join(f"{alias}.{name} = {value}" for name, value in marks) or "true")

    @property
    def constant_columns(self) -> str:
        """The further columns of an INSERT, each after a comma."""
        return "".join(f", {quoted(name)}" for name in self._table.constants)

    @property
    def constants_named(self) -> str:
        """Their values under their names, each after a comma."""
        constants = self._table.constants.items()
        return "".join(f", {literal(value)} AS {quoted(name)}" for name, value in constants)

    @property
    def constant_values(self) -> str:
        """Their values."""
        return "".join(f", {literal(value)}" for value in self._table.constants.values())

    @property
    def constant_key(self) -> str:
        """Those that tell our rows from others, for ON CONFLICT."""
        return "".join(f", {quoted(name)}" for name in self._table.key)

    @property
    def value_columns(self) -> str:
        """The columns of a bar's values that the table has."""
        return ", ".join(quoted(self._table.columns[name]) for name in self._values)

    @property
    def values(self) -> _By:
        """The same as columns of ours of an alias."""
        return _By(lambda alias: ", ".join(f"{alias}.{name}" for name in self._values))

    @property
    def all_values(self) -> _By:
        """All values of a bar in an alias of the table, a NULL for each that it has not."""
        return _By(lambda alias: ", ".join(self.__getattr__(name)[alias] for name in VALUES))

    @property
    def own_values(self) -> _By:
        """The values that the table has in an alias of it."""
        return _By(lambda alias: ", ".join(self.__getattr__(name)[alias] for name in self._values))

    @property
    def overwritten(self) -> str:
        """The assignments of ON CONFLICT for the values of a bar."""
        columns = [quoted(self._table.columns[name]) for name in self._values]
        return ", ".join(f"{column} = excluded.{column}" for column in columns)

    @property
    def touched(self) -> str:
        """The assignment that says when a row was changed, after a comma; none where no column says it."""
        name = self._table.columns.get("updated_at")
        return "" if name is None else f", {quoted(name)} = now(){self.__getattr__('updated_at').zone}"

    @property
    def _values(self) -> list[str]:
        return [name for name in VALUES if name in self._table.columns]
