"""What PostgreSQL says of the tables: everything that a plan is made of.

The structure is read first; which columns are meant follows from it, and then their rows are asked, since a
plan is a pure function of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from assetbatch.database.names import Names


class Kind(StrEnum):
    """`pg_class.relkind` of what may stand where a table is wanted."""

    TABLE = "r"
    PARTITIONED = "p"
    VIEW = "v"
    MATERIALIZED = "m"
    FOREIGN = "f"


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column: `type` as declared, `base` the name of its type without a domain in pg_type, `base_type`
    the same as SQL writes it, `category` that of pg_type, `length` of a varchar, `labels` of an enum."""

    name: str
    type: str
    base: str
    base_type: str
    category: str
    length: int | None = None
    not_null: bool = False
    default: str | None = None
    identity: bool = False
    identity_always: bool = False
    generated: bool = False
    labels: tuple[str, ...] = ()

    @property
    def is_given(self) -> bool:
        """Whether the table gives a value where an INSERT has none."""
        return self.default is not None or self.identity or self.generated

    @property
    def is_surrogate(self) -> bool:
        """Whether its values are made up by the table: they say nothing about a row."""
        made_up = self.default is not None and ("nextval(" in self.default or "uuid" in self.default)
        return made_up or self.identity or self.generated

    @property
    def is_text(self) -> bool:
        """Whether it holds text (an enum is none)."""
        return self.category == "S"


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """A unique index. `columns` are those of its key, without those that it only includes. `uses` are those
    of its key and of its expressions."""

    name: str
    columns: tuple[str, ...]
    uses: tuple[str, ...] = ()
    primary: bool = False
    immediate: bool = True
    partial: bool = False
    expressions: bool = False
    definition: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether its columns alone tell any two rows apart."""
        return not (self.partial or self.expressions)


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A foreign key of one column; `target` is `schema.name`."""

    name: str
    column: str
    schema: str
    table: str
    target_column: str
    validated: bool = True


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A policy of row level security: `command` as in pg_policy (r, a, w, d, *); whether it `applies` to this
    role."""

    name: str
    command: str
    permissive: bool
    applies: bool


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Another table: one that a view reads from."""

    schema: str
    table: str


class TableFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One of the tables as it is; `schema.name` is what was looked for."""

    schema: str
    name: str
    kind: Kind
    columns: tuple[Column, ...] = ()
    indexes: tuple[Index, ...] = ()
    references: tuple[Reference, ...] = ()
    partition_columns: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    """Tables that inherit from it, without partitions and chunks."""
    rules: tuple[str, ...] = ()
    """Rules for INSERT or UPDATE, which take no ON CONFLICT and may write elsewhere."""
    row_security: bool = False
    row_security_active: bool = False
    """For this role."""
    policies: tuple[Policy, ...] = ()
    owner: str = ""
    is_owner: bool = True
    may_insert: bool = True
    reads_from: tuple[Source, ...] = ()
    has_rows: bool = False

    def column(self, name: str) -> Column | None:
        """Return the column of this name."""
        return next((column for column in self.columns if column.name == name), None)

    def reference(self, column: str, target: tuple[str, str] | None = None) -> Reference | None:
        """Return the foreign key of a column; of several the one that leads to the table `target`, if any."""
        found = [one for one in self.references if one.column == column]
        wanted = [one for one in found if (one.schema, one.table) == target]
        return next(iter(wanted or found), None)

    @property
    def is_table(self) -> bool:
        """Whether the table can be locked, indexed and written."""
        return self.kind in (Kind.TABLE, Kind.PARTITIONED)


class ZoneFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows say about the zone of a column of naive timestamps. Seconds; `newest` is the newest value
    as if it were in UTC, `newest_local` as if it were in the database's zone."""

    newest: float | None = None
    newest_local: float | None = None
    siblings_utc: int = 0
    """Rows whose other timestamps, which have a zone, say that it is UTC; and the database's zone."""
    siblings_local: int = 0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an INSERT that was tried and undone: `error` as PostgreSQL said it; `swallowed` are the
    keys that were not there afterwards, without an error."""

    error: str | None = None
    swallowed: tuple[str, ...] = ()


class RowFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of the rows, by the names of the tables in the configuration."""

    duplicates: Mapping[str, str] = {}
    """An example of a key that several rows have, where a unique index is to be added."""
    orphans: Mapping[str, str] = {}
    """An example of a reference that leads to no row: `bars`, `sync_status`, `sync_status.provider_id`."""
    samples: Mapping[str, tuple[str, ...]] = {}
    """Some values of further key columns: `bars.timeframe`."""
    zones: Mapping[str, ZoneFacts] = {}
    """By column without time zone: what is known of its zone. The key is our name, such as `bars.ts`."""
    symbols_there: frozenset[str] = frozenset()
    similar: Mapping[str, str] = {}
    """By configured symbol that is not there: one that differs in nothing but case and separators."""
    provider_codes: tuple[str, ...] = ()
    bad_constants: Mapping[str, str] = {}
    """By column that does not take its constant, such as `bars.source`: what PostgreSQL says."""
    refused_states: frozenset[str] = frozenset()
    """The words, of all that were asked, that a CHECK of the column refuses."""
    bad_json: bool = False
    instruments: Mapping[str, frozenset[str]] = {}
    """By table of bars: the references, of `symbol` and `polygon_ticker`, that its rows equal."""
    trials: Mapping[str, Trial] = {}
    """By table, `symbols` or `providers`: what became of an INSERT."""


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a plan is made of; `now` in seconds since 1970."""

    tables: Mapping[str, TableFacts]
    """Those that are there, by their names in the configuration."""
    rows: RowFacts = RowFacts()
    role: str = "role"
    schemas: Mapping[str, bool] = {}
    """The schemas that are there, and whether this role may make tables in them."""
    may_make_schemas: bool = True
    namesakes: tuple[Source, ...] = ()
    """Tables whose names say that the ids of a column may be theirs."""
    bars_alike: tuple[Source, ...] = ()
    """Tables that have a column for each price of a bar."""
    cousins: Mapping[str, tuple[Source, ...]] = {}
    """The tables that columns of a name refer to in the schemas of the tables."""
    own_missing: tuple[str, ...] = ()
    """Tables of assetbatch itself that the migrations make."""
    pending: tuple[str, ...] = ()
    """Names of the migrations of an installation that are not applied yet."""
    timescaledb: bool = False
    encoding: str | None = None
    """The server's, by PostgreSQL's name; None for UTF-8."""
    now: float = 0.0
    zone: str = "UTC"
    zone_has_summer_time: bool = False
    zone_is_utc: bool = True
    installed: Names | None = None
    """The names that an earlier `init` has found or made; None before the first."""
    bars_by_month: bool = False
    """Whether assetbatch looks after the partitions of the table of bars of five minutes."""
    new: tuple[str, ...] = ()
    """The tables that were not there in the version of the schema that an earlier `init` has made."""
