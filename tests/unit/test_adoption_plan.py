"""The plan of `init` as a function: a catalogue in, what is added, taken and refused out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from assetbatch.config.tables import TABLES, TableMapping, TableMappings
from assetbatch.database.adoption.catalogue import (
    Catalogue,
    Column,
    Index,
    Kind,
    Policy,
    Reference,
    RowFacts,
    Source,
    TableFacts,
    Trial,
    ZoneFacts,
)
from assetbatch.database.adoption.findings import Part
from assetbatch.database.adoption.plan import Plan, plan, provider_code
from assetbatch.database.adoption.recognition import KEYS
from assetbatch.database.names import OWN, Table
from assetbatch.database.quoting import literal, quoted
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset

NOW = 1_796_000_000.0
HOUR = 3600.0
EURO = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
ROW_SECURITY: dict[str, Any] = {"row_security": True, "row_security_active": True}
OWN_TABLES = ("data_sources.assetbatch_migrations",)

CATEGORIES = {"text": "S", "varchar": "S", "jsonb": "U", "timestamptz": "D", "timestamp": "D"}
BASES = {
    "id": "int8",
    "symbol_id": "int8",
    "ticker_id": "int8",
    "provider_id": "int8",
    "metadata": "jsonb",
    "ts": "timestamptz",
    "day": "date",
    "execution_date": "date",
    "learned_at": "timestamptz",
    "fits": "bool",
    "updated_at": "timestamptz",
    "last_sync_timestamp": "timestamptz",
    "trades": "int8",
    **dict.fromkeys(("open", "high", "low", "close", "volume", "vwap", "split_from", "split_to"), "float8"),
}


def column(name: str, base: str | None = None, **facts: object) -> Column:
    base = base or BASES.get(name, "text")
    known = {"type": base, "base": base, "base_type": base, "category": CATEGORIES.get(base, "N")}
    return msgspec.convert({"name": name, **known, **facts}, Column)


def table(key: str, *more: Column, without: tuple[str, ...] = (), **facts: object) -> TableFacts:
    """A table of our own names with further columns, which take the place of ours of the same name."""
    own: Table = getattr(OWN, key)
    names = {one.name for one in more}
    columns = [column(name) for name in TABLES[key] if name not in names and name not in without]
    key_index = Index(name=f"{own.name}_key", columns=KEYS[key])
    found = TableFacts(
        schema=own.schema,
        name=own.name,
        kind=Kind.TABLE,
        columns=(*columns, *more),
        indexes=(Index(name=f"{own.name}_pkey", columns=("id",), primary=True), key_index)
        if "id" in TABLES[key]
        else (key_index,),
        owner="owner",
    )
    return msgspec.structs.replace(found, **facts)


def catalogue(*tables: TableFacts, rows: RowFacts | None = None, **facts: object) -> Catalogue:
    keys = {(getattr(OWN, key).schema, getattr(OWN, key).name): key for key in TABLES}
    found = Catalogue(
        tables={keys[one.schema, one.name]: one for one in tables},
        rows=rows or RowFacts(symbols_there=frozenset({"EURUSD"}), provider_codes=("polygon",)),
        role="me",
        schemas={"trading": True, "market_data": True, "data_sources": True},
        now=NOW,
    )
    return msgspec.structs.replace(found, **facts)


ALL = tuple(table(key) for key in TABLES)


def with_(key: str, *more: Column, without: tuple[str, ...] = (), **facts: object) -> tuple[TableFacts, ...]:
    """All tables of our own, one of them changed."""
    return tuple(table(one, *more, without=without, **facts) if one == key else table(one) for one in TABLES)


def planned(found: Catalogue, mappings: TableMappings | None = None) -> Plan:
    return plan(found, mappings or TableMappings(), [EURO])


def said(found: Plan) -> str:
    return " | ".join(map(str, found.refusals))


def test_a_fresh_database_gets_everything_in_the_order_in_which_it_can_be_made() -> None:
    found = planned(catalogue(rows=RowFacts(), schemas={}, own_missing=OWN_TABLES))
    assert [(one.part, one.what) for one in found.additions] == [
        (Part.SCHEMA, "trading"),
        (Part.SCHEMA, "market_data"),
        (Part.SCHEMA, "data_sources"),
        (Part.TABLE, "trading.symbols"),
        (Part.TABLE, "data_sources.api_providers"),
        (Part.TABLE, "market_data.ohlcv_5m"),
        (Part.TABLE, "market_data.ohlcv_1m"),
        (Part.TABLE, "market_data.ohlcv_1d"),
        (Part.TABLE, "market_data.splits"),
        (Part.TABLE, "data_sources.data_sync_status"),
        (Part.TABLE, "data_sources.assetbatch_migrations (of assetbatch itself)"),
        (Part.ROW, "data_sources.api_providers: polygon"),
        (Part.ROW, "trading.symbols: EURUSD"),
    ]
    assert (found.refusals, found.warnings, found.taken, found.names) == ((), (), (), OWN)


def test_tables_of_our_own_need_nothing() -> None:
    found = planned(catalogue(*ALL, installed=OWN))
    assert found == Plan(names=OWN)


def test_a_column_that_is_gone_is_a_change_and_not_a_guess() -> None:
    found = planned(catalogue(*with_("bars", without=("vwap",)), installed=OWN))
    assert found.changed == ("bars.vwap",)


def test_an_upgrade_is_part_of_the_plan() -> None:
    found = planned(catalogue(*ALL, installed=OWN, pending=("span_faults",)))
    assert [(one.part, one.what) for one in found.additions] == [
        (Part.MIGRATION, "span_faults (of assetbatch itself)")
    ]


class TestRights:
    def test_what_the_owner_has_to_run_is_said(self) -> None:
        found = planned(catalogue(*with_("symbols", without=("metadata",), is_owner=False)))
        (refusal,) = found.refusals
        assert refusal.remedy == "run as owner: ALTER TABLE trading.symbols ADD COLUMN metadata jsonb"

    def test_a_row_that_may_not_be_inserted_is_to_be_inserted_by_hand(self) -> None:
        rows = RowFacts(provider_codes=("polygon",))
        found = planned(catalogue(*with_("symbols", may_insert=False), rows=rows))
        assert "trading.symbols has no row EURUSD, and me may not insert there" in said(found)
        assert (
            "INSERT INTO trading.symbols (symbol, name, asset_type) VALUES ('EURUSD', 'EURUSD', 'forex');"
            in said(found)
        )

    @pytest.mark.parametrize(
        ("commands", "lacking"), [("r", "INSERT or UPDATE"), ("ra", "UPDATE"), ("rw", "INSERT"), ("*", "")]
    )
    def test_policies_must_let_this_role_do_what_a_cycle_does(self, commands: str, lacking: str) -> None:
        policies = tuple(
            Policy(name=letter, command=letter, permissive=True, applies=True) for letter in commands
        )
        found = planned(catalogue(*with_("bars", policies=policies, **ROW_SECURITY)))
        assert bool(found.refusals) == bool(lacking)
        if lacking:
            assert f"without a policy that lets me {lacking}" in said(found)

    def test_policies_of_others_do_not_count(self) -> None:
        policy = Policy(name="theirs", command="*", permissive=True, applies=False)
        found = planned(catalogue(*with_("symbols", policies=(policy,), **ROW_SECURITY)))
        assert "lets me SELECT or UPDATE" in said(found)


class TestReferences:
    def test_ids_of_another_table_are_refused_with_its_name(self) -> None:
        other = Reference(name="fk", column="ticker_id", schema="ref", table="tickers", target_column="id")
        found = planned(catalogue(*with_("sync_status", references=(other,))))
        assert "data_sources.data_sync_status.ticker_id refers to ref.tickers" in said(found)
        assert "set database.tables.symbols.table: ref.tickers" in said(found)

    def test_a_status_that_refers_to_the_symbol_says_so(self) -> None:
        words = Reference(
            name="fk", column="ticker_id", schema="trading", table="symbols", target_column="symbol"
        )
        found = planned(catalogue(*with_("sync_status", column("ticker_id", "varchar"), references=(words,))))
        assert found.names is not None
        assert found.names.sync_status_target == "symbol"

    def test_bars_that_refer_to_another_id_say_so(self) -> None:
        uuids = Reference(
            name="fk", column="symbol_id", schema="trading", table="symbols", target_column="uuid"
        )
        tables = [
            table("symbols", column("uuid", "uuid")),
            table("bars", column("symbol_id", "uuid"), references=(uuids,)),
            table("providers"),
            table(
                "sync_status",
                references=(msgspec.structs.replace(uuids, column="ticker_id", target_column="id"),),
            ),
        ]
        found = planned(catalogue(*tables))
        assert found.names is not None
        assert (found.names.symbols.columns["id"], found.names.bars.target) == ("uuid", None)
        assert found.names.sync_status_target == "id"


class TestKeys:
    WIDER = (Index(name="theirs", columns=("symbol_id", "ts", "source")),)

    def test_a_wider_key_wants_a_constant(self) -> None:
        found = planned(catalogue(*with_("bars", column("source"), indexes=self.WIDER)))
        assert "database: {tables: {bars: {source: ...}}}" in said(found)
        assert not [one for one in found.additions if one.part is Part.INDEX]

    def test_with_a_constant_it_is_the_key(self) -> None:
        told = TableMappings(bars=TableMapping(constants={"source": "polygon"}))
        found = planned(catalogue(*with_("bars", column("source"), indexes=self.WIDER)), told)
        assert found.refusals == ()
        assert found.names is not None
        assert (found.names.bars.key, found.names.bars.constants) == (("source",), {"source": "polygon"})

    def test_an_exact_key_beside_it_is_enough(self) -> None:
        exact = Index(name="exact", columns=("ts", "symbol_id"))
        found = planned(catalogue(*with_("bars", column("source"), indexes=(*self.WIDER, exact))))
        assert found.refusals == ()
        assert found.names is not None
        assert found.names.bars.key == ()

    def test_without_any_one_is_added(self) -> None:
        found = planned(catalogue(*with_("bars", indexes=())))
        (index,) = [one for one in found.additions if one.part is Part.INDEX]
        assert index.sql == "CREATE UNIQUE INDEX ON market_data.ohlcv_5m (symbol_id, ts)"

    def test_duplicates_keep_it_from_being_added(self) -> None:
        rows = RowFacts(
            duplicates={"bars": "1, 2026"}, symbols_there=frozenset({"EURUSD"}), provider_codes=("polygon",)
        )
        found = planned(catalogue(*with_("bars", indexes=()), rows=rows))
        assert "has duplicates in (symbol_id, ts), such as 1, 2026" in said(found)


class TestZones:
    @pytest.mark.parametrize(
        ("facts", "zone", "why"),
        [
            (ZoneFacts(), "UTC", "nothing tells another"),
            (ZoneFacts(newest=NOW - 60, newest_local=NOW - 13 * HOUR), "UTC", "is of now"),
            (ZoneFacts(newest=NOW + 13 * HOUR, newest_local=NOW - 60), "there", "ahead of now"),
            (ZoneFacts(newest=NOW - 60, newest_local=NOW + 6 * HOUR), "UTC", "ahead of now"),
            (ZoneFacts(newest=NOW - 6 * HOUR, newest_local=NOW - 120), "there", "is of now"),
            (ZoneFacts(newest=NOW - 90 * HOUR, newest_local=NOW - 84 * HOUR), "UTC", "nothing tells"),
            (ZoneFacts(siblings_utc=1, siblings_local=9), "there", "other columns"),
            (ZoneFacts(siblings_utc=9, siblings_local=1), "UTC", "other columns"),
        ],
    )
    def test_a_naive_column_is_in_the_zone_that_its_rows_tell(
        self, facts: ZoneFacts, zone: str, why: str
    ) -> None:
        rows = RowFacts(
            zones={"sync_status.updated_at": facts},
            symbols_there=frozenset({"EURUSD"}),
            provider_codes=("polygon",),
        )
        tables = with_("sync_status", column("updated_at", "timestamp"))
        found = planned(catalogue(*tables, rows=rows, zone="there", zone_is_utc=False))
        assert found.names is not None
        assert found.names.sync_status.zones.get("updated_at", "UTC") == zone
        (note,) = found.taken
        assert f"moments are written there in {zone}" in note.why
        assert why in note.why

    def test_a_default_in_utc_tells_it(self) -> None:
        naive = column("updated_at", "timestamp", default="timezone('utc'::text, now())")
        found = planned(catalogue(*with_("sync_status", naive), zone="there", zone_is_utc=False))
        assert "its default says so" in found.taken[0].why


class TestStates:
    @pytest.mark.parametrize(
        ("labels", "states"),
        [
            ((), {}),
            (("Success", "Failed"), {"success": "Success", "failed": "Failed"}),
            (("running", "done", "error"), {"success": "done", "failed": "error"}),
        ],
    )
    def test_words_of_theirs_are_found(self, labels: tuple[str, ...], states: dict[str, str]) -> None:
        found = planned(catalogue(*with_("sync_status", column("sync_status", labels=labels))))
        assert found.names is not None
        named = found.names.states
        assert {state: named[state] for state in ("success", "failed") if state in named} == states
        assert named.get("not_found") == (named["failed"] if states else None)

    def test_configured_words_count(self) -> None:
        told = TableMappings(sync_status=TableMapping(states={"success": "running", "failed": "error"}))
        labels = column("sync_status", labels=("running", "done", "error"))
        found = planned(catalogue(*with_("sync_status", labels)), told)
        assert found.names is not None
        assert (found.names.states["success"], found.names.states["no_data"]) == ("running", "error")

    def test_configured_words_must_be_taken(self) -> None:
        told = TableMappings(sync_status=TableMapping(states={"failed": "broken"}))
        labels = column("sync_status", labels=("success", "error"))
        assert "does not take 'broken'" in said(planned(catalogue(*with_("sync_status", labels)), told))


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], None),
        (["yahoo"], None),
        (["POLYGON", "polygon"], "polygon"),
        (["Polygon.io"], "Polygon.io"),
        (["massive.com"], "massive.com"),
        (["POLYGON", "Massive"], None),
    ],
)
def test_the_providers_code_is_known_in_any_spelling(codes: list[str], code: str | None) -> None:
    assert provider_code(codes) == code


def test_the_statement_to_copy_has_the_currencies_of_pairs_only() -> None:
    columns = [column(name, not_null=True) for name in ("base_currency", "quote_currency")]
    found = plan(
        catalogue(*with_("symbols", *columns)),
        TableMappings(),
        [
            Asset(symbol="GOLD", polygon_ticker="C:XAUUSD", asset_type=AssetType.FOREX),
            Asset(symbol="AAPL", polygon_ticker="AAPL", asset_type=AssetType.STOCKS),
            Asset(symbol="SPX", polygon_ticker="I:SPX", asset_type=AssetType.INDICES),
        ],
    )
    for row in (
        "('GOLD', 'GOLD', 'forex', 'XAU', 'USD')",
        "('AAPL', 'AAPL', 'stocks', 'AAPL', ...)",
        "('SPX', 'SPX', 'indices', 'SPX', ...)",
    ):
        assert row in said(found)


def test_what_an_insert_has_met_is_told_with_the_statement() -> None:
    rows = RowFacts(provider_codes=("polygon",), trials={"symbols": Trial(error="too short")})
    found = planned(catalogue(*ALL, rows=rows))
    assert "trading.symbols does not take the row EURUSD: too short (hint: insert these symbols" in said(
        found
    )


def test_a_symbol_that_is_there_in_other_letters_is_named_where_the_table_takes_no_second_one() -> None:
    trial = Trial(swallowed=("EURUSD",))
    rows = RowFacts(provider_codes=("polygon",), similar={"EURUSD": "eurusd"}, trials={"symbols": trial})
    found = said(planned(catalogue(*with_("symbols"), rows=rows)))
    assert "has eurusd, and takes no second one in other letters" in found
    assert "trigger" not in found


@pytest.mark.parametrize(
    ("name", "shown"),
    [("ts", "ts"), ("user", '"user"'), ("barTime", '"barTime"'), ('a"b', '"a""b"'), ("1m", '"1m"')],
)
def test_names_are_quoted_where_they_need_it(name: str, shown: str) -> None:
    assert quoted(name) == shown


def test_texts_are_quoted_as_sql_does() -> None:
    assert (literal("it's"), literal("a\\b")) == ("'it''s'", "E'a\\\\b'")


def test_rows_without_a_unique_index_are_refused_and_an_empty_table_gets_one() -> None:
    found = planned(catalogue(*with_("bars", indexes=(), has_rows=True)))
    assert "has rows and no unique index on (symbol_id, ts)" in said(found)
    assert "CREATE UNIQUE INDEX ON market_data.ohlcv_5m (symbol_id, ts) yourself" in said(found)
    assert planned(catalogue(*with_("bars", indexes=()))).refusals == ()


def test_a_symbol_that_is_generated_is_read_where_it_is_there() -> None:
    assert planned(catalogue(*with_("symbols", column("symbol", generated=True)))).refusals == ()


def test_constants_may_complete_a_primary_key_of_symbols() -> None:
    primary = (Index(name="symbols_pkey", columns=("exchange", "symbol"), primary=True),)
    symbols = table("symbols", column("exchange"), without=("id",), indexes=primary)
    mappings = TableMappings(symbols=TableMapping(constants={"exchange": "polygon"}))
    found = planned(catalogue(symbols, table("providers")), mappings)
    assert found.names is not None
    assert (found.names.symbols.columns["id"], found.names.symbols.key) == ("symbol", ("exchange",))


def test_bars_elsewhere_are_told_where_a_table_of_bars_is_made() -> None:
    elsewhere = (Source(schema="trading", table="ohlcv"),)
    without = tuple(one for one in ALL if one.name != "ohlcv_5m")
    assert "trading.ohlcv looks like a table of bars" in str(
        planned(catalogue(*without, bars_alike=elsewhere)).warnings[0]
    )
    assert planned(catalogue(*ALL, bars_alike=elsewhere)).warnings == ()


def test_a_symbol_in_a_row_of_others_is_told() -> None:
    rows = RowFacts(provider_codes=("polygon",), similar={"EURUSD": "EURUSD"})
    (warning,) = planned(catalogue(*ALL, rows=rows)).warnings
    assert "has EURUSD in a row that is not ours" in str(warning)


@pytest.mark.parametrize(
    ("default", "warned"),
    [
        ("'oanda'::text", True),
        ("'polygon'::text", False),
        ("'Polygon.io'::character varying", False),
        (None, False),
    ],
)
def test_a_label_that_our_bars_would_get_by_default_is_told(default: str | None, warned: bool) -> None:
    found = planned(catalogue(*with_("bars", column("source", default=default))))
    assert ["ohlcv_5m.source is oanda by default" in str(one) for one in found.warnings] == [True] * warned
    constants = TableMappings(bars=TableMapping(constants={"source": "polygon"}))
    assert planned(catalogue(*with_("bars", column("source", default=default))), constants).warnings == ()
