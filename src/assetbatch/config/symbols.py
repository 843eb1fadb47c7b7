"""Symbols as a platform spells them, and the provider's ticker that follows from one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from assetbatch.config.wording import near_word
from assetbatch.domain.asset_classes import CLASSES, AssetClass, AssetType
from assetbatch.domain.currencies import COINS, CURRENCIES, METALS
from assetbatch.secret import masked_name

if TYPE_CHECKING:
    from assetbatch.domain.assets import Rule

MAX_SYMBOL_LENGTH = 32
"""Maximum number of characters in a symbol."""

ALIKE_HINT = "remove one of them, unless your platform tells them apart"
EXCHANGES = {
    "XNYS": ("NYSE",),
    "XNAS": ("NASDAQ", "NASD"),
    "XASE": ("AMEX",),
    "ARCX": ("ARCA",),
    "BATS": ("CBOE", "BZX"),
    "IEXG": ("IEX",),
}
"""The exchanges that list US stocks, by the codes that the provider uses, with what people call them."""

_PREFIXES = "|".join(sorted({re.escape(one.prefix) for one in CLASSES if one.bases}))
_PAIR = re.compile(rf"({_PREFIXES})?([A-Z0-9]{{2,10}}) ?[-/_.: ]? ?([A-Z]{{3}})(=X)?")


class Symbol(str):
    """A platform's name of an asset, kept as it is written."""

    __slots__ = ()
    expected: ClassVar[str] = (
        f"1 to {MAX_SYMBOL_LENGTH} visible characters, with single spaces at most between them"
    )

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a name; raise ValueError if it is too long, or could not be seen or told apart in a log."""
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_SYMBOL_LENGTH or not value.isprintable():
            raise ValueError
        if value != " ".join(value.split()):
            raise ValueError
        return cls(value)


class Derived(NamedTuple):
    """The ticker and the type that follow from a symbol."""

    polygon_ticker: str
    asset_type: AssetType


def derive(symbol: str, asset_type: AssetType | None = None) -> Derived | None:
    """Return the ticker and the type of a pair of known names, of this type if one is given; else None.

    A stock and an index are named by their ticker, so they follow only where their type is given, or an
    index's prefix: AAPL alone may be anything. A stock's case counts.

    Two currencies or metals are forex, a coin before a currency is crypto. Case, one separator between the
    two, a ticker's prefix and Yahoo's `=X` do not count. Every currency has three letters and no coin is
    named like one, so that no symbol can be read in two ways.
    """
    for one in CLASSES:
        if one.is_named_by_ticker and (
            one.asset_type is asset_type or (asset_type is None and one.prefix and one.has_ticker(symbol))
        ):
            return _named(symbol, one)
    match = _PAIR.fullmatch(symbol.upper()) if symbol.isascii() else None
    if match is None:
        return None
    prefix, base, quote, yahoo = match.groups()
    for one in CLASSES:
        if base in one.bases and quote in one.quotes and base != quote and (one.is_on_yahoo or not yahoo):
            fits = asset_type in (None, one.asset_type) and prefix in (None, one.prefix)
            return Derived(f"{one.prefix}{base}{quote}", one.asset_type) if fits else None
    return None


def _named(symbol: str, of: AssetClass) -> Derived | None:
    """Return the ticker that is a symbol with the prefix of its class; None if it could be no ticker."""
    name = symbol.upper().removeprefix(of.prefix) if of.prefix else symbol
    return Derived(of.prefix + name, of.asset_type) if re.fullmatch(of.name_pattern, name) else None


def plain(symbol: str) -> str:
    """Return a symbol without case and separators. A symbol of separators only stays as it is."""
    from unicodedata import normalize  # for a check only

    folded = normalize("NFKC", symbol).casefold()
    return "".join(filter(str.isalnum, folded)) or folded


def did_you_mean(symbol: str, names: Iterable[str]) -> str:
    """Return the question whether one of these names is meant that differs in case or separators only; an
    empty text if none does."""
    near = [name for name in names if plain(name) == plain(symbol)]
    return f"did you mean {' or '.join(near)}?" if near else ""


class Doubt(NamedTuple):
    """What is allowed, but most likely a mistake, and what to do about it."""

    words: str
    hint: str


def doubts_of_rules(rules: Iterable[Rule]) -> Iterator[Doubt]:
    """Yield the names in rules that are unknown here: such a rule has no members."""
    for rule in rules:
        for code in rule.exchange:
            if code not in EXCHANGES:
                meant = exchange_meant(code)
                advice = f"did you mean {meant}? " if meant else ""
                yield Doubt(
                    f"rule {rule.key}: {code} is no exchange of US stocks that is known here",
                    f"{advice}known are {', '.join(EXCHANGES)}",
                )
        for quote in rule.quote:
            if quote not in CURRENCIES | METALS | COINS:
                yield Doubt(
                    f"rule {rule.key}: {quote} is no currency that is known here",
                    "write the one in which the pairs are quoted, such as USD",
                )


def exchange_meant(written: str) -> str | None:
    """Return the code of the exchange that is most likely meant by another name or a misspelt code."""
    names = {name: code for code, others in EXCHANGES.items() for name in (*others, code)}
    near = near_word(written, list(names))
    return names[near] if near else None


def lookalikes(symbols: Iterable[str]) -> list[str]:
    """Return a line for symbols that differ in nothing but case or separators.

    Most often one of them is meant.
    """
    groups: dict[str, list[str]] = {}
    for symbol in symbols:
        groups.setdefault(plain(symbol), []).append(symbol)
    return [
        f"{', '.join(map(masked_name, group))} differ in nothing but case or separators"
        for group in groups.values()
        if len(group) > 1
    ]
