"""What a terminal sends, as keys."""

from __future__ import annotations

import pytest

from assetbatch.cli.keys import keys_of
from assetbatch.views.terminal.watch import Key


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"/gold\r", ["/", "g", "o", "l", "d", Key.ENTER]),
        (b"\x1b[A\x1bOB", [Key.UP, Key.DOWN]),
        (b"\x1b[5~\x1b[6~", [Key.PAGE_UP, Key.PAGE_DOWN]),
        (b"\x1b[H\x1b[4~", [Key.HOME, Key.END]),
        (b"\x1b", [Key.ESCAPE]),
        (b"\x1bq", [Key.ESCAPE, "q"]),
        (b"\x1b\x1b[A", [Key.ESCAPE, Key.UP]),
        (b"\x7f\x08", [Key.BACKSPACE, Key.BACKSPACE]),
        (b"\x04", [Key.QUIT]),
        ("é€".encode(), ["é", "€"]),
        (b"\xff\xc3q", ["q"]),
        (b"\x1b[1;5Cq", ["q"]),
        (b"\x1b[200~q", ["q"]),
        (b"\x1b[", []),
        (b"\x01\x00\t", []),
        (b"", []),
    ],
)
def test_keys_and_characters_are_told_apart(data: bytes, keys: list[Key | str]) -> None:
    assert list(keys_of(data)) == keys
