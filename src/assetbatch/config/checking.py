"""Turns the values of a file into typed settings, or into a list of all its problems."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from assetbatch.config.settings import ASSET_LISTS, SECTIONS, Config, RuleSettings
from assetbatch.config.tables import TableMappings
from assetbatch.config.wording import allowed, kind_of, nearest, shown
from assetbatch.secret import HIDDEN, may_be_quoted

if TYPE_CHECKING:
    from msgspec import inspect

S = TypeVar("S", bound=msgspec.Struct)
KeyPath = tuple[object, ...]

_UNFIT = (msgspec.ValidationError, UnicodeEncodeError)  # the latter: a lone surrogate in a text


class ConfigProblem(NamedTuple):
    """One thing that is wrong at `path`.

    `kind` is the type that a shown value did not fit. `line` is set if the path does not lead to the line.
    """

    path: KeyPath
    text: str
    kind: Any = None
    line: int | None = None


def convert(value: object, kind: Any) -> Any:
    """Return the value as a setting of type `kind`; raise msgspec.ValidationError."""
    return msgspec.convert(value, kind, dec_hook=_parse)


def _parse(kind: Any, value: object) -> object:
    """Let the types of urls.py read their own values."""
    return value if isinstance(value, kind) else kind.parse(value)


def fits(value: object, kind: Any) -> bool:
    """Return whether the value is allowed for a setting of this type."""
    try:
        convert(value, kind)
    except _UNFIT:
        return False
    return True


def build(
    kind: type[S], raw: object, path: KeyPath, problems: list[ConfigProblem], others: Sequence[str] = ()
) -> S | None:
    """Return a section or an asset from a mapping.

    Add all its problems to the list, and return None if it has any.

    `others` are keys that are read elsewhere. They are named among the allowed ones.
    """
    try:
        return convert(raw, kind)  # type: ignore[no-any-return]  # it is a `kind`
    except _UNFIT:
        problems.extend(_explain(kind, raw, path, others))
        return None


def _explain(kind: type[S], raw: object, path: KeyPath, others: Sequence[str]) -> Iterator[ConfigProblem]:
    """Yield all problems of a mapping. msgspec names only the first."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    names = [*fields, *others]
    if not isinstance(raw, dict):
        yield ConfigProblem(
            path, f"found {kind_of(raw)}, expected a mapping with the keys {', '.join(names)}"
        )
        return
    for key in raw:
        if key not in fields:
            yield unknown_key(path, key, names)
            if (meant := _meant(key, names)) in fields and meant not in raw:  # its value may be wrong too
                yield from validation_errors(raw[key], fields[meant].type, (*path, key))
    for name, field in fields.items():
        of = getattr(field.type, "__origin__", field.type)  # without its Annotated
        if name in raw and isinstance(of, type) and issubclass(of, msgspec.Struct):
            if not fits(raw[name], of):
                yield from _explain(of, raw[name], (*path, name), ())
        elif name in raw:
            yield from validation_errors(raw[name], field.type, (*path, name))
        elif field.required and not any(_meant(key, names) == name for key in raw if key not in fields):
            yield ConfigProblem((*path, name), f"missing, expected {allowed(field.type)}")


def validation_errors(value: object, kind: Any, path: KeyPath) -> list[ConfigProblem]:
    """Return the problem of one value, or those of each value of a list; none if it fits."""
    try:
        convert(value, kind)
    except _UNFIT as error:
        cause = error.__cause__
        if isinstance(cause, ValueError) and (said := str(cause)):  # the type's own parser has said it
            return [ConfigProblem(path, said)]
        if isinstance(value, list) and (unfit := _unfit_of(value, kind, path)):
            return unfit
        near = nearest(value, kind)
        advice = f"did you mean {near}? " if near else ""
        return [ConfigProblem(path, f"found {shown(value)}, {advice}expected {allowed(kind)}", kind)]
    return []


def _unfit_of(values: list[object], kind: Any, path: KeyPath) -> list[ConfigProblem]:
    """Return the problems of the values of a list that do not fit, if a list is allowed."""
    from msgspec import inspect  # needed for a problem only

    of = _without_words(inspect.type_info(kind))
    if isinstance(of, inspect.UnionType):  # one value, or a list of such values
        if not any(isinstance(_without_words(one), inspect.VarTupleType) for one in of.types):
            return []
        return [
            problem
            for place, one in enumerate(values)
            for problem in validation_errors(one, kind, (*path, place))
        ]
    if not isinstance(of, inspect.VarTupleType) or not isinstance(of.item_type, inspect.EnumType):
        return []
    return [
        problem
        for place, one in enumerate(values)
        for problem in validation_errors(one, of.item_type.cls, (*path, place))
    ]


def _without_words(of: inspect.Type) -> inspect.Type:
    from msgspec import inspect

    while isinstance(of, inspect.Metadata):
        of = of.type
    return of


def unknown_key(path: KeyPath, key: object, names: list[str]) -> ConfigProblem:
    """Return the problem of a key that does not exist, with the nearest key that does."""
    advice = f"expected one of {', '.join(names)}"
    if re.search(r"api_?key", str(key), re.IGNORECASE):
        advice = "the API key belongs into the environment or a .env, as POLYGON_API_KEY"
    elif near := _meant(key, names):
        advice = f"did you mean {near}? {advice}"
    step = key if isinstance(key, str) else shown(key)
    return ConfigProblem((*path, step), f"unknown key, {advice}")


def _meant(key: object, names: Sequence[str]) -> str | None:
    """Return the name that is nearest to an unknown key: misspelt, or a part of it, as
    `type` is of `asset_type`."""
    from difflib import get_close_matches  # needed for a problem only

    near = get_close_matches(str(key), names, 1)
    parts = [name for name in names if str(key) in name.split("_")]
    return next(iter([*near, *parts[: len(parts) == 1]]), None)


@cache
def _names() -> frozenset[str]:
    """Return the names of all keys."""
    kinds: tuple[type[msgspec.Struct], ...] = (
        *SECTIONS.values(),
        *ASSET_LISTS.values(),
        RuleSettings,
        Config,
        TableMappings,
    )
    return frozenset(name for kind in kinds for name in kind.__struct_fields__)


def _is_nearly_a_name(word: str) -> bool:
    """Return whether a word is one of our keys but for a letter or two: it is then no secret."""
    from difflib import get_close_matches  # needed for a problem only

    return len(word) <= 32 and bool(get_close_matches(word, _names(), 1, 0.85))


def dotted(path: KeyPath) -> str:
    """Return `priority_assets[1].symbol` for `("priority_assets", 1, "symbol")`. An unknown key is masked."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            word = str(step)
            plain = (
                word in _names()
                or (may_be_quoted(word) and re.fullmatch(r"[\w-]+", word))
                or re.fullmatch(r"(?=.{,32}$)[a-z]+(_[a-z]+)+", word)  # most often a name misspelt
                or _is_nearly_a_name(word)
            )
            text += f"{'.' if text else ''}{word if plain else HIDDEN}"
    return text
