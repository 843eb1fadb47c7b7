"""Strings as PostgreSQL takes them."""

from __future__ import annotations

import codecs
from functools import cache

PLAIN = "ASCII"
"""In place of an encoding: only ASCII, which every server takes."""

_CODECS = {
    "EUC_TW": "ascii",  # Python has no codec for these two
    "MULE_INTERNAL": "ascii",
    "SQL_ASCII": "utf-8",  # takes any bytes; ours are UTF-8
    "KOI8R": "koi8_r",
    "KOI8U": "koi8_u",
    "WIN866": "cp866",
    "WIN874": "cp874",
}
"""The codecs of the server encodings whose names Python does not know."""


def storable(text: str, encoding: str | None = None) -> str:
    """Return the text without what aborts a statement.

    NUL and lone surrogates become U+FFFD. What the server's `encoding` (a name of PostgreSQL's; UTF-8 if
    None) cannot hold becomes a question mark.
    """
    if text.isascii() and "\x00" not in text:  # what nearly all are
        return text
    sound = text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    codec = _codec(encoding or "UTF8")
    return sound if codec == "utf-8" else sound.encode(codec, "replace").decode(codec)


@cache
def _codec(encoding: str) -> str:
    """Return the name of Python's codec for a server encoding; that of ASCII where there is none."""
    known = _CODECS.get(encoding) or encoding.replace("WIN", "cp")
    try:
        return codecs.lookup(known).name
    except LookupError:
        return "ascii"


def shortened(text: str, limit: int) -> str:
    """Return at most `limit` characters, with an ellipsis at the end where something was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
