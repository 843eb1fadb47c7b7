"""What `init` will do: a pure function of the catalogue, the configured names and the assets.

A plan is carried out as a whole or, where something refuses, not at all. `doctor` makes one too: in a schema
that is as it should be it adds nothing and refuses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations, product

import msgspec

from assetbatch.config.tables import BARS, OF_INSTRUMENTS, TABLES, TableMappings
from assetbatch.database.adoption.catalogue import Catalogue, Column, Kind, ZoneFacts
from assetbatch.database.adoption.findings import (
    Addition,
    Findings,
    Note,
    Part,
    Refusal,
    configured,
    elsewhere,
)
from assetbatch.database.adoption.inserts import Insert, insert_provider, insert_symbols
from assetbatch.database.adoption.keys import KeyChoice, choose_key, constants_wanted
from assetbatch.database.adoption.recognition import KEYS, REFERENCES, Recognised, Recognition, is_timeframe
from assetbatch.database.adoption.vocabulary import (
    DISTINGUISHING,
    EXPECTED,
    LENGTHS,
    PROVIDER,
    PROVIDERS,
    STATES,
    WORDS,
    plain,
    spellings,
)
from assetbatch.database.names import OWN, Names, Reference, Table
from assetbatch.database.partitions import BY_HAND
from assetbatch.database.quoting import listed, literal, place, qualified, quoted
from assetbatch.database.statements import Statements
from assetbatch.domain.assets import Asset
from assetbatch.domain.formatting import listed as some_of

OWN_SCHEMA = "data_sources"
"""The schema of the tables of assetbatch itself."""

AHEAD_SECONDS = 300
FRESH_SECONDS = 3600

_NUMBER = re.compile(r"\(?'?(-?\d+(?:\.\d+)?)'?\)?(?:::[a-z ]+(?:\([0-9,]+\))?)?\Z")
_QUOTED = re.compile(r"'((?:[^']|'')*)'")
_UTC_DEFAULT = re.compile(
    r"at time zone '(?:utc|gmt|z|etc/utc)'|timezone\('(?:utc|gmt|z|etc/utc)'", re.IGNORECASE
)
_OPTIONAL_BARS = ("volume", "vwap", "trades")
_COMMANDS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE"}
_NEEDED = {"symbols": "rw", **dict.fromkeys(OF_INSTRUMENTS, "raw"), "providers": "r", "sync_status": "raw"}
"""The commands that a cycle gives each table, by their letters in pg_policy."""
_LENGTHS = {"bars": "five minutes", "bars_1m": "one minute", "bars_1d": "a day"}
_COMMENTS = {
    "bars": "Bars of five minutes; {start} is the start of the bar.",
    "bars_1m": "Bars of one minute; {start} is the start of the bar.",
    "bars_1d": "Bars of a day, as the provider counts its days.",
}
_OWN_NAMES = {key: OWN.table(key).name for key in BARS}
"""What the tables of bars are called where `init` makes them."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What `init` adds, takes as it is, warns of and refuses; with refusals nothing is carried out.

    `names` is what was recognised or will be made; None where that could not be told. `missing` are the
    configured symbols that are to be entered.
    """

    names: Names | None
    additions: tuple[Addition, ...] = ()
    taken: tuple[Note, ...] = ()
    warnings: tuple[Note, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """What differs from what the last `init` found, by our names: `bars.vwap`."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from the structure alone, for the reader of rows to know what to ask."""

    recognised: Recognised | None
    indexes: Mapping[str, tuple[str, ...]] = {}
    sampled: Sequence[tuple[str, str]] = ()


def draft(catalogue: Catalogue, mappings: TableMappings) -> Draft:
    """Return what the rows have to be asked about."""
    return _Planner(catalogue, mappings, (), by_month=False).draft()


def plan(
    catalogue: Catalogue, mappings: TableMappings, assets: Sequence[Asset], *, by_month: bool = False
) -> Plan:
    """Return the plan for these tables; `by_month` makes a table of bars in partitions of a month."""
    return _Planner(catalogue, mappings, assets, by_month=by_month).plan()


def provider_code(codes: Sequence[str]) -> str | None:
    """Return the provider's code as it is among those there; None where it is not, or not only once."""
    ours = [code for code in codes if plain(code) in PROVIDERS]
    if PROVIDER in ours:
        return PROVIDER
    return ours[0] if len(ours) == 1 else None


class _Planner:
    def __init__(
        self, catalogue: Catalogue, mappings: TableMappings, assets: Sequence[Asset], *, by_month: bool
    ) -> None:
        self._catalogue = catalogue
        self._rows = catalogue.rows
        self._mappings = mappings
        self._assets = list({asset.symbol: asset for asset in assets}.values())
        self._by_month = by_month
        self._findings = Findings()
        self._sampled: list[tuple[str, str]] = []

    def draft(self) -> Draft:
        recognised = Recognition(self._catalogue, self._mappings, self._findings).run()
        if recognised is None:
            return Draft(recognised=None)
        recognised, choices = self._with_keys(recognised)
        self._check_foreign_columns(recognised)
        return Draft(
            recognised=recognised,
            indexes={key: choice.missing for key, choice in choices.items() if choice.missing},
            sampled=tuple(self._sampled),
        )

    def plan(self) -> Plan:
        recognised = Recognition(self._catalogue, self._mappings, self._findings).run()
        if recognised is None:
            return self._plan(None)
        recognised, choices = self._with_keys(recognised)
        self._check_apart(recognised.names)
        self._check_rows(recognised, choices)
        self._check_foreign_columns(recognised)
        self._check_months(recognised)
        self._check_nulls(recognised)
        self._check_optional(recognised)
        recognised = self._with_values(recognised)
        self._check_row_security(recognised)
        self._add_structure(recognised, choices)
        self._check_rights(recognised)
        missing = self._add_rows(recognised)
        return self._plan(recognised, missing)

    def _plan(self, recognised: Recognised | None, missing: Sequence[str] = ()) -> Plan:
        found = self._findings
        return Plan(
            names=recognised.names if recognised else None,
            additions=() if found.refusals and recognised is None else tuple(found.additions),
            taken=tuple(found.taken),
            warnings=tuple(found.warnings),
            refusals=tuple(found.refusals),
            missing=tuple(missing),
            changed=_changed(self._catalogue.installed, recognised.names) if recognised else (),
        )

    # --- keys ---

    def _with_keys(self, recognised: Recognised) -> tuple[Recognised, dict[str, KeyChoice]]:
        choices: dict[str, KeyChoice] = {}
        changed: dict[str, Table] = {}
        for key, facts in recognised.tables.items():
            table = recognised.names.table(key)
            choice = choose_key(key, facts, table, self._rows.samples, self._findings)
            choices[key] = choice
            self._sampled += [(key, name) for name in choice.sampled]
            if choice.further:
                changed[key] = msgspec.structs.replace(table, key=choice.further)
                columns = listed((*(table.columns[ours] for ours in KEYS[key]), *choice.further))
                self._findings.take(place(table), f"is told apart by ({columns})")
        return recognised.with_names(**changed), choices

    def _check_rows(self, recognised: Recognised, choices: Mapping[str, KeyChoice]) -> None:
        names, rows = recognised.names, self._rows
        for key, example in rows.duplicates.items():
            table = names.table(key)
            columns = choices[key].missing or ()
            self._findings.refuse(
                place(table),
                f"has duplicates in ({listed(columns)}), such as {example[:80]}",
                f"remove the duplicates from {place(table)}",
            )
        for key, ours, target in REFERENCES:
            orphan = rows.orphans.get(f"{key}.{ours}")
            if orphan is None:
                continue
            table, other = names.table(key), names.table(target)
            self._findings.refuse(
                place(table, table.columns[ours]),
                f"has {orphan[:80]}, which is no row of {place(other)}: no foreign key says whose ids "
                "these are",
                f"set database.tables.{target}.table to the table that they belong to, or remove such rows, "
                f"or {elsewhere(key)}",
            )
        for named, said in rows.bad_constants.items():
            self._findings.refuse(
                f"database.tables.{named}", f"does not fit its column: {said}", "correct it"
            )
        if rows.bad_json:
            table = names.symbols
            column = quoted(table.columns["metadata"])
            self._findings.refuse(
                place(table, table.columns["metadata"]),
                "has values that are no jsonb",
                f"mend what SELECT {column}::jsonb FROM {place(table)} shows",
            )
        for key in BARS:
            facts, before = recognised.tables.get(key), self._catalogue.installed
            if facts is not None and facts.has_rows and (before is None or key in self._catalogue.new):
                self._findings.take(
                    place(names.table(key)),
                    "has bars: those that are fetched are replaced where they differ",
                )

    def _check_apart(self, names: Names) -> None:
        """Refuse one table for bars of two lengths, unless a constant of its key tells them apart."""
        for one, other in combinations(BARS, 2):
            first, second = names.table(one), names.table(other)
            apart = {name for name in first.key if first.constants[name] != second.constants.get(name)}
            if place(first) == place(second) and not apart.intersection(second.key):
                self._findings.refuse(
                    place(first),
                    f"holds bars of {_LENGTHS[one]} and of {_LENGTHS[other]}: nothing tells them apart",
                    elsewhere(other),
                )

    # --- columns of others ---

    def _check_foreign_columns(self, recognised: Recognised) -> None:
        """Refuse columns that need a value that nothing gives, and labels that would be untrue."""
        for key in (*OF_INSTRUMENTS, "sync_status"):
            facts = recognised.tables.get(key)
            if facts is None:
                continue
            table = recognised.names.table(key)
            # Of those in `_sampled` a constant is asked for already.
            given = {
                *table.columns.values(),
                *table.constants,
                *(name for of, name in self._sampled if of == key),
            }
            for column in facts.columns:
                if column.name in given or column.generated or column.identity:
                    continue
                if key in BARS and is_timeframe(column):
                    self._check_timeframe(key, table, column)
                elif column.not_null and column.default is None:
                    self._check_insisting(key, table, column)
                elif key in BARS:
                    self._warn_of_label(key, table, column)

    def _check_timeframe(self, key: str, table: Table, column: Column) -> None:
        named = place(table, column.name)
        known = _QUOTED.match(column.default or "")
        preset = known[1] if known else column.default
        if preset is not None and plain(preset) in LENGTHS[key]:
            return
        self._sampled.append((key, column.name))
        values = self._rows.samples.get(f"{key}.{column.name}", ())
        remedy = constants_wanted(key, [column], self._rows.samples)
        if column.not_null and column.default is None:
            self._findings.refuse(named, "is NOT NULL without a default", remedy)
        elif preset is not None:
            self._findings.refuse(named, f"would be {preset[:40]} in bars of {_LENGTHS[key]}", remedy)
        elif values:
            self._findings.refuse(named, "would be NULL in our bars, and readers may ask for it", remedy)
        else:
            self._findings.warn(named, "stays NULL in our bars", remedy)

    def _warn_of_label(self, key: str, table: Table, column: Column) -> None:
        """Warn of a default such as `source = 'oanda'`, which would be said of our bars too."""
        preset = _QUOTED.match(column.default or "")
        if preset is None or plain(column.name) not in DISTINGUISHING or plain(preset[1]) in PROVIDERS:
            return
        named = place(table, column.name)
        remedy = f"say it otherwise: {configured(key, f'{column.name}: {PROVIDER}')}"
        self._findings.warn(named, f"is {preset[1][:40]} by default, in bars of assetbatch too", remedy)

    def _check_insisting(self, key: str, table: Table, column: Column) -> None:
        named = place(table, column.name)
        if column.base == "uuid" and self._may_make_uuids(key, column):
            self._findings.add(
                Part.DEFAULT,
                f"{named}: DEFAULT gen_random_uuid()",
                f"ALTER TABLE {place(table)} ALTER COLUMN {quoted(column.name)} "
                "SET DEFAULT gen_random_uuid()",
            )
            return
        if column.base in ("timestamptz", "timestamp"):  # no moment is that of every row
            self._findings.refuse(
                named,
                "is NOT NULL without a default",
                f"ALTER TABLE {place(table)} ALTER COLUMN {quoted(column.name)} DROP NOT NULL, or SET "
                f"DEFAULT ... and a trigger that sets it; or {elsewhere(key)}",
            )
            return
        self._sampled.append((key, column.name))
        self._findings.refuse(
            named,
            "is NOT NULL without a default",
            f"{constants_wanted(key, [column], self._rows.samples)}; or ALTER TABLE {place(table)} "
            f"ALTER COLUMN {quoted(column.name)} SET DEFAULT ...",
        )

    def _may_make_uuids(self, key: str, column: Column) -> bool:
        """Return whether a uuid is the id of its row: one that refers to other rows cannot be made up."""
        facts = self._catalogue.tables[key]
        alone = any(index.columns == (column.name,) for index in facts.indexes) or column.name == "id"
        return alone and facts.reference(column.name) is None

    def _check_months(self, recognised: Recognised) -> None:
        facts = recognised.tables.get("bars")
        divides = self._by_month and not self._catalogue.timescaledb
        if divides and facts is not None and facts.kind is Kind.TABLE:
            self._findings.refuse(place(recognised.names.bars), "is there and is not partitioned", BY_HAND)

    def _check_nulls(self, recognised: Recognised) -> None:
        """Refuse columns of the status that take no NULL: an error is NULL after a success, and the last
        success before the first."""
        table = recognised.names.sync_status
        for ours in ("last_sync_timestamp", "error_message"):
            column = recognised.column("sync_status", ours)
            if column is not None and column.not_null:
                self._findings.refuse(
                    place(table, column.name),
                    "must take NULL for what is not known",
                    f"ALTER TABLE {place(table)} ALTER COLUMN {quoted(column.name)} DROP NOT NULL",
                )

    def _check_optional(self, recognised: Recognised) -> None:
        for key, ours in product(BARS, _OPTIONAL_BARS):
            facts, table = recognised.tables.get(key), recognised.names.table(key)
            if facts is None:
                continue
            if ours in table.columns or ours in self._mappings.table(key).columns:
                continue
            generated = any(column.generated and plain(column.name) == ours for column in facts.columns)
            if not generated:
                self._findings.warn(
                    place(table),
                    f"has no column for {ours}: it is not kept",
                    f"ALTER TABLE {place(table)} ADD COLUMN {ours} {EXPECTED[key][ours].type}, where no "
                    f"COPY without a list of columns writes there; or set database.tables.{key}.{ours}: null",
                )

    # --- values ---

    def _with_values(self, recognised: Recognised) -> Recognised:
        given = {
            key: msgspec.structs.replace(
                recognised.names.table(key),
                missing=self._missing(key, recognised),
                instrument=self._instrument(key, recognised),
            )
            for key in OF_INSTRUMENTS
        }
        states, provider = self._states(recognised), self._provider(recognised)
        zoned = {
            key: msgspec.structs.replace(
                given.get(key, recognised.names.table(key)), zones=self._zones(key, recognised)
            )
            for key in ("symbols", *OF_INSTRUMENTS, "sync_status")
        }
        return recognised.with_names(**zoned, states=states, provider=provider)

    def _missing(self, key: str, recognised: Recognised) -> dict[str, float]:
        """Return what is written to columns that take no NULL where the provider gives no value."""
        found: dict[str, float] = {}
        table = recognised.names.table(key)
        given = self._mappings.table(key).missing
        for ours in _OPTIONAL_BARS:
            column = recognised.column(key, ours)
            if column is None:
                continue
            named = place(table, column.name)
            preset = _NUMBER.match(column.default or "")
            if ours in given:
                found[ours] = given[ours]
            elif column.not_null and preset:
                found[ours] = float(preset[1])
            elif column.not_null:
                self._findings.warn(
                    named,
                    f"is NOT NULL: a bar without {ours} is rejected",
                    f"to write 0 there: {configured(key, f'missing: {{{ours}: 0}}')}",
                )
                continue
            else:
                continue
            self._findings.take(named, f"is {found[ours]:g} in a bar without {ours}")
        return found

    def _instrument(self, key: str, recognised: Recognised) -> Reference:
        table = recognised.names.table(key)
        chosen = table.instrument
        column = recognised.column(key, "symbol_id")
        if chosen == "id" or column is None:
            return chosen
        facts = recognised.tables[key]
        if self._mappings.table(key).instrument is None and facts.reference(column.name) is None:
            before: Table | None = getattr(self._catalogue.installed, key, None)
            same = before is not None and before.columns.get("symbol_id") == column.name
            if same and before is not None and before.instrument != "id":
                chosen = before.instrument
            elif self._rows.instruments.get(key, frozenset()) == frozenset({"polygon_ticker"}):
                chosen = "polygon_ticker"
        self._findings.take(place(table, column.name), f"holds the {chosen} of an asset")
        return chosen

    def _states(self, recognised: Recognised) -> dict[str, str]:
        column = recognised.column("sync_status", "sync_status")
        mapped = self._mappings.sync_status.states
        if column is None:
            return dict(mapped)
        table = recognised.names.sync_status
        named = place(table, column.name)

        def accepts(word: str) -> bool:
            if column.labels:
                return word in column.labels and word not in self._rows.refused_states
            fits = column.length is None or len(word) <= column.length
            return fits and word not in self._rows.refused_states

        found: dict[str, str] = {}
        for state in ("success", "failed"):
            if state in mapped:
                continue
            words = [word for known in STATES[state] for word in spellings(known)]
            word = next((word for word in words if accepts(word)), None)
            if word is None:
                self._refuse_state(named, column, state)
                return found
            found[state] = word
        found |= {state: word for state, word in mapped.items() if state in WORDS}
        for state, word in mapped.items():
            if not accepts(word):
                self._findings.refuse(
                    named, f"does not take {word!r}", f"correct database.tables.sync_status.states.{state}"
                )
        for state in WORDS:
            if state not in found:
                found[state] = state if accepts(state) else found["failed"]
        other = {state: word for state, word in found.items() if word != state}
        if other:
            shown = ", ".join(f"{state} is written as {word}" for state, word in other.items())
            self._findings.take(named, f"has words of its own: {shown}; the reason is in the message")
        return other

    def _refuse_state(self, named: str, column: Column, state: str) -> None:
        takes = f": it takes {', '.join(column.labels[:10])}" if column.labels else ""
        self._findings.refuse(
            named,
            f"({column.type}) has no word for {state}{takes}",
            f"say which of its words it is: {configured('sync_status', f'states: {{{state}: ...}}')}",
        )

    def _provider(self, recognised: Recognised) -> str:
        column = recognised.column("providers", "code")
        if column is None:
            return PROVIDER
        table = recognised.names.providers
        code = provider_code(self._rows.provider_codes)
        several = [code for code in self._rows.provider_codes if plain(code) in PROVIDERS]
        if code is None and several:
            self._findings.refuse(
                place(table),
                f"has several codes that may be the provider: {', '.join(several[:5])}",
                f"keep one; or {elsewhere('providers')}",
            )
            return PROVIDER
        if code is None:
            code = provider_code(column.labels)  # what may be inserted
        if code is not None and code != PROVIDER:
            self._findings.take(place(table), f"has the provider under the code {code}")
        return code or PROVIDER

    def _zones(self, key: str, recognised: Recognised) -> dict[str, str]:
        found: dict[str, str] = {}
        table = recognised.names.table(key)
        for ours in table.columns:
            column = recognised.column(key, ours)
            if column is None or column.base != "timestamp":
                continue
            named = place(table, column.name)
            zone, why = self._zone(column, self._rows.zones.get(f"{key}.{ours}", ZoneFacts()))
            self._findings.take(named, f"has no time zone: moments are written there in {zone} ({why})")
            if zone == "UTC":
                continue
            if key in BARS and self._catalogue.zone_has_summer_time:
                self._findings.refuse(
                    named,
                    f"is in {zone}, without a zone: when clocks go back, two bars would be one",
                    f"ALTER TABLE {place(table)} ALTER COLUMN {quoted(column.name)} TYPE timestamptz USING "
                    f"{quoted(column.name)} AT TIME ZONE {literal(zone)}",
                )
            found[ours] = zone
        return found

    def _zone(self, column: Column, facts: ZoneFacts) -> tuple[str, str]:
        """Return the zone that a column of naive timestamps is in, and how that was told."""
        local = self._catalogue.zone
        if self._catalogue.zone_is_utc:
            return "UTC", "the database's zone"
        if facts.siblings_utc != facts.siblings_local:
            other = "other columns of its rows have a zone"
            return ("UTC", other) if facts.siblings_utc > facts.siblings_local else (local, other)
        if facts.newest is not None and facts.newest_local is not None:
            ages = {
                "UTC": self._catalogue.now - facts.newest,
                local: self._catalogue.now - facts.newest_local,
            }
            possible = {zone: age for zone, age in ages.items() if age >= -AHEAD_SECONDS}
            if len(possible) == 1:
                return next(iter(possible)), "its newest value would lie ahead of now in any other"
            fresh = [zone for zone, age in possible.items() if age <= FRESH_SECONDS]
            if len(fresh) == 1:
                return fresh[0], "its newest value is of now there"
        if column.default is not None and _UTC_DEFAULT.search(column.default):
            return "UTC", "its default says so"
        return "UTC", "nothing tells another"

    # --- rights and policies ---

    def _check_row_security(self, recognised: Recognised) -> None:
        for key, facts in recognised.tables.items():
            if not facts.row_security:
                continue
            lacking = [
                _COMMANDS[letter]
                for letter in _NEEDED[key]
                if not any(
                    policy.permissive and policy.applies and policy.command in (letter, "*")
                    for policy in facts.policies
                )
            ]
            where = place(recognised.names.table(key))
            role = quoted(self._catalogue.role)
            if not facts.row_security_active:
                self._findings.warn(
                    where,
                    f"has row level security, which does not hold for {role}: the role of the cycles "
                    f"needs policies for {', '.join(_COMMANDS[letter] for letter in _NEEDED[key])}",
                    "run assetbatch doctor as that role",
                )
            elif lacking:
                self._findings.refuse(
                    where,
                    f"has row level security without a policy that lets {role} {' or '.join(lacking)}",
                    "; ".join(
                        f"CREATE POLICY assetbatch_{command.lower()} ON {where} FOR {command} TO {role} "
                        + ("WITH CHECK (true)" if command == "INSERT" else "USING (true)")
                        for command in lacking
                    ),
                )
            else:
                self._findings.warn(
                    where, f"has row level security: what its policies keep from {role} is reported as failed"
                )

    def _check_rights(self, recognised: Recognised) -> None:
        """Refuse what this role may not do, with the statement for a role that may."""
        role = quoted(self._catalogue.role)
        for key, facts in recognised.tables.items():
            if facts.is_owner:
                continue
            where = place(recognised.names.table(key))
            changes = [
                addition.sql
                for addition in self._findings.additions
                if addition.sql
                and addition.part in (Part.COLUMN, Part.DEFAULT, Part.INDEX)
                and f" {where} " in f"{addition.sql} "
            ]
            if changes:
                self._findings.refuse(
                    where,
                    f"belongs to {quoted(facts.owner)}: {role} may not change it",
                    f"run as {quoted(facts.owner)}: {'; '.join(changes)}",
                )
        for schema in self._schemas_written(recognised):
            may = self._catalogue.schemas.get(schema)
            if may is None and not self._catalogue.may_make_schemas:
                self._findings.refuse(
                    f"schema {quoted(schema)}",
                    f"is not there, and {role} may not make it",
                    f"run as the owner of the database: CREATE SCHEMA {quoted(schema)} AUTHORIZATION {role}",
                )
            elif may is False:
                self._findings.refuse(
                    f"schema {quoted(schema)}",
                    f"takes no tables of {role}",
                    f"run as its owner: GRANT CREATE, USAGE ON SCHEMA {quoted(schema)} TO {role}",
                )

    def _schemas_written(self, recognised: Recognised) -> list[str]:
        """Return the schemas in which tables are to be made."""
        found = [recognised.names.table(key).schema for key in TABLES if key not in recognised.tables]
        if self._catalogue.own_missing:
            found.append(OWN_SCHEMA)
        return list(dict.fromkeys(found))

    # --- additions ---

    def _add_structure(self, recognised: Recognised, choices: Mapping[str, KeyChoice]) -> None:
        names = recognised.names
        earlier, self._findings.additions = self._findings.additions, []
        for schema in self._schemas_written(recognised):
            if schema not in self._catalogue.schemas:
                self._findings.add(Part.SCHEMA, quoted(schema), f"CREATE SCHEMA {quoted(schema)}")
        statements = Statements(names)
        for key in ("symbols", "providers", *OF_INSTRUMENTS, "sync_status"):
            if key not in recognised.tables:
                made = self._created(key, statements, recognised)
                self._findings.add(Part.TABLE, place(names.table(key)), made)
        if "bars" not in recognised.tables:
            self._warn_of_bars_elsewhere()
        for key, columns in recognised.added.items():
            where = place(names.table(key))
            for ours in columns:
                kind = EXPECTED[key][ours].type
                self._findings.add(
                    Part.COLUMN, f"{where}.{ours} {kind}", f"ALTER TABLE {where} ADD COLUMN {ours} {kind}"
                )
        self._findings.additions += earlier
        for key, choice in choices.items():
            if choice.missing:
                where = place(names.table(key))
                columns_text = listed(choice.missing)
                self._findings.add(
                    Part.INDEX,
                    f"unique on {where} ({columns_text})",
                    f"CREATE UNIQUE INDEX ON {where} ({columns_text})",
                )
        for name in self._catalogue.own_missing:
            self._findings.add(Part.TABLE, f"{name} (of assetbatch itself)")
        for name in self._catalogue.pending:
            self._findings.add(Part.MIGRATION, f"{name} (of assetbatch itself)")

    def _warn_of_bars_elsewhere(self) -> None:
        """Warn if a table of bars is made although the platform's readers may look into another one."""
        known = {(facts.schema, facts.name) for facts in self._catalogue.tables.values()}
        for one in self._catalogue.bars_alike:
            if (one.schema, one.table) in known:
                continue
            named = qualified(one.schema, one.table)
            remedy = f"to use it instead: {configured('bars', f'table: {one.schema}.{one.table}')}"
            self._findings.warn(named, "looks like a table of bars, and another is made", remedy)

    def _created(self, key: str, statements: Statements, recognised: Recognised) -> str:
        """Return the statement that makes a table."""
        parts = self._made(recognised)
        if key not in BARS:
            return statements(f"create/{key}", **parts).decode()
        template = "create/days" if key == "bars_1d" else "create/bars"
        comment = literal(_COMMENTS[key].format(start=recognised.names.table(key).columns.get("ts")))
        divided = self._divided(key, recognised)
        checks = {"checks": _OWN_NAMES[key], "bars_comment": comment, "divided": divided}
        return statements(template, key, **parts, **checks).decode()

    def _divided(self, key: str, recognised: Recognised) -> str:
        """Return the clause that partitions a table of bars that is made. One of minutes is divided as that
        of five minutes is."""
        by_month = self._by_month or (key == "bars_1m" and self._catalogue.bars_by_month)
        if key == "bars_1d" or not by_month or self._catalogue.timescaledb:
            return ""
        table = recognised.names.table(key)
        return f"PARTITION BY RANGE ({quoted(table.columns['ts'])})"

    def _made(self, recognised: Recognised) -> dict[str, str]:
        """Return what fills the places of the table templates, except the names."""
        symbols = recognised.names.symbols
        ids = {"uuid": "DEFAULT gen_random_uuid()"}
        counted = "GENERATED BY DEFAULT AS IDENTITY"
        return {
            "symbol_id_type": recognised.symbol_id_type,
            "symbol_id_made": ids.get(recognised.symbol_id_type, counted),
            "provider_id_type": recognised.provider_id_type,
            "provider_id_made": ids.get(recognised.provider_id_type, counted),
            "ticker_id_comment": literal(place(symbols, symbols.columns["id"])),
        }

    def _add_rows(self, recognised: Recognised) -> list[str]:
        names, rows = recognised.names, self._rows
        if names.provider not in rows.provider_codes:
            self._add_row("providers", recognised, insert_provider(recognised, names.provider), "this row")
        missing = [asset for asset in self._assets if asset.symbol not in rows.symbols_there]
        for symbol, other in rows.similar.items():
            is_other_row = symbol == other  # of another exchange, say
            self._findings.warn(
                place(names.symbols),
                f"has {other} in a row that is not ours, and a row of ours is entered beside it"
                if is_other_row
                else f"has {other}, and {symbol} is entered beside it",
                f"if it is the same, correct the constants of {configured('symbols', '...')}"
                if is_other_row
                else f"if it is the same, configure the symbol as {other}",
            )
        if missing:
            insert = insert_symbols(recognised, missing, self._catalogue.encoding)
            self._add_row("symbols", recognised, insert, "these symbols")
        return [asset.symbol for asset in missing]

    def _add_row(self, key: str, recognised: Recognised, insert: Insert, what: str) -> None:
        where = place(recognised.names.table(key))
        facts = recognised.tables.get(key)
        trial = self._rows.trials.get(key)
        remedy = f"insert {what} yourself: {insert.by_hand}"
        shown = some_of(insert.keys, 10)
        if insert.lacking:
            columns = listed(insert.lacking)
            verb = "is" if len(insert.lacking) == 1 else "are"
            self._findings.refuse(
                where, f"has no row {shown}, and {columns} {verb} NOT NULL without a default", remedy
            )
        elif facts is not None and not facts.may_insert:
            self._findings.refuse(
                where, f"has no row {shown}, and {quoted(self._catalogue.role)} may not insert there", remedy
            )
        elif trial is not None and trial.error:
            self._findings.refuse(where, f"does not take the row {shown}: {trial.error}", remedy)
        elif trial is not None and (
            alike := [self._rows.similar[one] for one in trial.swallowed if one in self._rows.similar]
        ):
            self._findings.refuse(
                where,
                f"has {some_of(alike, 10)}, and takes no second one in other letters",
                "configure the symbols as they are there",
            )
        elif trial is not None and trial.swallowed:
            self._findings.refuse(
                where,
                f"did not take {some_of(trial.swallowed, 10)}: a trigger or a policy skips the row",
                remedy,
            )
        else:
            self._findings.add(Part.ROW, f"{where}: {shown}", insert.sql, rows=insert.rows)


def _changed(before: Names | None, now: Names) -> tuple[str, ...]:
    """Return what differs between two states of names, in our words."""
    if before is None or before == now:
        return ()
    found = []
    for key in TABLES:
        old = before.table(key)
        new = now.table(key)
        if (old.schema, old.name) != (new.schema, new.name):
            found.append(key)
            continue
        columns = dict.fromkeys([*old.columns, *new.columns])
        found += [f"{key}.{ours}" for ours in columns if old.columns.get(ours) != new.columns.get(ours)]
        others = msgspec.structs.replace(old, columns=new.columns)
        if others != new:
            found.append(f"{key} (constants, key, zones, missing values or instrument)")
    rest = ("sync_status_target", "provider", "states")
    return (*found, *(name for name in rest if getattr(before, name) != getattr(now, name)))
