"""Which tables and columns of a platform are ours: by configuration, by an earlier `init`, by usual names.

Pure: decides on the structure alone, before any row is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import msgspec

from assetbatch.config.tables import (
    BARS,
    OF_INSTRUMENTS,
    TABLES,
    Constant,
    TableMappings,
)
from assetbatch.database.adoption.catalogue import Catalogue, Column, Kind, TableFacts
from assetbatch.database.adoption.findings import Findings, elsewhere
from assetbatch.database.adoption.vocabulary import (
    CLOSES,
    EXPECTED,
    IDS,
    INTEGERS,
    NAMESAKES,
    SYMBOL_TEXTS,
    TIMEFRAMES,
    Wanted,
    plain,
    stem,
)
from assetbatch.database.names import OWN, Names, Reference, Table
from assetbatch.database.quoting import listed, place, qualified, quoted

KEYS: Mapping[str, tuple[str, ...]] = {
    "symbols": ("symbol",),
    "bars": ("symbol_id", "ts"),
    "bars_1m": ("symbol_id", "ts"),
    "bars_1d": ("symbol_id", "day"),
    "splits": ("symbol_id", "execution_date"),
    "providers": ("code",),
    "sync_status": ("ticker_id", "provider_id"),
}
"""The columns of ours by which a row of each table is known."""

REFERENCES = (
    *((key, "symbol_id", "symbols") for key in OF_INSTRUMENTS),
    ("sync_status", "ticker_id", "symbols"),
    ("sync_status", "provider_id", "providers"),
)
"""The columns that refer to rows of another table: table, column, the other table."""

_MOMENTS = ("timestamptz", "timestamp")


class Recognised(NamedTuple):
    """What is meant: the names, the tables that are there and the types of the ids of symbols and providers.

    `added` are the columns of ours that each table lacks and gets, under their names.
    """

    names: Names
    tables: Mapping[str, TableFacts]
    added: Mapping[str, tuple[str, ...]]
    symbol_id_type: str
    provider_id_type: str

    def column(self, key: str, ours: str) -> Column | None:
        """Return the column that stands for one of ours, where it is there."""
        table = self.names.table(key)
        facts = self.tables.get(key)
        return facts.column(table.columns[ours]) if facts and ours in table.columns else None

    def with_names(self, **changed: object) -> Recognised:
        """Return the same with other names."""
        return self._replace(names=msgspec.structs.replace(self.names, **changed))


def as_text(value: Constant) -> str:
    """Return a constant as PostgreSQL reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def wanted_place(key: str, mappings: TableMappings) -> tuple[str, str]:
    """Return schema and name of a table: the configured ones, else ours. The other bars and the splits lie
    beside the bars of five minutes."""
    mapping, own = mappings.table(key), OWN.table(key)
    if mapping.table is None:
        is_beside = key in OF_INSTRUMENTS and key != "bars"
        return wanted_place("bars", mappings)[0] if is_beside else own.schema, own.name
    schema, _, name = mapping.table.partition(".")
    return schema, name


SINCE = {"bars_1m": 9, "bars_1d": 9, "splits": 11}
"""The version of the schema since which there is a table; else the first."""


def lost_tables(catalogue: Catalogue, mappings: TableMappings) -> dict[str, int]:
    """Return the tables that an earlier `init` has found or made, and that are not there any more, with the
    version of the schema since which there are such."""
    if catalogue.installed is None:
        return {}
    before = {key: catalogue.installed.table(key) for key in TABLES}
    return {
        place(table): SINCE.get(key, 1)
        for key, table in before.items()
        if key not in catalogue.tables and (table.schema, table.name) == wanted_place(key, mappings)
    }


class Recognition:
    """Finds the columns of all tables; what keeps it from that becomes a refusal."""

    def __init__(self, catalogue: Catalogue, mappings: TableMappings, findings: Findings) -> None:
        self._catalogue = catalogue
        self._mappings = mappings
        self._findings = findings
        self._tables = catalogue.tables
        self._columns: dict[str, dict[str, str]] = {key: {} for key in TABLES}
        self._added: dict[str, list[str]] = {key: [] for key in TABLES}

    def run(self) -> Recognised | None:
        """Return what was recognised; None where something is missing that all else depends on."""
        for key in TABLES:
            self._check_kind(key)
        self._check_missing_symbols()
        if self._findings.refusals:
            return None
        for key, wanted in EXPECTED.items():
            for ours, what in wanted.items():
                self._find(key, ours, what)
        self._check_closes()
        if self._findings.refusals:
            return None
        self._find_id("symbols", "symbol")
        self._find_id("providers", "code")
        if self._findings.refusals:
            return None
        return self._recognised()

    # --- tables ---

    def _place(self, key: str, *column: str) -> str:
        return qualified(*wanted_place(key, self._mappings), *column)

    def _check_kind(self, key: str) -> None:
        facts = self._tables.get(key)
        if facts is None:
            return
        if facts.is_table:
            if facts.children:
                self._findings.refuse(
                    self._place(key),
                    f"is inherited by {', '.join(facts.children[:3])}: no unique index reaches rows there",
                    elsewhere(key),
                )
            if facts.rules:
                rule = quoted(facts.rules[0])
                self._findings.refuse(
                    self._place(key),
                    f"has the rule {rule}: PostgreSQL takes no INSERT ... ON CONFLICT there",
                    f"make a trigger of it: DROP RULE {rule} ON {self._place(key)}; or {elsewhere(key)}",
                )
            return
        what = {
            Kind.VIEW: "is a view",
            Kind.MATERIALIZED: "is a materialized view",
            Kind.FOREIGN: "is a foreign table",
        }[facts.kind]
        others = {wanted_place(other, self._mappings) for other in BARS}
        sources = [
            f"{source.schema}.{source.table}"
            for source in facts.reads_from
            if (source.schema, source.table) not in others
        ]
        remedy = elsewhere(key)
        if sources:
            named = " or ".join(sources[:5])
            remedy = f"set database.tables.{key}.table: {named}, which it reads from; or {remedy}"
        self._findings.refuse(self._place(key), f"{what}: nothing can be locked or written there", remedy)

    def _check_missing_symbols(self) -> None:
        """Refuse to make a table whose ids rows of another one may refer to already."""
        for key, ours, target in REFERENCES:
            facts = self._tables.get(key)
            if target in self._tables or facts is None or not facts.is_table:
                continue
            candidates = self._candidates(key, facts, ours)
            for column in candidates:
                reference = facts.reference(column.name)
                if reference:
                    theirs = f"{reference.schema}.{reference.table}"
                    self._findings.refuse(
                        self._place(key, column.name),
                        f"refers to {theirs}, and {self._place(target)} is not there",
                        f"set database.tables.{target}.table: {theirs}",
                    )
                    break
            else:
                if facts.has_rows and not all(column.is_text for column in candidates):
                    self._findings.refuse(
                        self._place(target),
                        f"is not there, but {self._place(key)} has rows that refer to something: "
                        "no foreign key says to what",
                        f"set database.tables.{target}.table to the table that their ids belong to, or "
                        f"{elsewhere(key)}",
                    )

    def _candidates(self, key: str, facts: TableFacts, ours: str) -> list[Column]:
        """Return the columns that may be the reference `ours` of a table, the likeliest first."""
        mapped = self._mappings.table(key).columns.get(ours)
        if mapped is not None:
            return [column for column in facts.columns if column.name == mapped]
        return _candidates(facts, ours, EXPECTED[key][ours])

    # --- columns ---

    def _find(self, key: str, ours: str, wanted: Wanted) -> None:
        facts, mapping = self._tables.get(key), self._mappings.table(key)
        where = f"database.tables.{key}.{ours}"
        if facts is None:
            self._columns[key][ours] = mapping.columns.get(ours) or ours
            return
        if ours in mapping.columns:
            mapped = mapping.columns[ours]
            if mapped is not None:
                self._take_mapped(key, ours, mapped, wanted, where)
            return
        before = self._installed(key, ours)
        if before is not None and (column := facts.column(before)) and _fits(column, wanted):
            self._take(key, ours, column, wanted)
            return
        taken = set(self._columns[key].values()) | set(mapping.constants)
        found = [column for column in _candidates(facts, ours, wanted) if column.name not in taken]
        if len(found) > 1 and ours in KEYS[key]:
            found = _keyed(facts, found) or found
        if len(found) > 1:
            names = listed(column.name for column in found)
            self._findings.refuse(
                self._place(key),
                f"has several columns that may be {ours}: {names}",
                f"set {where} to one of them",
            )
        elif found:
            self._take(key, ours, found[0], wanted)
        else:
            self._miss(key, ours, wanted, where)

    def _installed(self, key: str, ours: str) -> str | None:
        """Return the name that an earlier `init` has taken, in the same table."""
        if self._catalogue.installed is None:
            return None
        before = self._catalogue.installed.table(key)
        same = (before.schema, before.name) == wanted_place(key, self._mappings)
        return before.columns.get(ours) if same else None

    def _take_mapped(self, key: str, ours: str, name: str, wanted: Wanted, where: str) -> None:
        facts = self._tables[key]
        column = facts.column(name)
        if column is None:
            self._no_column(key, name, where)
        elif not _fits(column, wanted):
            self._refuse_type(key, column, wanted)
        else:
            self._take(key, ours, column, wanted)

    def _no_column(self, key: str, name: str, where: str) -> None:
        near = get_close_matches(name, [column.name for column in self._tables[key].columns], 3)
        hint = f"set {where} to {' or '.join(near)}" if near else f"correct {where}"
        self._findings.refuse(self._place(key), f"has no column {quoted(name)}", hint)

    def _take(self, key: str, ours: str, column: Column, wanted: Wanted) -> None:
        if column.generated or (column.identity_always and ours in KEYS[key]):
            if (key, ours) == ("symbols", "symbol"):  # only read where all symbols are there
                pass
            elif wanted.required:
                self._findings.refuse(
                    self._place(key, column.name),
                    "is generated: nothing can be stored in it",
                    "make it an ordinary column",
                )
                return
            else:
                return
        self._columns[key][ours] = column.name
        if column.name != ours:
            self._findings.take(self._place(key, column.name), f"is used as {ours}")

    def _miss(self, key: str, ours: str, wanted: Wanted, where: str) -> None:
        facts = self._tables[key]
        wrong = facts.column(ours) or next(
            (column for column in facts.columns if plain(column.name) in map(plain, wanted.aliases)), None
        )
        if wanted.added and not (wrong and wrong.name == ours):
            self._columns[key][ours] = ours
            self._added[key].append(ours)
        elif wrong is not None and (wanted.required or (key in BARS and wrong.name == ours)):
            self._refuse_type(key, wrong, wanted)
        elif wanted.required and not (ours == "ts" and _closes(facts)):
            self._findings.refuse(
                self._place(key),
                f"has no column {ours}",
                f"set {where} to the column that holds it, or {elsewhere(key)}",
            )

    def _refuse_type(self, key: str, column: Column, wanted: Wanted) -> None:
        name = quoted(column.name)
        if column.base in ("int8", "numeric", "float8") and wanted.type == "timestamptz":
            using = f"to_timestamp({name}) (if it counts seconds; {name} / 1000.0 if milliseconds)"
        else:
            using = f"{name}::{wanted.type}"
        type_name = {"double precision": "float8"}.get(wanted.type, wanted.type)
        ours = next((ours for ours, one in EXPECTED[key].items() if one is wanted), "")
        spare = f"set database.tables.{key}.{ours}: null" if not wanted.required and not wanted.added else ""
        self._findings.refuse(
            self._place(key, column.name),
            f"is {column.type} and must be {type_name}",
            "where every program that uses it takes that: "
            f"ALTER TABLE {self._place(key)} ALTER COLUMN {name} TYPE {type_name} USING "
            + using.replace("double precision", "float8")
            + f"; else {spare if spare and not column.not_null else elsewhere(key)}",
        )

    def _check_closes(self) -> None:
        """Refuse bars that are known by their end: each would be stored beside its place."""
        for key in ("bars", "bars_1m"):
            facts = self._tables.get(key)
            if facts is not None and "ts" not in self._mappings.table(key).columns:
                self._check_closes_of(key, facts)

    def _check_closes_of(self, key: str, facts: TableFacts) -> None:
        ends = _closes(facts)
        start = self._columns[key].get("ts")
        keys = {name for index in facts.indexes for name in index.columns}
        key_end = next((name for name in ends if name in keys), None)
        if start is not None and (start in keys or key_end is None):
            return
        end = key_end or next(iter(ends), None)
        if end is None:
            return
        self._findings.refuse(
            self._place(key, end),
            "is the end of a bar, and the table's key: bars of assetbatch are known by their start",
            elsewhere(key),
        )

    # --- ids ---

    def _find_id(self, key: str, text: str) -> None:
        """Find the column by which other tables refer to this one; never one is added."""
        facts, mapping = self._tables.get(key), self._mappings.table(key)
        if facts is None:
            self._columns[key]["id"] = mapping.columns.get("id") or "id"
            return
        if (mapped := mapping.columns.get("id")) is not None:
            if facts.column(mapped) is None:
                self._no_column(key, mapped, f"database.tables.{key}.id")
            else:
                self._take_id(key, mapped)
            return
        text_column = self._columns[key][text]
        before = self._installed(key, "id")
        referred = [name for name in self._referred_columns(key) if name != text_column]
        primary = [index.columns[0] for index in facts.indexes if index.primary and len(index.columns) == 1]
        unique = [
            index.columns[0]
            for index in facts.indexes
            if index.is_plain and len(index.columns) == 1 and _is_id(index.columns[0], key)
        ]
        own = self._alike(key, [*primary, *unique])
        candidates = [before] if before and facts.column(before) else [*referred, *own]
        for name in candidates:
            if name != text_column and facts.column(name) is not None:
                self._take_id(key, name)
                return
        known = {text_column, *mapping.constants}  # among our rows the text alone identifies one
        if any(
            index.is_plain and text_column in index.columns and known.issuperset(index.columns)
            for index in facts.indexes
        ):
            self._take_id(key, text_column)
            return
        self._findings.refuse(
            self._place(key),
            "has no column that identifies a row: no primary key of one column, no unique id",
            f"set database.tables.{key}.id, or give the table a primary key",
        )

    def _alike(self, key: str, names: Sequence[str]) -> list[str]:
        """Return the names in their order, first those of the type of the columns that refer to them."""
        families = {
            _family(column.base, column.is_text)
            for user, ours, target in REFERENCES
            if target == key and (column := self._column(user, ours)) is not None and not column.is_text
        }
        columns = {column.name: _family(column.base, column.is_text) for column in self._tables[key].columns}
        return sorted(names, key=lambda name: columns[name] not in families)

    def _take_id(self, key: str, name: str) -> None:
        self._columns[key]["id"] = name
        if name != "id":
            self._findings.take(self._place(key, name), "is used as id")

    def _referred_columns(self, key: str) -> list[str]:
        """Return the columns of a table that foreign keys of bars and sync_status lead to."""
        found = []
        wanted = wanted_place(key, self._mappings)
        for user, ours, target in REFERENCES:
            facts = self._tables.get(user) if target == key else None
            reference = facts.reference(self._columns[user].get(ours, ""), wanted) if facts else None
            if reference and (reference.schema, reference.table) == wanted:
                found.append(reference.target_column)
        return found

    # --- the whole ---

    def _recognised(self) -> Recognised | None:
        symbols = self._table("symbols")
        providers = self._table("providers")
        found = {key: self._table(key) for key in OF_INSTRUMENTS}
        sync = self._table("sync_status")
        symbol_type, symbol_base = self._id_type("symbols", self._made_symbol_base())
        provider_type, provider_base = self._id_type("providers", self._made_provider_base())
        for key, table in found.items():
            instrument, target = self._instrument(key, symbol_base)
            found[key] = msgspec.structs.replace(table, instrument=instrument, target=target)
        sync_target = self._sync_target(symbol_base)
        self._check_provider_reference(provider_base)
        if self._findings.refusals:
            return None
        names = Names(
            symbols=symbols,
            bars=found["bars"],
            bars_1m=found["bars_1m"],
            bars_1d=found["bars_1d"],
            splits=found["splits"],
            providers=providers,
            sync_status=sync,
            sync_status_target=sync_target,
        )
        added = {key: tuple(columns) for key, columns in self._added.items()}
        return Recognised(names, self._tables, added, symbol_type, provider_type)

    def _table(self, key: str) -> Table:
        schema, name = wanted_place(key, self._mappings)
        facts, mapping = self._tables.get(key), self._mappings.table(key)
        columns = self._columns[key]
        own = OWN.table(key)
        if (schema, name) != (own.schema, own.name):
            told = "is used as" if facts else "is made as"
            self._findings.take(qualified(schema, name), f"{told} {place(own)}")
        for constant, value in mapping.constants.items():
            where = f"database.tables.{key}.{constant}"
            if facts is None:
                self._findings.refuse(
                    self._place(key),
                    f"is made by init and has no column {quoted(constant)}",
                    f"leave out {where}",
                )
                continue
            column = facts.column(constant)
            if column is None:
                self._no_column(key, constant, where)
            elif column.generated or column.identity_always:
                self._findings.refuse(
                    self._place(key, constant),
                    "is generated: it takes no constant",
                    f"leave out {where}",
                )
            else:
                self._findings.take(self._place(key, constant), f"is {as_text(value)!r} in every row of ours")
        taken = [name for ours, name in columns.items() if ours != "id"] + list(mapping.constants)
        for name in dict.fromkeys(name for name in taken if taken.count(name) > 1):
            self._findings.refuse(
                self._place(key),
                f"has one column {quoted(name)} for several",
                f"correct database.tables.{key}",
            )
        ordered = {ours: columns[ours] for ours in TABLES[key] if ours in columns}
        constants = {name: as_text(value) for name, value in mapping.constants.items()}
        return Table(schema=schema, name=name, columns=ordered, constants=constants)

    def _made_symbol_base(self) -> str:
        """Return the base type of the ids of a symbols table that is made: that of what refers to it."""
        for key, ours, target in REFERENCES:
            column = self._column(key, ours) if target == "symbols" else None
            if column is not None and column.base in IDS:
                return "uuid" if column.base == "uuid" else "int8"
        return "int8"

    def _made_provider_base(self) -> str:
        column = self._column("sync_status", "provider_id")
        return "uuid" if column is not None and column.base == "uuid" else "int8"

    def _id_type(self, key: str, made: str) -> tuple[str, str]:
        """Return the type of a table's ids and its base."""
        column = self._column(key, "id")
        if column is None:
            return {"int8": "bigint"}.get(made, made), made
        return column.base_type, column.base

    def _column(self, key: str, ours: str) -> Column | None:
        """Return the column that stands for one of ours, where its table is there."""
        facts = self._tables.get(key)
        return facts.column(self._columns[key][ours]) if facts else None

    def _refuse_foreign(self, key: str, column: Column, target: str) -> str | None:
        """Refuse a reference to another table than ours; return the column that it leads to, if any."""
        wanted = wanted_place(target, self._mappings)
        reference = self._tables[key].reference(column.name, wanted)
        if reference is None:
            return None
        if (reference.schema, reference.table) != wanted:
            theirs = f"{reference.schema}.{reference.table}"
            self._findings.refuse(
                self._place(key, column.name),
                f"refers to {theirs}, not to {self._place(target)}: its ids belong to other rows",
                f"set database.tables.{target}.table: {theirs}, or {elsewhere(key)}",
            )
            return None
        return reference.target_column

    def _instrument(self, key: str, symbol_base: str) -> tuple[Reference, str | None]:
        """Decide what a table's column for the instrument holds, and the column of symbols it refers to."""
        column = self._column(key, "symbol_id")
        mapped = self._mappings.table(key).instrument
        where = f"database.tables.{key}.instrument"
        if column is None:
            if mapped is not None:
                self._findings.refuse(self._place(key), "is made by init, with ids", f"leave out {where}")
            return "id", None
        named = self._place(key, column.name)
        target = self._refuse_foreign(key, column, "symbols")
        symbols = self._columns["symbols"]
        if not column.is_text:
            if mapped is not None:
                self._findings.refuse(named, f"is {column.type} and holds no {mapped}", f"leave out {where}")
            if target is not None and target != symbols["id"]:
                return "id", target
            self._check_namesake(key, "symbol_id", column)
            self._check_family(key, column, symbol_base, "symbols")
            return "id", None
        if target is not None:
            if mapped == "polygon_ticker" and target == symbols["symbol"]:
                self._findings.refuse(
                    named, "refers to the symbol: it takes no polygon_ticker", f"set {where}: symbol"
                )
            if target == symbols["symbol"]:
                return "symbol", None
            return "id", None if target == symbols["id"] else target
        id_column = self._column("symbols", "id")
        is_id = plain(column.name) not in SYMBOL_TEXTS and plain(column.name).endswith("id")
        has_text_id = id_column is not None and id_column.is_text and symbols["id"] != symbols["symbol"]
        if mapped is None and is_id and has_text_id:
            return "id", None
        return mapped or "symbol", None

    def _sync_target(self, symbol_base: str) -> str | None:
        """Return the column of symbols that sync_status refers to, where it is not the id."""
        column = self._column("sync_status", "ticker_id")
        if column is None:
            return None
        symbols = self._columns["symbols"]
        target = self._refuse_foreign("sync_status", column, "symbols")
        if target is not None:
            return None if target == symbols["id"] else target
        id_column = self._column("symbols", "id")
        if column.is_text and not (id_column is not None and id_column.is_text):
            return symbols["symbol"]
        if column.is_text and plain(column.name) in SYMBOL_TEXTS and symbols["id"] != symbols["symbol"]:
            return symbols["symbol"]
        self._check_namesake("sync_status", "ticker_id", column)
        self._check_family("sync_status", column, symbol_base, "symbols")
        return None

    def _check_provider_reference(self, provider_base: str) -> None:
        column = self._column("sync_status", "provider_id")
        if column is None:
            return
        target = self._refuse_foreign("sync_status", column, "providers")
        if target is None:
            id_column = self._column("providers", "id")
            if column.is_text and id_column is not None and not id_column.is_text:
                self._columns["providers"]["id"] = self._columns["providers"]["code"]
                return
            self._check_family("sync_status", column, provider_base, "providers")

    def _check_namesake(self, key: str, ours: str, column: Column) -> None:
        """Refuse ids that are another table's by their name, unless it was said that they are not: in
        the configuration, or by an earlier `init`. A second table of symbols matters where there are rows."""
        wanted, facts = wanted_place("symbols", self._mappings), self._tables[key]
        if (
            facts.reference(column.name)
            or ours in self._mappings.table(key).columns
            or self._catalogue.installed
        ):
            return
        elsewhere_to = [(one.schema, one.table) for one in self._catalogue.cousins.get(column.name, ())]
        if elsewhere_to and wanted not in elsewhere_to:
            self._refuse_namesake(
                key, ours, column, "the same column of other tables refers to", [".".join(elsewhere_to[0])]
            )
            return
        if plain(column.name) == "symbolid" and not facts.has_rows:
            return
        names = NAMESAKES.get(plain(column.name), ())
        others = [
            f"{one.schema}.{one.table}"
            for one in self._catalogue.namesakes
            if one.table.lower() in names and (one.schema, one.table) != wanted
        ]
        if others:
            self._refuse_namesake(key, ours, column, "by its name its ids may be those of", others)

    def _refuse_namesake(self, key: str, ours: str, column: Column, why: str, others: Sequence[str]) -> None:
        self._findings.refuse(
            self._place(key, column.name),
            f"has no foreign key, and {why} {' or '.join(others[:3])}",
            f"set database.tables.symbols.table: {others[0]} if they are; "
            f"database.tables.{key}.{ours}: {column.name} if they are those of {self._place('symbols')}",
        )

    def _check_family(self, key: str, column: Column, base: str, target: str) -> None:
        if _family(column.base, column.is_text) == _family(
            base, base in ("text", "varchar", "bpchar", "citext")
        ):
            return
        identity, id_column = self._columns[target]["id"], self._column(target, "id")
        its_type = id_column.base_type if id_column else {"int8": "bigint"}.get(base, base)
        named = self._place(key, column.name)
        self._findings.refuse(
            named,
            f"is {column.base_type}, but {self._place(target, identity)} is {its_type}",
            f"give {named} the type {its_type}, or set database.tables.{target}.table to the table that it "
            "refers to",
        )


def _family(base: str, is_text: bool) -> str:
    return "integer" if base in INTEGERS else "text" if is_text else base


def _fits(column: Column, wanted: Wanted) -> bool:
    return column.base in wanted.fits or column.category in wanted.fits


def _candidates(facts: TableFacts, ours: str, wanted: Wanted) -> list[Column]:
    """Return the columns that fit by name and type: our own name alone where it fits, else the usual ones."""
    own = facts.column(ours)
    if own is not None and _fits(own, wanted):
        return [own]
    same = [column for column in facts.columns if plain(column.name) == plain(ours) and _fits(column, wanted)]
    if same:
        return same
    texts = {plain(name) for name in SYMBOL_TEXTS}
    usual = {plain(name) for name in wanted.aliases}
    found = [column for column in facts.columns if plain(column.name) in usual and _fits(column, wanted)]
    ids = [column for column in found if plain(column.name) not in texts]
    if ours in ("symbol_id", "ticker_id") and ids and not _keyed(facts, [c for c in found if c not in ids]):
        return ids  # a symbol in words beside its id
    return found


def _keyed(facts: TableFacts, some: Sequence[Column]) -> list[Column]:
    """Return those columns that are part of a unique index."""
    keys = {name for index in facts.indexes for name in index.columns}
    return [column for column in some if column.name in keys]


def _closes(facts: TableFacts) -> list[str]:
    return [
        column.name for column in facts.columns if plain(column.name) in CLOSES and column.base in _MOMENTS
    ]


def _is_id(name: str, key: str) -> bool:
    usual: Iterable[str] = EXPECTED["bars"]["symbol_id"].aliases if key == "symbols" else ("provider_id",)
    return plain(name) in {"id", "uuid", "uid", *map(plain, usual)} - {plain(text) for text in SYMBOL_TEXTS}


def is_timeframe(column: Column) -> bool:
    """Return whether a column says by its name how long a bar is."""
    return stem(column.name) in TIMEFRAMES
