"""The health document as tables for a terminal: problems first."""

from __future__ import annotations

from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assetbatch.health import Health
from assetbatch.views.style import COLOURS, asset_table_price, share
from assetbatch.words import plural, span

BAR_WIDTH = 20

_KINDS = {"bars": "for bars", "history": "pages of the past"}


def render(health: Health) -> RenderableType:
    """The whole page: verdict, problems, assets, queue, window, cycles."""
    parts: list[RenderableType] = [_headline(health)]
    for problem in health.problems:
        colour = "red" if problem.severity == "critical" else "yellow"
        hint = f" (hint: {problem.hint})" if problem.hint else ""
        parts.append(Text(f"! {problem.message}{hint}", style=colour))
    for alert in health.alerts:
        colour = "red" if alert.severity == "critical" else "yellow"
        text = f"! {alert.metric} is {alert.value:g}, its threshold is {alert.threshold:g}"
        parts.append(Text(text, style=colour))
    for refusal in health.plan["refusals"]:
        parts.append(Text(f"- {refusal} (upgrade: {health.plan['upgrade_url']})", style="dim"))
    if health.assets:
        parts += [Text(), _assets(health)]
    parts += [Text(), _facts(health)]
    if health.cycles:
        parts += [Text(), _cycles(health)]
    return Group(*parts)


def _headline(health: Health) -> Text:
    fresh = sum(asset.state in ("fresh", "due") for asset in health.assets)
    text = Text()
    text.append(health.status, style=f"bold {COLOURS[health.status]}")
    if not health.database_error:
        text.append(f"  {fresh} of {plural(len(health.assets), 'asset')} fresh")
    if health.plan["simulated"]:
        text.append("  (sandbox: simulated prices)", style="dim")
    return text


def _assets(health: Health) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("asset", no_wrap=True)
    table.add_column("class", no_wrap=True)
    table.add_column("price", justify="right", no_wrap=True)
    table.add_column("day", justify="right", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("market", no_wrap=True)
    table.add_column("bars", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for asset in health.assets:
        change = asset.change_percent
        age = asset.age_seconds
        state = Text(asset.state.replace("_", " "), style=COLOURS.get(asset.state, "red"))
        table.add_row(
            Text(asset.symbol, style="bold" if asset.asset_class == "CRITICAL" else ""),
            asset.asset_class.value,
            asset_table_price(asset.last_price),
            Text("" if change is None else f"{change:+.2f} %", style="red" if (change or 0) < 0 else "green"),
            "-" if age is None else span(round(age * 1000)),
            asset.market,
            share(asset.complete),
            state,
        )
    return table


def _facts(health: Health) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("plan", _plan(health))
    table.add_row("calls", _window(health))
    table.add_row("queue", _queue(health))
    for job in health.jobs:
        words = "never started"
        if job.last_started:
            words = f"started {_clock(job.last_started)}, {job.last_result}"
            if job.next_run:
                words += f", next {_clock(job.next_run)}"
            if job.skipped:
                words += f", {plural(job.skipped, 'start')} skipped"
        table.add_row(job.id.replace("_", "-"), words)
    return table


def _plan(health: Health) -> str:
    checked = datetime.fromisoformat(health.checked_at)
    words = [str(health.plan["tier"])]
    by_moment: dict[str, list[str]] = {}
    for kind, moment in health.plan["data_up_to"].items():
        now = (checked - datetime.fromisoformat(moment)).total_seconds() < 60
        by_moment.setdefault("now" if now else _minute(moment), []).append(kind)
    words += [f"{' and '.join(kinds)} up to {moment}" for moment, kinds in by_moment.items()]
    return ", ".join(words)


def _queue(health: Health) -> str:
    queue = health.queue
    classes = ", ".join(f"{count} {name}" for name, count in queue["by_priority"].items() if count)
    words = [f"{queue['total_items']} of at most {queue['max_size']:,}"]
    words += [f"waiting {classes}"] if classes else []
    kinds = [f"{queue[name]} {what}" for name, what in _KINDS.items() if queue[name]]
    words += [f"of them {' and '.join(kinds)}"] if kinds else []
    words += [f"{queue[name]} {name}" for name in ("leased", "delayed", "dead") if queue[name]]
    if queue["oldest_item_age_seconds"] is not None:
        words.append(f"the oldest for {span(round(queue['oldest_item_age_seconds'] * 1000))}")
    return ", ".join(words)


def _window(health: Health) -> str:
    limit, used = health.plan["limit"], health.window["used"]
    filled = round(BAR_WIDTH * min(used, limit) / limit)
    bar = "█" * filled + "░" * (BAR_WIDTH - filled)
    words = f"{bar} {used} of {limit} used in {health.plan['window_seconds']:g} s"
    if health.window["reserved_for_priority"]:
        words += f", {health.window['reserved_for_priority']} kept for the next priority cycle"
    if health.api_calls_remaining:
        return f"{words}, {health.api_calls_remaining} left"
    return f"{words}, next slot in {health.next_slot_in_seconds:.0f} s"


def _cycles(health: Health) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("cycle", "left"), ("ago", "right"), ("took", "right"), ("result", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    table.add_column("", overflow="fold")
    for cycle in health.cycles[:6]:
        words = [f"{cycle[name]} {name}" for name in ("refreshed", "failed", "fresh") if cycle[name]]
        words.append(plural(cycle["calls"], "call"))
        table.add_row(
            cycle["command"].replace("_", "-"),
            span(round(cycle["age_seconds"] * 1000)),
            f"{cycle['duration_ms'] / 1000:.1f} s",
            Text(cycle["result"], style=COLOURS.get(cycle["result"], "red")),
            ", ".join(words),
        )
    return table


def _minute(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M UTC")


def _clock(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%H:%M:%S UTC")
