"""Values that must not be printed, and the one rule for what may be printed of any other value."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

HIDDEN = "***"

_AWKWARD = re.compile(r"[=@;\s]")
_TOKEN = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4,12}){4}|[A-Za-z0-9]{8,}")  # a UUID or a word
_PLAIN = re.compile(r"[A-Za-z0-9_.,:*+{}/-]{0,16}")


def may_be_quoted(text: str) -> bool:
    """Return whether a refused value may stand in a message.

    A refused value may be anything that somebody pasted into the wrong place. So only a short word or a
    number passes: from seven characters on, no letters beside digits.
    """
    if not _PLAIN.fullmatch(text) or "://" in text:
        return False
    if text.isdigit():
        return len(text) <= 12
    return len(text) < 7 or not (re.search(r"[A-Za-z]", text) and re.search(r"[0-9]", text))


def masked(text: str) -> str:
    """Return a value in use (a path, a host, a name) with `***` for each part that may be a secret."""
    return "/".join(map(_masked_part, text.split("/")))


def masked_name(text: str) -> str:
    """Return a name that others have chosen (`EURUSD=X`) with `***` for each part that looks like a key."""
    return _TOKEN.sub(lambda token: HIDDEN if _looks_like_key(token[0]) else token[0], text)


def masked_prose(text: str) -> str:
    """Return the words of a library or a server, which quote input, with `***` for possible secrets."""
    return re.sub(r"\S+", lambda word: _masked_part(word[0]), text)


def _masked_part(part: str) -> str:
    if _AWKWARD.search(part.rstrip(";")) or not part.isprintable():
        return HIDDEN
    return masked_name(part)


def _looks_like_key(token: str) -> bool:
    """Return whether letters and digits alternate as in no name; `postgres16` is a name."""
    if "-" in token:
        return True
    if token.isdigit():
        return len(token) >= 16
    kinds = ["d" if char.isdigit() else "u" if char.isupper() else "l" for char in token]
    pairs = list(pairwise(kinds))
    changes = sum((first == "d") != (second == "d") for first, second in pairs)
    humps = pairs.count(("l", "u"))
    return (
        len(token) >= 24
        or changes >= 2
        or (changes == 1 and (len(token) >= 16 or kinds.count("d") > 4))
        or (humps >= 2 and humps * 5 >= len(token))
    )


class Secret:
    """Holds an API key or a password. `repr`, `str` and formatting show a mask, `reveal()` the value.

    Instead of the value it may hold a function that returns it, which the first `reveal()` calls. `name` says
    where the secret is configured, for hints.
    """

    __slots__ = ("_value", "name")

    def __init__(self, value: str | Callable[[], str], name: str = "") -> None:
        self._value = value
        self.name = name

    def reveal(self) -> str:
        """Return the value itself. Call it only to hand the value to a library."""
        if not isinstance(self._value, str):
            self._value = self._value()
        return self._value

    @property
    def is_known(self) -> bool:
        """Return whether `reveal()` has nothing left to do."""
        return isinstance(self._value, str)

    def __repr__(self) -> str:
        return f"Secret('{HIDDEN}')"

    def __str__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __bool__(self) -> bool:
        return not self.is_known or bool(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")
