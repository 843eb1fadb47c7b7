"""The health document as a page for a terminal: problems first, then what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.formatting import format_duration, plural
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.metrics import CALLS, PRIORITY_LATENCY, QUEUE_LATENCY, QUEUE_SIZE, Series
from assetbatch.domain.status import AssetState
from assetbatch.health import AssetHealth, Health
from assetbatch.views import facts
from assetbatch.views.terminal.sparkline import How, sparkline
from assetbatch.views.terminal.style import asset_table_price, colour_of, share

BAR_WIDTH = 20
NARROW = 80
WIDE = 108
"""Minimum number of columns that leave room for what explains a state."""

COLUMNS = ("asset", "price", "day", "age", "behind", "bars", "market", "state")

COLUMNS_WIDTH = 76
"""Maximum width of these columns, the spaces between them included."""

NAME = (12, 32)
"""Number of characters of a name that are shown: at least, or none are, and at most."""

ROWS = 40
"""Maximum number of assets that are all shown.

With more, those of a priority that are fresh become one line, and of any other state the first few are shown.
Members of rules do not count for the assets that have an entry of their own.
"""

FAILURES = 5
"""Maximum number of failures that are shown."""

SHOWN_OF_A_STATE = 3
"""Maximum number of assets that are shown of a state then."""


def render(
    health: Health,
    series: Mapping[str, Series],
    *,
    width: int = NARROW,
    plain: bool = False,
    rows: int = ROWS,
) -> RenderableType:
    """Return the whole page for a terminal of `width` columns.

    `plain` keeps to ASCII. More than `rows` assets are summed up by priority and state, the priority assets
    never, and members of rules before all others.
    """
    parts: list[RenderableType] = [headline(health), *problems(health), *lacks(health)]
    if health.assets:
        parts += [Text(), _assets(health.assets, width, rows)]
    parts += [Text(), labelled([*plan_rows(health, plain), *job_rows(health)])]
    day = last_day(health, series, width, plain)
    if day.row_count:
        parts += [Text(), day]
    if health.cycles:
        parts += [Text(), cycles(health)]
    if health.failures:
        parts += [Text(), failures(health)]
    return Group(*parts)


def ending(health: Health, page: RenderableType, console: Console) -> RenderableType | None:
    """Return the problems and the verdict again, if the page is taller than the terminal, whose end stays
    in sight."""
    if not console.is_terminal or len(console.render_lines(page)) < console.height:
        return None
    wrong = [line for one in problems(health) for line in console.render_lines(one)]
    room = max(0, console.height - 3)  # of the blank line, the verdict and the prompt
    return Group(Text(), SegmentLines(wrong[:room], new_lines=True), headline(health))


def headline(health: Health) -> Text:
    """Return the verdict and how many assets are fresh."""
    text = Text()
    text.append(health.status, style=f"bold {colour_of(health.status)}")
    if not health.database_error:
        text.append(f"  {facts.fresh(health.assets)}")
        if by_product := facts.fresh_by_product(health.assets):
            text.append(f" ({by_product})", style="dim")
    text.append(f"  {_minute(health.checked_at)}", style="dim")
    if health.plan["simulated"]:
        text.append("  (sandbox: simulated prices)", style="dim")
    return text


def problems(health: Health) -> list[RenderableType]:
    """Return what is wrong and what to do about it."""
    lines: list[RenderableType] = []
    for problem in facts.problems(health):
        lines.append(_hanging(Text(f"! {problem.message}", style=colour_of(problem.severity))))
        if problem.hint:
            lines.append(_hanging(Text(f"  {problem.hint}")))
    return lines


def lacks(health: Health) -> list[RenderableType]:
    """Return what the plan lacks, where there is a larger one, and how long its pages of bars are."""
    lines: list[RenderableType] = []
    for refusal in health.plan["refusals"]:
        lines.append(_hanging(Text(f"- {refusal}", style="dim")))
    if health.plan["refusals"]:
        lines.append(Text(f"  upgrade: {health.plan['upgrade_url']}", style="dim"))
    return lines + [_hanging(Text(f"- {length}", style="dim")) for length in health.plan["pages"]]


def _hanging(text: Text) -> RenderableType:
    """Return a line whose further lines stand below its words, not below its mark."""
    table = Table.grid(padding=0)
    table.add_column(width=2)
    table.add_column(overflow="fold")
    table.add_row(text[:2], text[2:])
    return table


def assets_table(room: Room, symbol_width: int | None = None, columns: Sequence[str] = COLUMNS) -> Table:
    """Return a table of assets without rows.

    A long symbol takes two lines, not room from the others. With a `symbol_width` it is cut, and the columns
    keep their places whatever the rows are.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    name, *others = columns
    if symbol_width is None:
        table.add_column(name, overflow="fold")
    else:
        table.add_column(name, width=symbol_width, no_wrap=True, overflow="ellipsis")
    if room.name:
        table.add_column("name", width=room.name, no_wrap=True, overflow="ellipsis")
    for other in others:
        is_figure = other not in ("market", "state")
        least = None if symbol_width is None else 10 if other == "price" else 7 if is_figure else 6
        table.add_column(other, justify="right" if is_figure else "left", no_wrap=True, min_width=least)
    if room.why:
        table.add_column("", no_wrap=True)
    return table


class Room(NamedTuple):
    """How many characters there are for an asset's name and for why it is in its state."""

    name: int
    why: int


def room_for(assets: Sequence[AssetHealth], width: int) -> Room:
    """Return the room that a terminal of `width` columns has. A name takes none from a state's reason."""
    if width < WIDE:
        return Room(0, 0)
    left = width - COLUMNS_WIDTH
    longest = max((len(asset.name) for asset in assets if asset.name), default=0)
    room = min(longest, NAME[1], left - 2 - (WIDE - COLUMNS_WIDTH))
    return Room(room, left - room - 2) if room >= min(longest, NAME[0]) > 0 else Room(0, left)


def _assets(assets: Sequence[AssetHealth], width: int, rows: int) -> Table:
    """Return the assets by priority: first those with an entry of their own, then the members of rules, which
    hide none of them."""
    room = room_for(assets, width)
    table = assets_table(room)
    own = [asset for asset in assets if not asset.by_rule]
    members = [asset for asset in assets if asset.by_rule]
    are_several = len(facts.products(assets)) > 1
    _add_by_priority(table, own, room, are_several=are_several, summed_up=len(own) > rows)
    if members:
        table.add_row(Text("by rule", style="bold dim"))
        _add_by_priority(table, members, room, are_several=are_several, summed_up=len(assets) > rows)
    return table


def _add_by_priority(
    table: Table, assets: Sequence[AssetHealth], room: Room, *, are_several: bool, summed_up: bool
) -> None:
    """Add a row for each asset below its priority, and its product if there `are_several`. `summed_up`: a row
    for many, the priority assets never."""
    for priority in AssetPriority:
        of_priority = facts.products(asset for asset in assets if asset.priority is priority)
        for product, members in of_priority.items():
            head = [Text(priority.value, style="dim")]
            if are_several:  # beside it: the column of the symbols may be narrow
                head += [*[Text()] * bool(room.name), Text(product.value, style="dim")]
            table.add_row(*head)
            if not summed_up or priority is AssetPriority.CRITICAL:
                shown, summed = members, Counter[AssetState]()
            else:
                shown, summed = _summed_up(members)
            for asset in shown:
                table.add_row(*cells_of(asset, room))
            for left, count in summed.items():
                words = Text(left.label, style=colour_of(left))
                between = len(COLUMNS) - 2 + bool(room.name)
                table.add_row(Text(f"{count:,} more", style="dim"), *[""] * between, words)


def _summed_up(members: Sequence[AssetHealth]) -> tuple[list[AssetHealth], Counter[AssetState]]:
    """Return the first few of each state but fresh, and how many more are in each state."""
    shown, seen = [], Counter[AssetState]()
    for asset in members:
        seen[asset.state] += 1
        if asset.state is not AssetState.FRESH and seen[asset.state] <= SHOWN_OF_A_STATE:
            shown.append(asset)
    return shown, seen - Counter(asset.state for asset in shown)


def cells_of(asset: AssetHealth, room: Room, columns: Sequence[str] = COLUMNS) -> list[RenderableType]:
    """Return the cells of an asset."""
    change, age, lag = asset.change_percent, asset.age_seconds, asset.lag_seconds
    cells: dict[str, RenderableType] = {
        "asset": Text(asset.symbol, style="bold" if asset.priority is AssetPriority.CRITICAL else ""),
        "price": asset_table_price(asset.last_price),
        "day": "-" if change is None else f"{change:+.2f} %",  # no colour: those say how well an asset is
        "age": "-" if age is None else format_duration(round(age * 1000)),
        "behind": "-" if lag is None else format_duration(round(lag * 1000)) if lag else "0",
        "bars": share(asset.complete),
        "market": asset.market,
        "state": _state(asset),
    }
    found = [cells[column] for column in columns]
    if room.name:
        found.insert(1, Text(asset.name or "", style="dim"))
    if room.why:
        why = asset.error or asset.reason
        found.append(Text(why if len(why) <= room.why else f"{why[: room.why - 3]}...", style="dim"))
    return found


def _state(asset: AssetHealth) -> Text:
    """Return the state, and the platform's own word if another program has written one."""
    text = Text(asset.state.label, style=colour_of(asset.state))
    if asset.platform_status:
        text.append(f" ({asset.platform_status})", style="dim")
    return text


Row = tuple[str, str]
"""A label and its words."""


def labelled(rows: Iterable[Row]) -> Table:
    """Return rows of a label and its words."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for label, words in rows:
        table.add_row(label, words)
    return table


def plan_rows(health: Health, plain: bool) -> list[Row]:
    """Return the plan, the window, the queue, what lowers the share of bars, and how much is verified."""
    rows = [("plan", facts.plan(health)), ("calls", _window(health, plain)), ("queue", facts.queue(health))]
    past = facts.past(health)
    rows += [("bars", past)] if past else []
    verified = facts.verified(health)
    return [*rows, ("verified", verified)] if verified else rows


def job_rows(health: Health) -> list[Row]:
    """Return the commands that cron starts."""
    rows: list[Row] = []
    for job in health.jobs:
        words = "never started"
        if job.last_started:
            words = f"started {clock(job.last_started)}, {job.last_result}, next {clock(job.next_run)}"
            if job.skipped:
                words += f", {plural(job.skipped, 'start')} skipped"
        rows.append((job.id, words))
    return rows


def _window(health: Health, plain: bool) -> str:
    limit, used = health.plan["limit"], health.window["used"]
    filled = round(BAR_WIDTH * min(used, limit) / limit)
    full, empty = "#." if plain else "█░"
    return f"{full * filled}{empty * (BAR_WIDTH - filled)} {facts.window(health)}"


def last_day(health: Health, series: Mapping[str, Series], width: int, plain: bool) -> Table:
    """Return the last 24 hours as sparklines, each with its largest value."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    now_ms = to_ms(datetime.fromisoformat(health.checked_at))
    cells = 48 if width >= WIDE else 24
    rows: tuple[tuple[str, str, How], ...] = (
        ("calls, 24 h", CALLS, "sum"),
        ("queue", QUEUE_SIZE, "max"),
        ("run-priority", PRIORITY_LATENCY, "max"),
        ("run-queue", QUEUE_LATENCY, "max"),
    )
    for name, metric, how in rows:
        if metric not in series or not series[metric].points:
            continue
        values = [value for _, value in series[metric].points]
        if metric == CALLS:
            words = f"{plural(round(sum(values)), 'call')}, at most {max(values):g} in a minute"
        elif metric == QUEUE_SIZE:
            words = f"at most {max(values):g}"
        else:
            words = f"longest {max(values) / 1000:.1f} s"
        table.add_row(name, sparkline(series[metric], now_ms, cells, how, plain=plain), words)
    return table


def cycles(health: Health) -> Table:
    """Return the last cycles."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("cycle", "left"), ("ago", "right"), ("took", "right"), ("result", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    table.add_column("", overflow="fold")
    for cycle in health.cycles[:6]:
        words = [f"{cycle[name]} {name}" for name in ("refreshed", "failed", "fresh") if cycle[name]]
        words.append(plural(cycle["calls"], "call"))
        table.add_row(
            cycle["command"],
            format_duration(round(cycle["age_seconds"] * 1000)),
            f"{cycle['duration_ms'] / 1000:.1f} s",
            Text(cycle["result"], style=colour_of(cycle["result"])),
            ", ".join(words),
        )
    return table


def failures(health: Health) -> Table:
    """Return the last failures, also those that are over."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("failed, 24 h", no_wrap=True)
    table.add_column("", overflow="fold")
    for one in health.failures[:FAILURES]:
        table.add_row(one.command, Text(facts.failure(one), style="dim"))
    return table


def _minute(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M UTC")


def clock(moment: str) -> str:
    """Return a moment of the health document as `08:00:30 UTC`."""
    return datetime.fromisoformat(moment).strftime("%H:%M:%S UTC")
