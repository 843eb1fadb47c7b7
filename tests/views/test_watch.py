"""The screen of `status --watch` at any size, and what its keys do."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from assetbatch.health import Health
from assetbatch.views.terminal.watch import Key, Screen, View, pressed, render, render_unread, wanted

from .conftest import NOW_MS, asset, broken, day, health, no_database


def many(count: int = 43) -> Health:
    """Every tenth asset is stale, and number 5 has a name."""
    return health(
        [
            asset(n, state="stale" if n % 10 == 7 else "fresh", name="Norwegian krone" if n == 5 else None)
            for n in range(count)
        ]
    )


def drawn(
    document: Health, width: int = 80, height: int = 24, view: View | None = None, **how: Any
) -> tuple[Screen, list[str]]:
    screen = render(document, day(), view or View(), width=width, height=height, **how)
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(screen.shown, end="")
    return screen, [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def symbols(lines: list[str]) -> list[str]:
    first = next(n for n, line in enumerate(lines) if line.startswith("asset"))
    words = [line.split(" ")[0] for line in lines[first + 1 :]]
    return [word for word in words if word.isupper()]


@pytest.mark.parametrize("height", [3, 5, 8, 12, 16, 24, 40, 60])
@pytest.mark.parametrize("width", [40, 60, 80, 108, 140, 200])
@pytest.mark.parametrize("document", [many(), many(2), broken(43), no_database(), health([], jobs=[])])
def test_fills_a_screen_of_any_size_and_no_more(document: Health, width: int, height: int) -> None:
    _, lines = drawn(document, width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("height", [12, 16, 24, 40])
def test_problems_calls_queue_and_priority_assets_come_first(height: int) -> None:
    _, lines = drawn(broken(43), 80, height)
    places = [
        next(n for n, line in enumerate(lines) if line.startswith(start))
        for start in (
            "unhealthy",
            "! the last run-priority failed",
            "calls",
            "queue",
            "XAUUSD",
            "BTCUSD",
            "SYM",
        )
    ]
    assert places == sorted(places)


def test_what_is_not_well_comes_before_the_others_and_says_how_many_are_left() -> None:
    _, lines = drawn(many())
    assert symbols(lines)[:9] == [
        *("XAUUSD", "EURUSD", "BTCUSD"),
        *("SYM7", "SYM17", "SYM27", "SYM37"),
        *("SYM3", "SYM4"),
    ]
    assert lines[-1].startswith(f"… {43 - len(symbols(lines))} more  ")


def test_room_that_is_left_is_for_the_commands_the_day_and_the_cycles() -> None:
    _, small = drawn(many(5), 80, 10)
    _, large = drawn(many(5), 80, 50)
    for words in ("enqueue-secondary", "calls, 24 h", "3 refreshed"):
        assert not any(words in line for line in small)
        assert any(words in line for line in large)


def test_a_name_is_shown_where_there_is_room() -> None:
    assert not any("Norwegian krone" in line for line in drawn(many(), 100, 24)[1])
    row = next(line for line in drawn(many(), 140, 50)[1] if line.startswith("SYM5 "))
    assert "Norwegian krone" in row
    assert "complete up to now" in row


def test_problems_that_find_no_room_are_counted_and_shown_by_p() -> None:
    screen, lines = drawn(broken(43), 80, 12)
    assert "… 8 more lines (p: all)" in lines
    view = pressed(screen, "p")
    assert view
    _, all_lines = drawn(broken(43), 80, 24, view)
    assert "  is cron running, and does its log say why?" in all_lines
    assert not any(line.startswith("XAUUSD ") for line in all_lines)


def test_is_ascii_where_the_terminal_is() -> None:
    for height in (12, 24, 60):
        for view in (View(), View(first=3), View(find="low", typing=True)):
            assert all(line.isascii() for line in drawn(many(), 80, height, view, plain=True)[1])


def test_an_error_stands_above_what_was_read_before() -> None:
    _, lines = drawn(many(), error="redis cannot be reached")
    assert lines[0] == "error: redis cannot be reached; below is what was read at 08:00:00 UTC"
    assert lines[1].startswith("healthy")


def test_an_error_before_anything_was_read_says_when_it_was_tried_and_names_the_keys() -> None:
    for height in (3, 6, 24):
        screen = render_unread(
            "redis cannot be reached: " + 20 * "words ", NOW_MS, View(), width=60, height=height
        )
        console = Console(file=io.StringIO(), width=60, highlight=False)
        console.print(screen.shown, end="")
        lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
        assert len(lines) == height
        assert lines[0].startswith("error: redis cannot be reached")
        assert "tried at 08:00:00 UTC, and again every few seconds" in lines
        assert lines[-1] == "r now  q quit"


class TestKeys:
    def press(self, document: Health, *keys: Key | str, height: int = 24) -> tuple[View, list[str]]:
        view = View()
        for key in keys:
            screen, _ = drawn(document, 80, height, view)
            after = pressed(screen, key)
            assert after is not None
            view = after
        screen, lines = drawn(document, 80, height, view)
        return screen.view, lines

    def test_scroll_by_lines_and_pages_and_to_the_ends(self) -> None:
        document = many()
        page = len(symbols(drawn(document)[1]))
        order = [one.symbol for one in wanted(document.assets, View())]
        for keys, first in (
            ((Key.DOWN,), 1),
            (("j", "j", "k"), 1),
            ((Key.UP,), 0),
            ((Key.PAGE_DOWN,), page),
            ((" ", "b"), 0),
            ((Key.END,), 43 - page),
            (("G", Key.DOWN), 43 - page),
            ((Key.END, Key.UP), 42 - page),
            ((Key.END, Key.HOME), 0),
        ):
            _, lines = self.press(document, *keys)
            assert symbols(lines) == order[first : first + page], keys

    def test_find_by_symbol_name_priority_asset_class_and_state(self) -> None:
        for words, expected in (
            (
                "sym1",
                ["SYM17", "SYM10", "SYM11", "SYM12", "SYM13", "SYM14", "SYM15", "SYM16", "SYM18", "SYM19"],
            ),
            ("KRONE", ["SYM5"]),
            ("stale low", ["SYM17"]),
            ("crypto", ["BTCUSD"]),
        ):
            view, lines = self.press(many(), "/", *words)
            assert lines[-1].startswith(f"find: {words}_")
            assert symbols(lines) == expected
            assert view.typing

    def test_typing_ends_with_enter_and_is_taken_back_with_escape(self) -> None:
        view, lines = self.press(many(), "/", *"sym5", Key.ENTER, Key.DOWN)
        assert (view.find, view.typing) == ("sym5", False)
        assert lines[-1].startswith("find: sym5  ")
        assert self.press(many(), "/", *"sym5", Key.BACKSPACE, "6")[0].find == "sym6"
        assert self.press(many(), "/", *"sym5", Key.ESCAPE)[0] == View()
        assert self.press(many(), "/", *"sym5", Key.ENTER, Key.ESCAPE)[0] == View()

    def test_letters_that_are_typed_are_no_commands(self) -> None:
        view, _ = self.press(many(), "/", *"wqpr g")
        assert view.find == "wqpr g"

    def test_w_leaves_out_what_is_well(self) -> None:
        _, lines = self.press(many(), "w")
        assert symbols(lines) == ["SYM7", "SYM17", "SYM27", "SYM37"]
        assert lines[-1].startswith("not well  ")
        assert self.press(many(), "w", "w")[0] == View()

    def test_q_ends_it_and_other_keys_do_nothing(self) -> None:
        screen, _ = drawn(many())
        assert pressed(screen, "q") is None
        assert pressed(screen, Key.QUIT) is None
        assert pressed(screen._replace(view=View(typing=True)), Key.QUIT) is None
        for key in ("x", "é", Key.ENTER, Key.BACKSPACE):
            assert pressed(screen, key) == View()
