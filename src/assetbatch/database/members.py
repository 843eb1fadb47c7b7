"""The members of rules in PostgreSQL, and how far they are looked up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from assetbatch.database import days
from assetbatch.database.session import Connection
from assetbatch.database.text import storable
from assetbatch.domain.assets import Rule
from assetbatch.domain.rules import Clash, Member, Walk, may_be, may_say_what_is_gone, take

if TYPE_CHECKING:
    from assetbatch.config.tables import TableMappings
    from assetbatch.domain.bar_sizes import DerivedSize
    from assetbatch.domain.rules import ListedTicker


_MOST_QUERIES = 10_000
"""More queries than the walk of a rule has. Of the place of a walk its checksum times this is stored, plus
how many queries are done: for a version without checksums these are more than there are."""


class PageTaken(NamedTuple):
    """What a page has brought: how many members are new, which tickers are left out, which members are
    gone, how many there are now, and whether all members of the page are new."""

    new: int
    clashes: tuple[Clash, ...]
    gone: tuple[str, ...] = ()
    members: int = 0
    is_first: bool = True


def load(connection: Connection, rules: Collection[str]) -> dict[str, list[Member]]:
    """Return the members of each rule, by its key. Raise psycopg.Error."""
    found: dict[str, list[Member]] = {}
    for rule, *member in connection.execute(connection.statements("members.load"), {"rules": list(rules)}):
        found.setdefault(rule, []).append(Member(*member))
    return found


def load_walks(connection: Connection, rules: Collection[str]) -> dict[str, Walk]:
    """Return the last walk of each rule. Raise psycopg.Error."""
    rows = connection.execute(connection.statements("members.load_walks"), {"rules": list(rules)})
    return {
        rule: Walk(
            rule=rule,
            started_ms=started_ms,
            plan=place // _MOST_QUERIES,
            query=place % _MOST_QUERIES,
            after=after,
            calls=calls,
            is_whole=is_whole,
            finished_ms=finished_ms,
            is_first=is_first,
        )
        for rule, started_ms, place, after, calls, is_whole, finished_ms, is_first in rows
    }


def take_page(
    connection: Connection,
    rule: Rule,
    page: Sequence[ListedTicker],
    walk: Walk,
    owners: Mapping[str, str],
    mappings: TableMappings,
    sizes: Collection[DerivedSize],
) -> PageTaken:
    """Register the members that a page brings, and record the `walk` as it is after it, in the open
    transaction. With the end of a rule's first walk all days of its market are missing: its members have none
    of those that had come.

    `owners` are the tickers of the symbols that the configuration has. Raise psycopg.Error, and what
    `initialise` raises.
    """
    from assetbatch.database.initialisation import initialise

    connection.execute(connection.statements("members.lock_walks"))
    encoding = connection.info.parameter_status("server_encoding")
    symbols = [member.symbol for member in take(rule, page, {}).members]
    there = _types(connection, symbols)
    foreign = {
        symbol: f"an asset of the type {word!r}"
        for symbol, word in there.items()
        if word is not None and not may_be(rule.every, word)
    }
    taken = take(rule, page, {**foreign, **_owners(connection, symbols), **owners})
    members = [member for member in taken.members if storable(member.symbol, encoding) == member.symbol]
    if unknown := [member for member in members if member.symbol not in there]:
        assets = [rule.member(*member) for member in unknown]
        initialise(connection, mappings, assets, by_month=False, sizes=sizes)
    rows = [
        {"symbol": one.symbol, "ticker": one.ticker, "name": one.name and storable(one.name, encoding)}
        for one in members
    ]
    arguments = {
        "rule": rule.key,
        "started_ms": walk.started_ms,
        "members": msgspec.json.encode(rows).decode(),
    }
    ((new,),) = connection.execute(connection.statements("members.save"), arguments).fetchall()
    gone: list[str] = []
    ((count, seen),) = connection.execute(connection.statements("members.count"), arguments).fetchall()
    if may_say_what_is_gone(walk, seen, count):
        marked = connection.execute(connection.statements("members.mark_gone"), arguments)
        gone = sorted(symbol for (symbol,) in marked)
    place = walk.plan * _MOST_QUERIES + walk.query
    written = {**msgspec.structs.asdict(walk), "place": place}
    connection.execute(connection.statements("members.save_walk"), written)
    if walk.is_finished and walk.is_first:
        days.forget_market_days(connection, rule.every.value)
    return PageTaken(new, taken.clashes, tuple(gone), count - len(gone), new == len(members))


def _owners(connection: Connection, symbols: Sequence[str]) -> dict[str, str]:
    """Return the tickers of the symbols that are members of a rule already."""
    rows = connection.execute(connection.statements("members.load_owners"), {"symbols": symbols})
    return dict(rows.fetchall())


def _types(connection: Connection, symbols: Sequence[str]) -> dict[str, str | None]:
    """Return what the rows that are there say of their class."""
    rows = connection.execute(connection.statements("members.load_types"), {"symbols": symbols})
    return dict(rows.fetchall())
