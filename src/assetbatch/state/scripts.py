"""The Lua scripts in `lua/`: each decides one thing in Redis, and may be repeated after a lost reply.

A script's head names its KEYS and ARGV. Named values come first in ARGV, as one msgpack map (`options`); ids
and counts follow. `--@include FILE` takes in the text of a helper file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import resources
from typing import Any, NamedTuple, TypeVar

import msgspec

from assetbatch.state.connection import RedisClient, redis_errors

packed = msgspec.msgpack.encode
"""Return a value as a script unpacks it (`cmsgpack.unpack`)."""


T = TypeVar("T")


def in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in parts of at most `size`: a script holds up the server while it runs."""
    for at in range(0, len(items), size):
        yield items[at : at + size]


class Script:
    """The script `lua/<name>.lua` with its includes. Redis runs it by its hash, and gets its text again after
    SCRIPT FLUSH. The text is read when the script is first called: a start uses few of them."""

    def __init__(self, client: RedisClient, name: str) -> None:
        self._client = client
        self._name = name

    @cached_property
    def _registered(self) -> Any:
        return self._client.register_script("\n".join(line.text for line in script_lines(self._name)))

    @property
    def sha(self) -> str:
        """The hash by which the server knows the script."""
        return str(self._registered.sha)

    def __call__(
        self, keys: Sequence[str], *args: object, options: Mapping[str, object] | None = None
    ) -> Any:
        """Run the script with the options, if there are any, before the other arguments.

        Raise RedisError.
        """
        head = [] if options is None else [packed(options)]
        with redis_errors(self._name):
            return self._registered(keys=keys, args=[*head, *args])


class ScriptLine(NamedTuple):
    """A line of a script with its includes, and the file and the number of the line there."""

    text: str
    file: str
    number: int


def script_lines(name: str) -> list[ScriptLine]:
    """Return the lines of a script with its includes."""
    folder = resources.files(__package__) / "lua"

    def read(file: str) -> list[ScriptLine]:
        texts = (folder / file).read_text(encoding="utf-8").splitlines()
        return [ScriptLine(text, file, number) for number, text in enumerate(texts, 1)]

    lines: list[ScriptLine] = []
    for line in read(f"{name}.lua"):
        if line.text.startswith("--@include "):
            lines += read(line.text.removeprefix("--@include ").strip())
        else:
            lines.append(line)
    return lines
