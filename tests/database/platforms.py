"""Everything that a database holds, to compare before and after; and the mapping that a test is about."""

from __future__ import annotations

from typing import Any

from assetbatch.config.tables import TableMapping, TableMappings

from .conftest import Sql

USERS = "n.nspname !~ '^pg_|^information_schema$'"

QUESTIONS = {
    "relations": "SELECT n.nspname, c.relname, c.relkind::text, c.relrowsecurity, c.relacl::text"
    f" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {USERS}",
    "columns": "SELECT a.attrelid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod),"
    " a.attnotnull, pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    f" LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE {USERS} AND a.attnum > 0",
    "indexes": f"SELECT indexdef FROM (SELECT *, schemaname AS nspname FROM pg_indexes) n WHERE {USERS}",
    "constraints": "SELECT k.conname, k.conrelid::regclass::text, pg_get_constraintdef(k.oid)"
    f" FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE {USERS}",
    "triggers": "SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger"
    " WHERE NOT tgisinternal",
    "policies": "SELECT * FROM pg_policies",
    "types": "SELECT enumtypid::regtype::text, enumlabel FROM pg_enum",
    "schemas": f"SELECT n.nspname, n.nspacl::text FROM pg_namespace n WHERE {USERS}",
    "sequences": "SELECT schemaname, sequencename, last_value FROM pg_sequences",
}


def everything(sql: Sql) -> dict[str, Any]:
    """The schema, what the sequences have given, and each row with the transaction that wrote it."""
    found: dict[str, Any] = {name: sorted(map(repr, sql(query))) for name, query in QUESTIONS.items()}
    for (table,) in sql(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE {USERS} AND c.relkind IN ('r', 'p')"
    ):
        found[f"rows of {table}"] = rows(sql, table)
    return found


def rows(sql: Sql, table: str) -> list[str]:
    """Each row of a table with the transaction that wrote it."""
    return sorted(map(repr, sql(f"SELECT tableoid, xmin::text, t::text FROM {table} t")))


def mapped(**tables: TableMapping) -> TableMappings:
    """What is configured under `database.tables`."""
    return TableMappings(**tables)
