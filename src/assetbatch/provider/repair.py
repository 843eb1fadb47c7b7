"""Repairs bodies that are not quite JSON: it cuts out a bad text or element, and keeps the rest.

Only a body that could not be decoded comes here: the repair is a pass in Python over every string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

LONGEST = 16 * 2**20
"""Maximum size of a body that is repaired, in bytes. The provider's largest answer is a third of it."""

NO_NUMBER = "1e300"
"""Replacement of NaN, Infinity and numbers that no double holds. Null would not be true, and this is no
price."""

_NUMBER = re.compile(
    r"(?<=[:\[,\s])-?(?:NaN|Infinity|[0-9]++(?:\.[0-9]++)?[eE]\+?[0-9]{3,}|[0-9]{300,})(?=[,\]}\s])"
)
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'  # one that does not end is one too: each character is read once
_STRINGS = re.compile(_STRING, re.DOTALL)
_IN_STRING = re.compile(
    r"[\x00-\x1f]"
    r"|\\(?![\"\\/bfnrtu])"
    r"|\\\\"  # a backslash that is meant: nothing after it is an escape
    r"|\\u(?![0-9A-Fa-f]{4})"
    r"|\\u[dD][89abAB][0-9A-Fa-f]{2}(?:\\u[dD][c-fC-F][0-9A-Fa-f]{2})?"
    r"|\\u[dD][c-fC-F][0-9A-Fa-f]{2}"
)
_BRACKETS = re.compile(rf"({_STRING})|[\[\]{{}},]", re.DOTALL)
_LISTS = ('"results"', '"tickers"')


def repaired(body: bytes | bytearray | memoryview) -> bytes | None:
    """Return the body as JSON without its bad parts, or None if that is impossible.

    Bytes that are no UTF-8 and halves of surrogate pairs become U+FFFD, control characters become spaces,
    impossible numbers become `NO_NUMBER`. An element of the list of results that is still no JSON becomes
    null.
    """
    if len(body) > LONGEST:
        return None
    text = _NUMBER.sub(NO_NUMBER, bytes(body).decode("utf-8", "replace"))
    if not _is_json(text):
        text = _STRINGS.sub(lambda string: _IN_STRING.sub(_mended_character, string[0]), text)
    if not _is_json(text):
        text = _without_broken_elements(text)
    return text.encode() if _is_json(text) else None


def _mended_character(found: re.Match[str]) -> str:
    said = found[0]
    if said == "\\\\" or len(said) == 12:  # a pair of surrogates is a character
        return said
    if said.startswith("\\u") and len(said) == 6:
        return "\ufffd"
    return " " if len(said) == 1 and said != "\\" else ""


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _without_broken_elements(text: str) -> str:
    found = _list_within(text)
    if found is None:
        return text
    start, end, commas = found
    borders = [start, *(comma + 1 for comma in commas)]
    elements = [text[first:last] for first, last in zip(borders, [*commas, end], strict=True)]
    kept = (element if _is_json(element) else "null" for element in elements if element.strip())
    return f"{text[:start]}{','.join(kept)}{text[end:]}"


def _list_within(text: str) -> tuple[int, int, list[int]] | None:
    """Return the inside of the list of results, `[start, end)`, and the commas between its elements."""
    start, commas = None, []
    for depth, at, token, key in _tokens(text):
        if start is None:
            if token == "[" and depth == 2 and key in _LISTS:
                start = at + 1
        elif token == "," and depth == 2:
            commas.append(at)
        elif depth == 1:
            return start, at, commas
    return None


def _tokens(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield each bracket and comma with the depth after it, its place, and the last string before it."""
    depth, key = 0, ""
    for found in _BRACKETS.finditer(text):
        token = found[0]
        if found[1]:
            key = token
            continue
        depth += (token in "[{") - (token in "]}")
        yield depth, found.start(), token, key
