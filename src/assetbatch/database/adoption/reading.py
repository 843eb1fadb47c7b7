"""Reads the catalogue: first what is where, then what the rows of the recognised columns say.

Nothing is changed: an INSERT that is tried is undone, and takes no number from a sequence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import psycopg

from assetbatch.config.tables import BARS, OF_INSTRUMENTS, TABLES, TableMappings
from assetbatch.database.adoption.catalogue import (
    Catalogue,
    Column,
    RowFacts,
    Source,
    TableFacts,
    Trial,
    ZoneFacts,
)
from assetbatch.database.adoption.inserts import Insert, insert_provider, insert_symbols
from assetbatch.database.adoption.plan import OWN_SCHEMA, Draft, draft, provider_code
from assetbatch.database.adoption.recognition import REFERENCES, SINCE, Recognised, wanted_place
from assetbatch.database.adoption.vocabulary import (
    EVERY_WORD,
    EXPECTED,
    NAMESAKES,
    PROVIDER,
    PROVIDERS,
    plain,
)
from assetbatch.database.failures import ROW_REFUSED, UNTRANSLATABLE, is_of_data, said_by
from assetbatch.database.migrations import all_migrations, load_names, own_tables_missing, version_of
from assetbatch.database.names import OWN, Names
from assetbatch.database.partitions import Partition, looked_after
from assetbatch.database.quoting import listed, place, qualified, quoted
from assetbatch.database.session import Connection
from assetbatch.database.statements import Statements
from assetbatch.database.text import PLAIN
from assetbatch.domain.assets import Asset

_WRONG_TYPES = ("42804", "42883")
"""A rule of a column compares it with something that a word is not."""


def read_catalogue(
    connection: Connection,
    mappings: TableMappings,
    assets: Sequence[Asset],
    *,
    tries: bool = True,
    is_plain: bool = False,
) -> Catalogue:
    """Return what a plan is made of, in the open transaction.

    With `tries` the rows that `init` would insert are inserted and undone, to learn what the table says. With
    `is_plain` names get no character beyond ASCII. Raise psycopg.Error.
    """
    structure = _structure(connection, mappings, is_plain=is_plain)
    return msgspec.structs.replace(
        structure, rows=_Rows(connection, structure, mappings, assets, tries=tries).facts()
    )


def _structure(connection: Connection, mappings: TableMappings, *, is_plain: bool) -> Catalogue:
    places = {key: wanted_place(key, mappings) for key in TABLES}
    wanted = [{"key": key, "schema": schema, "name": name} for key, (schema, name) in places.items()]
    schemas = list({OWN_SCHEMA, *(schema for schema, _ in places.values())})
    ((role, now, zone, summer, is_utc, may_make, there, timescaledb),) = connection.execute(
        Statements()("adoption.load_server"), {"schemas": schemas}
    ).fetchall()
    tables = {
        key: msgspec.json.decode(document, type=TableFacts)
        for key, document in connection.execute(
            Statements()("adoption.load_tables"), {"wanted": _json(wanted)}
        )
    }
    tables = {key: _with_rows(connection, facts) for key, facts in tables.items()}
    version = version_of(connection)
    names = [name for some in NAMESAKES.values() for name in some]
    prices = _json(_words_for_prices())
    return Catalogue(
        tables=tables,
        role=role,
        schemas=msgspec.json.decode(there, type=dict[str, bool]),
        may_make_schemas=may_make,
        namesakes=_found(connection, "adoption.find_namesakes", names=names).get("", ()),
        bars_alike=_found(connection, "adoption.find_bars_alike", prices=prices).get("", ()),
        cousins=_found(connection, "adoption.find_cousins", schemas=schemas),
        own_missing=tuple(own_tables_missing(connection)),
        pending=tuple(step.name for step in all_migrations() if 0 < version < step.version),
        timescaledb=timescaledb,
        encoding=PLAIN if is_plain else connection.info.parameter_status("server_encoding"),
        now=now,
        zone=zone,
        zone_has_summer_time=summer,
        zone_is_utc=is_utc,
        installed=load_names(connection) if version else None,
        bars_by_month=_is_by_month(connection, *places["bars"]),
        new=tuple(key for key, since in SINCE.items() if 0 < version < since),
    )


def _is_by_month(connection: Connection, schema: str, name: str) -> bool:
    bars = msgspec.structs.replace(OWN.bars, schema=schema, name=name)
    statements = Statements(msgspec.structs.replace(OWN, bars=bars))
    return looked_after([Partition(*row) for row in connection.execute(statements("partitions.load"))])


def _found(connection: Connection, name: str, **parameters: object) -> dict[str, tuple[Source, ...]]:
    """Return the tables that a statement finds, by the column that it names with each ("" for none)."""
    found: dict[str, tuple[Source, ...]] = {}
    for schema, table, *column in connection.execute(Statements()(name), parameters):
        key = "".join(column)
        found[key] = (*found.get(key, ()), Source(schema=schema, table=table))
    return found


def _words_for_prices() -> dict[str, list[str]]:
    """Return the names that a column of each of the four prices may have."""
    expected = EXPECTED["bars"]
    return {ours: [ours, *map(plain, expected[ours].aliases)] for ours in ("open", "high", "low", "close")}


def _with_rows(connection: Connection, facts: TableFacts) -> TableFacts:
    if not facts.is_table:
        return facts
    where = qualified(facts.schema, facts.name)
    ((has_rows,),) = connection.execute(Statements()("adoption.has_rows", table=where)).fetchall()
    return msgspec.structs.replace(facts, has_rows=has_rows)


def _json(document: Any) -> str:
    return msgspec.json.encode(document).decode()


class _Rows:
    """Asks the rows what the structure has left open."""

    def __init__(
        self,
        connection: Connection,
        catalogue: Catalogue,
        mappings: TableMappings,
        assets: Sequence[Asset],
        *,
        tries: bool,
    ) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._mappings = mappings
        self._assets = list({asset.symbol: asset for asset in assets}.values())
        self._tries = tries

    def facts(self) -> RowFacts:
        found = draft(self._catalogue, self._mappings)
        recognised = found.recognised
        if recognised is None:
            return RowFacts()
        there = self._symbols_there(recognised)
        codes = self._codes(recognised)
        return RowFacts(
            duplicates=self._duplicates(recognised, found),
            orphans=self._orphans(recognised),
            samples={
                f"{key}.{name}": self._ask(
                    "adoption.load_samples", table=place(recognised.names.table(key)), column=quoted(name)
                )
                for key, name in found.sampled
            },
            zones=self._zones(recognised),
            symbols_there=there,
            similar=self._similar(recognised, there),
            provider_codes=codes,
            bad_constants=self._bad_constants(recognised),
            refused_states=self._refused_states(recognised),
            bad_json=self._has_bad_json(recognised),
            instruments={key: self._instruments(key, recognised) for key in OF_INSTRUMENTS},
            trials=self._trials(recognised, there, codes),
        )

    def _rows(self, query: bytes, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, parameters).fetchall()

    def _ask(self, name: str, **values: str) -> tuple[str, ...]:
        """Return the first column of the rows, as text."""
        return tuple(str(row[0]) for row in self._rows(Statements()(name, **values)))

    # --- keys and references ---

    def _duplicates(self, recognised: Recognised, found: Draft) -> dict[str, str]:
        duplicates = {}
        for key, columns in found.indexes.items():
            facts = recognised.tables[key]
            if not all(facts.column(name) for name in columns):  # one of them is added: there are no rows
                continue
            known = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in columns)
            where = place(recognised.names.table(key))
            for example in self._ask(
                "adoption.find_duplicate", table=where, columns=listed(columns), known=known
            ):
                duplicates[key] = example
        return duplicates

    def _orphans(self, recognised: Recognised) -> dict[str, str]:
        """Return examples of references that lead nowhere. A text that is a symbol speaks for itself."""
        names = recognised.names
        found: dict[str, str] = {}
        for key, ours, target in REFERENCES:
            target_column = _target_column(names, key, target)
            facts, column = recognised.tables.get(key), recognised.column(key, ours)
            if target_column is None or facts is None or column is None or target not in recognised.tables:
                continue
            reference = facts.reference(column.name)
            if not facts.has_rows or (reference is not None and reference.validated):
                continue
            values = {
                "table": place(names.table(key)),
                "column": quoted(column.name),
                "target": place(names.table(target)),
                "target_column": quoted(target_column),
            }
            walks = _leads_an_index(facts, column.name)
            for example in self._ask("adoption.walk_orphan" if walks else "adoption.find_orphan", **values):
                found[f"{key}.{ours}"] = example
        return found

    # --- values ---

    def _symbols_there(self, recognised: Recognised) -> frozenset[str]:
        if "symbols" not in recognised.tables:
            return frozenset()
        query = Statements(recognised.names)("assets.find")
        symbols = [asset.symbol for asset in self._assets]
        return frozenset(symbol for (symbol,) in self._rows(query, {"symbols": symbols}))

    def _similar(self, recognised: Recognised, there: frozenset[str]) -> dict[str, str]:
        missing = [asset.symbol for asset in self._assets if asset.symbol not in there]
        if not missing or "symbols" not in recognised.tables:
            return {}
        return dict(self._rows(Statements(recognised.names)("adoption.find_similar"), {"symbols": missing}))

    def _codes(self, recognised: Recognised) -> tuple[str, ...]:
        if "providers" not in recognised.tables:
            return ()
        codes = self._rows(Statements(recognised.names)("adoption.load_codes"))
        return tuple(code for (code,) in codes if plain(code) in PROVIDERS)

    def _bad_constants(self, recognised: Recognised) -> dict[str, str]:
        found = {}
        for key, facts in recognised.tables.items():
            table = recognised.names.table(key)
            for name, value in table.constants.items():
                column = facts.column(name)
                if column is None:
                    continue
                said = self._tried(Statements()("adoption.cast_constant", type=column.type), {"value": value})
                if isinstance(said, str):
                    found[f"{key}.{name}"] = said
        return found

    def _refused_states(self, recognised: Recognised) -> frozenset[str]:
        column = recognised.column("sync_status", "sync_status")
        if column is None:
            return frozenset()
        words = [word for word in self._words() if not column.labels or word in column.labels]
        where = place(recognised.names.sync_status)
        rules = self._rows(Statements()("adoption.load_rules"), {"table": where, "column": column.name})
        names = dict.fromkeys((column.name, "value"))
        kind = "text" if column.is_text else column.base_type
        columns = ", ".join(f"t.word::{kind} AS {quoted(name)}" for name in names)
        refused: set[str] = set()
        for (rule,) in rules:
            query = Statements()("adoption.find_refused_words", columns=columns, rule=rule.replace("%", "%%"))
            asked = self._tried(query, {"words": words})
            refused.update(words if isinstance(asked, str) else (word for (word,) in asked))
        return frozenset(refused)

    def _words(self) -> list[str]:
        return list(dict.fromkeys([*EVERY_WORD, *self._mappings.sync_status.states.values()]))

    def _has_bad_json(self, recognised: Recognised) -> bool:
        column = recognised.column("symbols", "metadata")
        if column is None or column.base != "json":
            return False
        query = Statements()(
            "adoption.cast_json", column=quoted(column.name), table=place(recognised.names.symbols)
        )
        return isinstance(self._tried(query, None), str)

    def _instruments(self, key: str, recognised: Recognised) -> frozenset[str]:
        column = recognised.column(key, "symbol_id")
        table = recognised.names.table(key)
        if column is None or table.instrument == "id" or not recognised.tables[key].has_rows:
            return frozenset()
        symbols = [asset.symbol for asset in self._assets]
        tickers = [asset.polygon_ticker for asset in self._assets]
        ((by_symbol, by_ticker),) = self._rows(
            Statements(recognised.names)("adoption.find_instruments", key),
            {"symbols": symbols, "tickers": tickers},
        )
        found = {"symbol": by_symbol, "polygon_ticker": by_ticker}
        return frozenset(name for name, is_there in found.items() if is_there)

    def _zones(self, recognised: Recognised) -> dict[str, ZoneFacts]:
        if self._catalogue.zone_is_utc:
            return {}
        found = {}
        for key in ("symbols", *OF_INSTRUMENTS, "sync_status"):
            table = recognised.names.table(key)
            for ours in table.columns:
                column = recognised.column(key, ours)
                if column is not None and column.base == "timestamp":
                    found[f"{key}.{ours}"] = self._zone(recognised, key, column)
        return found

    def _zone(self, recognised: Recognised, key: str, column: Column) -> ZoneFacts:
        facts = recognised.tables[key]
        values = {"table": place(recognised.names.table(key)), "column": quoted(column.name)}
        leading = recognised.column(key, "symbol_id") if key in BARS else None
        if leading is not None and _leads_an_index(facts, leading.name):
            values["key"] = quoted(leading.name)
            query = Statements()("adoption.walk_newest", **values)
        else:
            query = Statements()("adoption.load_newest", **values)
        zone = {"zone": self._catalogue.zone}
        ((newest, newest_local),) = self._rows(query, zone)
        utc = local = 0
        for sibling in facts.columns:
            if key not in BARS and sibling.base == "timestamptz" and sibling.type == sibling.base_type:
                query = Statements()(
                    "adoption.compare_siblings", **{**values, "sibling": quoted(sibling.name)}
                )
                ((in_utc, in_local),) = self._rows(query, zone)
                utc, local = utc + in_utc, local + in_local
        return ZoneFacts(newest=newest, newest_local=newest_local, siblings_utc=utc, siblings_local=local)

    # --- trials ---

    def _trials(
        self, recognised: Recognised, there: frozenset[str], codes: Sequence[str]
    ) -> dict[str, Trial]:
        if not self._tries:
            return {}
        found = {}
        missing = [asset for asset in self._assets if asset.symbol not in there]
        if missing and self._may_try(recognised, "symbols"):
            insert = insert_symbols(_before(recognised), missing, self._catalogue.encoding, tried=True)
            if not insert.lacking:
                found["symbols"] = self._trial(insert)
        if not codes and self._may_try(recognised, "providers"):
            column = recognised.column("providers", "code")
            code = provider_code(column.labels if column else ()) or PROVIDER
            insert = insert_provider(_before(recognised), code, tried=True)
            if not insert.lacking:
                found["providers"] = self._trial(insert)
        return found

    def _may_try(self, recognised: Recognised, key: str) -> bool:
        facts = recognised.tables.get(key)
        return facts is not None and facts.may_insert

    def _trial(self, insert: Insert) -> Trial:
        said = self._tried(insert.sql.encode(), {"rows": insert.rows})
        if isinstance(said, str):
            return Trial(error=said)
        entered = {key for (key,) in said}
        return Trial(swallowed=tuple(key for key in insert.keys if key not in entered))

    def _tried(self, query: bytes, parameters: Mapping[str, object] | None) -> list[tuple[Any, ...]] | str:
        """Run a statement and undo it; return its rows, or what PostgreSQL has against the values."""
        self._connection.execute("SAVEPOINT tried")
        try:
            rows = self._connection.execute(query, parameters).fetchall()
        except psycopg.Error as error:
            # What the server's encoding lacks is tried again without it; in JSON it is a value like others.
            if not _is_about_values(error) or (error.sqlstate == UNTRANSLATABLE and parameters):
                raise
            self._connection.execute("ROLLBACK TO SAVEPOINT tried")
            return said_by(error)
        self._connection.execute("ROLLBACK TO SAVEPOINT tried")
        return rows


def _is_about_values(error: psycopg.Error) -> bool:
    return is_of_data(error) or error.sqlstate in (ROW_REFUSED, *_WRONG_TYPES)


def _before(recognised: Recognised) -> Recognised:
    """Return the tables as they are before anything is added to them."""
    names = recognised.names
    without = {
        key: msgspec.structs.replace(
            names.table(key),
            columns={
                ours: theirs
                for ours, theirs in names.table(key).columns.items()
                if ours not in recognised.added[key]
            },
        )
        for key in TABLES
    }
    return recognised.with_names(**without)


def _target_column(names: Names, key: str, target: str) -> str | None:
    """Return the column that a table's reference to the table `target` leads to; None for a text that is the
    symbol."""
    if target == "providers":
        return names.providers.columns["id"]
    symbol_id = names.symbols.columns["id"]
    if key == "sync_status":
        column = names.sync_status_target or symbol_id
        return None if column == names.symbols.columns["symbol"] else column
    table = names.table(key)
    return (table.target or symbol_id) if table.instrument == "id" else None


def _leads_an_index(facts: TableFacts, column: str) -> bool:
    return any(index.columns[:1] == (column,) and not index.partial for index in facts.indexes)
