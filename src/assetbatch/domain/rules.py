"""Rules: whole markets, or parts of them, that the configuration names instead of symbols.

The members of a rule are the tickers that the provider lists. Its members are looked up page by page; a walk
that has seen every page says which of them are gone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple
from zlib import crc32

import msgspec

from assetbatch.domain.asset_classes import AssetClass, AssetType, class_of
from assetbatch.domain.assets import Asset, Rule
from assetbatch.domain.units import DAY_MS, HOUR_MS

TICKERS_PER_CALL = 1000
"""The provider's largest `limit` for a page of tickers."""

WALK_AGAIN_MS = 20 * HOUR_MS
"""How long the members of a rule are believed: a walk once a day, whenever it was begun."""

FIRST_WALK_MS = HOUR_MS
"""Maximum time for which calls for all members wait for the end of the first walk: a page may fail again and
again."""

WALK_STALE_MS = DAY_MS
"""After this time an unfinished walk begins anew: what it has seen is too old to say what is gone."""

RIGHT_HINT = "are exchange (a MIC code, such as XNYS), type and quote right?"
"""What to look at in a rule that nothing fits."""

# --- which calls ---


class TickerQuery(NamedTuple):
    """What one walk through the provider's tickers asks for: a market, and an exchange or a type of it."""

    asset_type: AssetType
    exchange: str | None = None
    kind: str | None = None

    @property
    def expected_calls(self) -> int:
        """About how many pages it has."""
        return max(1, -(-self.expected_tickers // TICKERS_PER_CALL))

    @property
    def expected_tickers(self) -> int:
        """About how many tickers it finds."""
        if self.exchange is None and self.kind is None:
            return _LISTED.get(self.asset_type, 0)
        return sum(
            count
            for (exchange, kind), count in _LISTED_STOCKS.items()
            if self.exchange in (None, exchange) and self.kind in (None, kind)
        )


_LISTED_STOCKS: Mapping[tuple[str, str], int] = {
    ("XNAS", "CS"): 3300,
    ("XNYS", "CS"): 1700,
    ("XASE", "CS"): 220,
    ("ARCX", "ETF"): 2400,
    ("BATS", "ETF"): 1300,
    ("XNAS", "ETF"): 1100,
    ("XNYS", "ETF"): 100,
    ("XNAS", "ADRC"): 200,
    ("XNYS", "ADRC"): 200,
    ("XNYS", "PFD"): 400,
    ("XNAS", "PFD"): 150,
    ("XNAS", "WARRANT"): 450,
    ("XNYS", "WARRANT"): 50,
    ("XNAS", "UNIT"): 200,
    ("XNYS", "UNIT"): 50,
    ("XNYS", "FUND"): 330,
    ("ARCX", "ETN"): 60,
    ("ARCX", "ETV"): 80,
    ("XNAS", "RIGHT"): 60,
}
"""About how many stocks an exchange lists of a type (2026). They choose the calls: a wrong number costs a
call, and no ticker."""

_LISTED = {
    AssetType.STOCKS: sum(_LISTED_STOCKS.values()),
    AssetType.INDICES: 11_000,
    AssetType.CRYPTO: 700,
    AssetType.FOREX: 1300,
}
"""About how many tickers the provider lists of a market."""


def queries(rule: Rule) -> tuple[TickerQuery, ...]:
    """Return the walks that find the members of a rule by the fewest calls.

    A call can name one exchange and one type. What the calls do not name is sifted afterwards.
    """
    exchanges: list[str | None] = [*sorted(rule.exchange)] or [None]
    kinds: list[str | None] = [*sorted(rule.kind)] or [None]
    of = rule.every
    plans = (
        [TickerQuery(of, exchange, kind) for exchange, kind in product(exchanges, kinds)],
        [TickerQuery(of, kind=kind) for kind in kinds],
        [TickerQuery(of, exchange) for exchange in exchanges],
        [TickerQuery(of)],
    )
    return tuple(min(plans, key=lambda plan: sum(query.expected_calls for query in plan)))


def plan_of(rule: Rule) -> int:
    """Return a checksum of the walks of a rule, in 16 bits: those of another version may be others."""
    return crc32(repr([(*map(str, query),) for query in queries(rule)]).encode()) & 0xFFFF


def expected_calls(rule: Rule) -> int:
    """Return about how many calls a walk takes."""
    return sum(query.expected_calls for query in queries(rule))


# --- which tickers ---


class ListedTicker(msgspec.Struct, frozen=True, kw_only=True):
    """A ticker as the provider lists it. What it does not say is empty."""

    ticker: str
    name: str = ""
    exchange: str = ""
    kind: str = ""
    quote: str = ""


class Member(NamedTuple):
    """A ticker that a rule takes, and the symbol under which it is kept."""

    symbol: str
    ticker: str
    name: str | None = None


class Clash(NamedTuple):
    """A ticker that is left out, since its symbol is that of another one."""

    symbol: str
    ticker: str
    other: str
    """The ticker that has the symbol."""


class Taken(NamedTuple):
    """What a rule takes of a page."""

    members: tuple[Member, ...]
    clashes: tuple[Clash, ...]


def symbol_of(ticker: str) -> str:
    """Return the symbol of a member: its ticker without the prefix of its class."""
    return ticker.removeprefix(class_of(ticker).prefix)


def fits(rule: Rule, listed: ListedTicker) -> bool:
    """Return whether a rule takes a ticker."""
    try:
        of = class_of(listed.ticker)
    except ValueError:
        return False
    if of.asset_type is not rule.every or not _is_whole(of, listed.ticker):
        return False
    if rule.exchange and listed.exchange not in rule.exchange:
        return False
    if rule.kind and listed.kind not in rule.kind:
        return False
    return not rule.quote or _quote_of(of, listed) in rule.quote


def _is_whole(of: AssetClass, ticker: str) -> bool:
    return re.fullmatch(of.name_pattern, ticker.removeprefix(of.prefix)) is not None


def _quote_of(of: AssetClass, listed: ListedTicker) -> str:
    if listed.quote:
        return listed.quote
    return next((quote for quote in of.quotes if listed.ticker.endswith(quote)), "")


_WORDS = {
    AssetType.STOCKS: ("stock", "equit", "share", "etf", "fund", "us_"),
    AssetType.INDICES: ("ind",),
    AssetType.FOREX: ("forex", "fx", "currenc", "metal", "commodit"),
    AssetType.CRYPTO: ("crypto", "coin", "digital"),
}
"""How platforms begin the words for their classes."""


def may_be(asset_type: AssetType, word: str) -> bool:
    """Return whether a platform's word for a class may mean this one: a member must not take a row that
    is another asset's. A word that is known for no class may mean any."""
    said = word.strip().lower()
    known = {one for one, words in _WORDS.items() if said.startswith(words)}
    return not known or asset_type in known


def take(rule: Rule, page: Iterable[ListedTicker], owners: Mapping[str, str]) -> Taken:
    """Return the members that a page brings. `owners` are the tickers of the symbols that are taken.

    A ticker of its own asset in the configuration is no member: `without_configured` says so of all.
    """
    members: dict[str, Member] = {}
    clashes = []
    for listed in page:
        if not fits(rule, listed) or listed.ticker in members:
            continue
        symbol = symbol_of(listed.ticker)
        owner = owners.get(symbol, listed.ticker)
        if owner != listed.ticker:
            clashes.append(Clash(symbol, listed.ticker, owner))
            continue
        members[listed.ticker] = Member(symbol, listed.ticker, listed.name or None)
    return Taken(tuple(members.values()), tuple(clashes))


def members_of(
    rules: Iterable[Rule],
    stored: Mapping[str, Sequence[Member]],
    configured: Collection[Asset],
) -> tuple[Asset, ...]:
    """Return the assets that are members, in the order of the rules; `stored` are the members by the rule's
    key.

    An asset of the configuration wins over a member of its symbol or ticker, and an earlier rule over a later
    one.
    """
    symbols = {asset.symbol for asset in configured}
    tickers = {asset.polygon_ticker for asset in configured}
    found = []
    for rule in rules:
        if not rule.enabled:
            continue
        for member in stored.get(rule.key, ()):
            if member.symbol in symbols or member.ticker in tickers:
                continue
            symbols.add(member.symbol)
            tickers.add(member.ticker)
            found.append(rule.member(member.symbol, member.ticker, member.name))
    return tuple(found)


# --- the walk ---


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """How far the members of a rule are looked up.

    `query` counts the queries that are done; `after` is the last ticker that was seen of the next one.
    """

    rule: str
    started_ms: int
    plan: int = 0
    """The checksum of its queries; 0 if a version without checksums has begun it."""
    query: int = 0
    after: str = ""
    calls: int = 0
    is_whole: bool = True
    """Whether every row could be read: else nobody knows what is gone."""
    finished_ms: int | None = None
    """When it had seen every page."""
    is_first: bool = True
    """Whether no walk of the rule had seen every page before."""

    @property
    def is_finished(self) -> bool:
        """Whether every page was seen."""
        return self.finished_ms is not None

    @property
    def knows_members(self) -> bool:
        """Whether a walk of the rule has seen every page, this one or one before."""
        return self.is_finished or not self.is_first


def is_first_under_way(walk: Walk | None, now_ms: int) -> bool:
    """Return whether more members of a rule will come soon: its first walk has not seen every page yet.

    What one call brings for all members waits for them, but not longer than `FIRST_WALK_MS`.
    """
    return walk is not None and not walk.knows_members and 0 <= now_ms - walk.started_ms < FIRST_WALK_MS


def is_due(walk: Walk | None, now_ms: int) -> bool:
    """Return whether a call is due to look up the members of a rule."""
    if walk is None or walk.finished_ms is None:
        return True
    return abs(now_ms - walk.finished_ms) >= WALK_AGAIN_MS


def continued(rule: Rule, walk: Walk | None, now_ms: int) -> Walk:
    """Return the walk as it goes on now: where it was, or from the beginning. One of other queries, which an
    earlier or a later version has begun, would leave some tickers out."""
    is_usable = (
        walk is not None
        and not walk.is_finished
        and walk.plan == plan_of(rule)
        and 0 <= now_ms - walk.started_ms < WALK_STALE_MS
    )
    if walk is not None and is_usable:
        return walk
    is_first = walk is None or not walk.knows_members
    return Walk(rule=rule.key, started_ms=now_ms, plan=plan_of(rule), is_first=is_first)


def advanced(
    rule: Rule, walk: Walk, last: str | None, now_ms: int, *, is_last_page: bool, is_whole: bool
) -> Walk:
    """Return the walk after a page whose last ticker is `last`; `is_whole` if each of its rows could be read.

    A page that does not lead further is the last one of its query. One that should lead further and does not
    has left something out.
    """
    replace = msgspec.structs.replace
    after = walk.after
    # Where lower-case letters stand in the provider's order is not known.
    leads_further = last is not None and (last > after or last.lower() > after.lower())
    walk = replace(
        walk,
        calls=walk.calls + 1,
        is_whole=walk.is_whole and is_whole and (is_last_page or leads_further),
    )
    if last and leads_further and not is_last_page:
        return replace(walk, after=last)
    query = walk.query + 1
    is_end = query >= len(queries(rule))
    finished_ms = max(now_ms, walk.started_ms) if is_end else None
    return replace(walk, query=query, after="", finished_ms=finished_ms)


def may_say_what_is_gone(walk: Walk, seen: int, before: int) -> bool:
    """Return whether the members that a finished walk has not seen are gone.

    They are not if the walk could not read everything, or has found less than half of the `before` members:
    a list that is cut short is more likely than a market that is halved.
    """
    return walk.is_finished and walk.is_whole and seen * 2 >= before
