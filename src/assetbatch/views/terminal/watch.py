"""The status on a screen of any size, and how keys move it.

What matters most is there on the smallest screen: problems, calls, queue, priority assets. Other assets
follow as far as there are lines, then the commands, the last 24 hours and the cycles.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

from rich.console import Console, RenderableType
from rich.segment import Segment, SegmentLines
from rich.text import Text

from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.formatting import iso
from assetbatch.domain.metrics import Series
from assetbatch.health import AssetHealth, Health
from assetbatch.views.terminal.status import (
    COLUMNS,
    assets_table,
    cells_of,
    clock,
    cycles,
    failures,
    headline,
    job_rows,
    labelled,
    lacks,
    last_day,
    plan_rows,
    problems,
    room_for,
)

Line = list[Segment]

COMPACT = 18
"""Minimum number of lines of a screen on which calls and queue take more than a line each."""

ROOMY = 30
"""Minimum number of lines of a screen on which parts are set apart by blank lines."""

PROBLEM_SHARE = 3
"""Problems take at most the third part of the lines; `p` gives them all."""

LONGEST_SYMBOL = 16
"""Maximum number of characters of a symbol: the table does not move while one scrolls."""


_LEFT_OUT = ((76, ("market", "bars")), (54, ("behind", "day")))
"""Columns that a screen with less than so many characters does not show."""


class Key(Enum):
    """A key that is no character."""

    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    HOME = auto()
    END = auto()
    ENTER = auto()
    ESCAPE = auto()
    BACKSPACE = auto()
    QUIT = auto()


class View(NamedTuple):
    """What one has chosen to see.

    `first` is the place of the first asset that is shown, `find` the words that are searched. `typing`: keys
    are letters of these words. `only_unwell` leaves out what is well, `all_problems` the assets.
    """

    first: int = 0
    find: str = ""
    typing: bool = False
    only_unwell: bool = False
    all_problems: bool = False


class Screen(NamedTuple):
    """What is shown, and of which view: `first` lies within the assets. `page` is the number of assets that
    the screen has room for."""

    shown: RenderableType
    view: View
    page: int
    found: int


def pressed(screen: Screen, key: Key | str) -> View | None:
    """Return the view after a key; None if it ends the program."""
    view, page = screen.view, max(1, screen.page)
    if view.typing:
        return _typed(view, key)
    match key:
        case Key.QUIT | "q" | "Q":
            return None
        case Key.UP | "k":
            return view._replace(first=max(0, view.first - 1))
        case Key.DOWN | "j":
            return view._replace(first=view.first + 1)
        case Key.PAGE_UP | "b":
            return view._replace(first=max(0, view.first - page))
        case Key.PAGE_DOWN | " ":
            return view._replace(first=view.first + page)
        case Key.HOME | "g":
            return view._replace(first=0)
        case Key.END | "G":
            return view._replace(first=screen.found)
        case "/":
            return view._replace(typing=True, all_problems=False)
        case "w":
            return view._replace(only_unwell=not view.only_unwell, first=0, all_problems=False)
        case "p":
            return view._replace(all_problems=not view.all_problems)
        case Key.ESCAPE:
            return View()
        case _:
            return view


def _typed(view: View, key: Key | str) -> View | None:
    match key:
        case Key.QUIT:
            return None
        case Key.ENTER:
            return view._replace(typing=False)
        case Key.ESCAPE:
            return view._replace(typing=False, find="", first=0)
        case Key.BACKSPACE:
            return view._replace(find=view.find[:-1], first=0)
        case str():
            return view._replace(find=view.find + key, first=0)
        case _:
            return view


def render(
    health: Health,
    series: Mapping[str, Series],
    view: View,
    *,
    width: int,
    height: int,
    plain: bool = False,
    error: str | None = None,
) -> Screen:
    """Return a screen of exactly so many columns and at most so many lines.

    `error` is why the health document is an older one. `plain` keeps to ASCII.
    """
    parts = _Parts(width, height, plain)
    gap = [parts.blank()] if height >= ROOMY else []
    top = parts.lines(headline(health))
    if error:
        words = Text(f"error: {error}; below is what was read at {clock(health.checked_at)}", style="red")
        top = parts.cut(parts.lines(words), 3) + top
    rows = plan_rows(health, plain)
    core = parts.lines(labelled(rows[1:3])) if height >= COMPACT else parts.short(rows[1:3])
    wrong = [line for one in problems(health) for line in parts.lines(one)]
    room = height - len(top) - 1  # of the keys
    lacking = [line for one in lacks(health) for line in parts.lines(one)]
    if view.all_problems:
        wrong += lacking
        shown = parts.cut(wrong or parts.lines(Text("nothing is wrong")), room)
        return parts.screen([*top, *shown], view, page=0, found=0, below=0)
    wrong = parts.cut(wrong, max(1, min(room - len(core), room // PROBLEM_SHARE)), " (p: all)")
    lines = [*top, *wrong, *gap, *parts.cut(core, max(0, room - len(wrong)))]

    found = wanted(health.assets, view)
    lines += gap if found else []
    page = max(0, height - len(lines) - 2)  # the head of the table, and the keys
    view = view._replace(first=max(0, min(view.first, len(found) - page)))
    some = found[view.first : view.first + page]
    if page and health.assets:
        lines += parts.assets(health.assets, some)
    for part in (
        lacking,
        parts.lines(labelled([rows[0], *rows[3:], *job_rows(health)])),
        parts.lines(failures(health)) if health.failures else [],
        parts.lines(last_day(health, series, width, plain)),
        parts.lines(cycles(health)) if health.cycles else [],
    ):
        if part and len(lines) + len(gap) + len(part) < height:
            lines += [*gap, *part]
    return parts.screen(lines, view, page=page, found=len(found), below=len(found) - view.first - len(some))


def render_unread(error: str | None, at_ms: int, view: View, *, width: int, height: int) -> Screen:
    """Return the screen for when nothing could be read yet: why, when it was tried, and the keys.

    `at_ms` is the end of the last reading; without an `error` the first one is under way.
    """
    parts = _Parts(width, height, plain=True)
    if error is None:
        lines = parts.lines(Text("reading the status", style="dim"))
    else:
        lines = parts.lines(Text(f"error: {error}", style="red"))
        tried = Text(f"tried at {clock(iso(at_ms))}, and again every few seconds", style="dim")
        lines = [*lines[: max(1, height - 2)], *parts.lines(tried)]
    lines = lines[: height - 1]
    lines += [parts.blank() for _ in range(height - 1 - len(lines))]
    keys = Text("r now  q quit", style="dim", no_wrap=True, overflow="crop")
    return Screen(SegmentLines([*lines, *parts.lines(keys)], new_lines=True), view, 0, 0)


def wanted(assets: Sequence[AssetHealth], view: View) -> list[AssetHealth]:
    """Return the assets in the order in which they are shown: priority, those with an entry of their own, the
    members of rules; of each first what is not well."""
    words = view.find.lower().split()
    found = [
        asset
        for asset in assets
        if not (view.only_unwell and asset.state.is_well) and all(word in _searched(asset) for word in words)
    ]
    return sorted(
        found,
        key=lambda asset: (asset.priority is not AssetPriority.CRITICAL, asset.by_rule, asset.state.is_well),
    )


def _searched(asset: AssetHealth) -> str:
    words = (asset.symbol, asset.name or "", asset.priority, asset.asset_type, asset.state.label)
    return " ".join(words).lower()


class _Parts:
    """Makes lines of a width."""

    def __init__(self, width: int, height: int, plain: bool) -> None:
        self._width, self._height, self._plain = width, height, plain
        self._console = Console(
            width=width, file=io.StringIO(), highlight=False, emoji=False, markup=False, force_terminal=True
        )

    def lines(self, shown: RenderableType) -> list[Line]:
        return self._console.render_lines(shown)

    def short(self, rows: Sequence[tuple[str, str]]) -> list[Line]:
        """Return one line for each row, cut at its end."""
        cut = "crop" if self._plain else "ellipsis"
        texts = (Text(f"{label}  {words}", no_wrap=True, overflow=cut) for label, words in rows)  # type: ignore[arg-type]
        return [line for text in texts for line in self.lines(text)]

    def blank(self) -> Line:
        return [Segment(" " * self._width)]

    def cut(self, lines: list[Line], room: int, how: str = "") -> list[Line]:
        """Return at most `room` lines; the last says how many are left out."""
        if len(lines) <= room or room <= 0:
            return lines[: max(0, room)]
        left = len(lines) - room + 1
        return [*lines[: room - 1], *self.lines(self._one(f"{self._more} {left} more lines{how}"))]

    def assets(self, all_assets: Sequence[AssetHealth], some: Sequence[AssetHealth]) -> list[Line]:
        longest = min(LONGEST_SYMBOL, max(len(asset.symbol) for asset in all_assets))
        room = room_for(all_assets, self._width)
        left_out = {name for least, names in _LEFT_OUT for name in names if self._width < least}
        columns = [column for column in COLUMNS if column not in left_out]
        table = assets_table(room, longest, columns)
        for asset in some:
            table.add_row(*cells_of(asset, room, columns))
        return self.lines(table)

    def screen(self, lines: list[Line], view: View, *, page: int, found: int, below: int) -> Screen:
        lines = lines[: self._height - 1]
        lines += [self.blank() for _ in range(self._height - 1 - len(lines))]
        lines += self.lines(self._keys(view, page, found, below))
        return Screen(SegmentLines(lines, new_lines=True), view, page, found)

    @property
    def _more(self) -> str:
        return "..." if self._plain else "…"

    def _one(self, words: str) -> Text:
        return Text(words, style="dim", no_wrap=True, overflow="crop")

    def _keys(self, view: View, page: int, found: int, below: int) -> Text:
        """Return the last line: what is left out, what is searched, and the keys."""
        text = Text(no_wrap=True, overflow="crop")
        if view.typing:
            text.append(f"find: {view.find}_", style="bold")
            return text.append("  enter keeps it, esc leaves it", style="dim")
        if view.find:
            text.append(f"find: {view.find}  ", style="bold")
        if view.only_unwell:
            text.append("not well  ", style="bold")
        if view.find and not found:
            text.append("none  ")
        if below > 0:
            text.append(f"{self._more} {below:,} more  ", style="bold")
        if view.first:
            text.append(f"{view.first:,} above  ")
        arrows = "up down" if self._plain else "↑↓"
        scrolls = f"{arrows} scroll  " if found > page else ""
        back = "p back" if view.all_problems else "p problems"
        return text.append(f"{scrolls}/ find  w not well  {back}  r now  q quit", style="dim")
