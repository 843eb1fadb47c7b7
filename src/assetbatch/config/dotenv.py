"""Reads a `.env` file: KEY=VALUE lines with quotes, comments and `export`."""

from __future__ import annotations

import re

_LINE = re.compile(
    r"""[^\S\n]*(?:
        (?:\#[^\n]*)?                                        # nothing, or a comment
      | (?:export[^\S\n]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[^\S\n]*=
        (?: [^\S\n]*'(?P<single>[^']*)'                      # as it is, also over several lines
          | [^\S\n]*"(?P<double>(?:[^"\\]|\\.)*)"            # with escapes, also over several lines
          | (?![^\S\n]*['"])(?P<bare>[^\n]*?)                # up to a comment
        )
        (?:[^\S\n]+\#[^\n]*)?
    )[^\S\n]*(?:\n|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def parse_dotenv(text: str) -> dict[str, str]:
    r"""Return the variables of a `.env`. The last of two with one name counts, as in a shell.

    Values stay as they are; `$NAME` is not filled in. In double quotes `\n`, `\"` and
    `\\` are escapes. Lines end with LF, CRLF or CR. Raise ValueError that names the line (not its
    text) that is none of this.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    variables: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _LINE.match(text, at)
        if match is None or "\0" in match[0]:
            line = text.count("\n", 0, at) + 1
            raise ValueError(f"line {line}: found no KEY=VALUE, or a quote that is not closed")
        if name := match["name"]:
            if match["double"] is not None:
                value = re.sub(r"(?s)\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), match["double"])
            else:
                value = match["single"] if match["single"] is not None else match["bare"].strip()
            variables[name] = value
        at = match.end()
    return variables
