"""Strings as PostgreSQL takes them."""

from __future__ import annotations


def storable(text: str) -> str:
    """The text without what aborts a statement: NUL and lone surrogates become U+FFFD."""
    if text.isascii() and "\x00" not in text:  # what nearly all are
        return text
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters, with an ellipsis at the end where something was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
