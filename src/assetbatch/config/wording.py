"""The words of a problem: what was found, and what the type of the setting allows."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from assetbatch.secret import may_be_quoted

_LARGEST_SHOWN = 10**12  # more digits may be a password
_KINDS: dict[type, str] = {
    type(None): "nothing (null)",
    bool: "a boolean",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a mapping",
    set: "a set",
    bytes: "binary data",
    datetime.date: "a date",
    datetime.datetime: "a date with time",
}


def kind_of(value: object) -> str:
    """Return the sort of a value that must not be shown."""
    return _KINDS.get(type(value), "something else")


def shown(value: object) -> str:
    """Return a refused value as a message shows it: quoted only if it cannot be a secret."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date):
        return f"the date {value.isoformat()}"
    if isinstance(value, str):
        return repr(value) if may_be_quoted(value) else "a text that is not shown"
    if isinstance(value, int):
        return str(value) if abs(value) < _LARGEST_SHOWN else "a very large number"
    if isinstance(value, float):
        return repr(value) if may_be_quoted(repr(value)) else "a number that is not shown"
    return kind_of(value)


def named(origin: str) -> str:
    """Return an origin as a hint names it: `DATABASE_URL`, `DB_HOST in .env`, `redis.url in config.yml`."""
    place, _, name = origin.rpartition(" ")
    return f"{name} in {place}" if place not in ("", "env") else name


def allowed(kind: Any) -> str:
    """Return what a type allows, in words: `a whole number of 1 or more`, `one of free, starter`.

    A description in the type's `msgspec.Meta` goes before the words of the type.
    """
    from msgspec import inspect  # needed for a problem only

    def words(kind: inspect.Type) -> str:
        match kind:
            case inspect.Metadata(extra_json_schema={"description": str(description)}):
                return description
            case inspect.Metadata(type=inner):
                return words(inner)
            case inspect.IntType(ge=low, le=high):
                return f"a whole number{_range(low, high)}"
            case inspect.FloatType(ge=low, le=high):
                return f"a number{_range(low, high)}"
            case inspect.BoolType():
                return "true or false"
            case inspect.StrType(pattern=None):
                return "a text"
            case inspect.EnumType(cls=cls):
                return f"one of {', '.join(member.value for member in cls)}"
            case inspect.CustomType(cls=cls):
                return str(cls.expected)  # type: ignore[attr-defined]  # see urls.py
            case inspect.StructType(fields=fields):
                return f"a mapping with the keys {', '.join(field.name for field in fields)}"
            case inspect.UnionType(types=types):
                several = [words(one) for one in types if not isinstance(one, inspect.NoneType)]
                return " or ".join(several if len(several) == len(types) else [*several, "null"])
        raise AssertionError(f"no words for {kind}")  # a setting of a new type: give it words here

    return words(inspect.type_info(kind))


def nearest(value: object, kind: Any) -> str | None:
    """Return the word of the type that is most likely meant, which differs from the value in case or a letter
    or two; None if no word does."""
    if not isinstance(value, str) or not value.isalpha() or not may_be_quoted(value):
        return None
    from msgspec import inspect  # needed for a problem only

    def choices(kind: inspect.Type) -> list[object]:
        match kind:
            case inspect.Metadata(extra_json_schema={"examples": list(examples)}):
                return examples
            case inspect.Metadata(type=inner) | inspect.VarTupleType(item_type=inner):
                return choices(inner)
            case inspect.EnumType(cls=cls):
                return [member.value for member in cls]
            case inspect.LiteralType(values=values):
                return list(values)
            case inspect.UnionType(types=types):
                return [word for one in types for word in choices(one)]
        return []

    return near_word(value, [word for word in choices(inspect.type_info(kind)) if isinstance(word, str)])


def near_word(value: str, words: Sequence[str]) -> str | None:
    """Return the word that differs from a value in case or a letter or two, rather one of the same letters;
    None if no word does."""
    from difflib import get_close_matches  # needed for a problem only

    folded = {word.lower(): word for word in words}
    same = [word for word in folded if sorted(word) == sorted(value.lower())]
    near = same or get_close_matches(value.lower(), folded, 1)
    return folded[near[0]] if near else None


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return ""
    return f" of {low:.12g} or more" if high is None else f" from {low:.12g} to {high:.12g}"
