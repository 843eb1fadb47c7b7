"""The status as one self-contained HTML page: no network, no script, light and dark, narrow and wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import NamedTuple
from urllib.parse import quote

from assetbatch import __version__
from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.formatting import format_duration, moment, plural, price
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.metrics import (
    CALLS,
    PRIORITY_LATENCY,
    QUEUE_LATENCY,
    QUEUE_SIZE,
    Series,
    age_of,
    step_ms,
)
from assetbatch.domain.records import CycleOutcome
from assetbatch.domain.status import AssetState
from assetbatch.domain.units import DAY_MS, MINUTE_MS
from assetbatch.errors import AssetbatchError
from assetbatch.health import AssetHealth, Health, HealthStatus, Severity
from assetbatch.views import facts
from assetbatch.views.terminal.style import asset_table_price, share
from assetbatch.views.web.charts import Points, chart, direction, sparkline

SLOTS_DRAWN = 60
"""Maximum number of calls of a window that are drawn one by one."""

_ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">{}</svg>'
_ICONS = {
    "good": '<circle cx="8" cy="8" r="7" fill="#2da44e"/>',
    "warn": '<path d="M8 1L15.5 15H.5z" fill="#d4a017"/>',
    "bad": '<path d="M1 1h14v14H1z" fill="#d1242f"/>',
}
"""The verdict on a browser's tab, told apart by shape and by colour."""

_TONES: dict[str, str] = {
    **dict.fromkeys((HealthStatus.HEALTHY, AssetState.FRESH, AssetState.DUE), "good"),
    **dict.fromkeys((CycleOutcome.OK, CycleOutcome.NOTHING), "good"),
    **dict.fromkeys((HealthStatus.DEGRADED, AssetState.NEVER), "warn"),
    **dict.fromkeys((CycleOutcome.PARTIAL, CycleOutcome.POSTPONED), "warn"),
    HealthStatus.UNHEALTHY: "bad",
}
"""The tone of a status, a state or an outcome; anything else is bad."""


class Part(NamedTuple):
    """A part of the page under its own heading: the heading's id, its text, and the body below it."""

    id: str
    heading: str
    body: str


def render(
    health: Health,
    series: Mapping[str, Series],
    closes: Mapping[str, Sequence[tuple[int, float]]],
    *,
    refresh_seconds: int | None = None,
) -> str:
    """Return the page.

    `series` are those of the last 24 hours, `closes` are (start of the bar in ms, close) by symbol.

    With `refresh_seconds` a browser asks for the page again by itself.
    """
    facts = ["" if health.database_error else _fresh(health.assets), f"checked {_moment(health.checked_at)}"]
    if health.plan["simulated"]:
        facts.append("sandbox: simulated prices")
    parts = [
        Part("problems", "What is wrong", _problems(health)),
        Part("plan", "What the plan lacks", _lacks(health)),
        *_assets(health, series, closes),
        Part("calls", "Calls and queue", _calls(health)),
        Part("day", "The last 24 hours", _charts(health, series)),
        Part("cycles", "Cycles", _cycles(health)),
    ]
    return _page(health.status, facts, parts, refresh_seconds)


def render_error(error: AssetbatchError, *, refresh_seconds: int | None = None) -> str:
    """Return the page for when there is no health document: what is wrong, and what to do."""
    problem = _list([_problem(Severity.CRITICAL, error.message, error.hint)])
    return _page(HealthStatus.UNHEALTHY, [], [Part("problems", "What is wrong", problem)], refresh_seconds)


def _page(status: str, facts: Sequence[str], parts: Sequence[Part], refresh_seconds: int | None) -> str:
    shown = [part for part in parts if part.body]
    links = "".join(f'<li><a href="#{part.id}">{part.heading}</a></li>' for part in shown)
    return _template().substitute(
        refresh=f'<meta http-equiv="refresh" content="{refresh_seconds}">' if refresh_seconds else "",
        icon=quote(_ICON.format(_ICONS[_TONES[status]])),
        style=_style(),
        status=status,
        tone=_TONES[status],
        facts="".join(f"<span>{escape(fact)}</span>" for fact in facts if fact),
        links=f'<nav aria-label="on this page"><ul>{links}</ul></nav>' if len(shown) > 1 else "",
        parts="\n".join(f'<h2 id="{part.id}">{part.heading}</h2>\n{part.body}' for part in shown),
        footer=f"assetbatch {__version__}",
    )


@cache
def _template() -> Template:
    return Template(_resource("page.html"))


@cache
def _style() -> str:
    return _resource("page.css").strip()


def _resource(name: str) -> str:
    return files("assetbatch.views.web").joinpath(name).read_text(encoding="utf-8")


def _fresh(assets: Sequence[AssetHealth]) -> str:
    return facts.fresh(assets)


def _problems(health: Health) -> str:
    found = facts.problems(health)
    return _list([_problem(problem.severity, problem.message, problem.hint) for problem in found])


def _problem(severity: Severity, message: str, hint: str | None = None) -> str:
    word = f'<strong class="{"bad" if severity is Severity.CRITICAL else "warn"}">{severity}:</strong>'
    said = f'<span class="hint">{escape(hint)}</span>' if hint else ""
    return f'<li class="{severity}">{word} {escape(message)}{said}</li>'


def _list(items: Sequence[str]) -> str:
    return f'<ul class="problems">{"".join(items)}</ul>' if items else ""


def _lacks(health: Health) -> str:
    refusals = "".join(f"<li>{escape(refusal)}</li>" for refusal in health.plan["refusals"])
    if not refusals:
        return ""
    url = escape(health.plan["upgrade_url"])
    link = f'<p class="soft">A larger plan: <a href="{url}" rel="noreferrer">{url}</a></p>'
    return f'<ul class="plain">{refusals}</ul>{link}'


def _assets(
    health: Health,
    series: Mapping[str, Series],
    closes: Mapping[str, Sequence[tuple[int, float]]],
) -> list[Part]:
    """Return a part for each class that has assets, or one that says why there is none.

    Priority assets come first.
    """
    if not health.assets:
        why = "none is configured"
        if health.database_error:
            why = "not known, since the database cannot be read: see what is wrong"
        return [Part("assets", "Assets", f'<p class="soft">{why}</p>')]
    parts = []
    for priority in AssetPriority:
        members = [asset for asset in health.assets if asset.priority is priority]
        if not members:
            continue
        if priority is AssetPriority.CRITICAL:
            cards = "".join(_card(asset, health, series, closes.get(asset.symbol, ())) for asset in members)
            body = f'<div class="cards">{cards}</div>'
        else:
            body = _table(members, closes)
        name = "Priority assets" if priority is AssetPriority.CRITICAL else f"{priority} assets"
        parts.append(Part(f"assets-{priority.lower()}", name, body))
    return parts


def _card(asset: AssetHealth, health: Health, series: Mapping[str, Series], closes: Points) -> str:
    now_ms = _now_ms(health)
    facts = [_state(asset), f"{_age(asset)} old" if asset.age_seconds is not None else "", _behind(asset)]
    if asset.complete is not None:
        facts.append(f"bars {share(asset.complete)}")
    facts.append(f"market {asset.market}")
    words = " · ".join(fact for fact in facts if fact)
    figures = ""
    if len(closes) > 1:
        start_ms, end_ms = closes[0][0], closes[-1][0]
        line = Series("close", (end_ms - start_ms) // (len(closes) - 1), list(closes))
        ends = (moment(start_ms).removesuffix(" UTC"), moment(end_ms).removesuffix(" UTC"))
        title = f"{asset.symbol} price, newest day of bars (UTC)"
        style = direction(closes)
        figures += chart(title, line, start_ms, end_ms, price, from_zero=False, style=style, ends=ends)
    ages = series.get(age_of(asset.symbol))
    if ages is not None:
        figures += chart(f"{asset.symbol} age", ages, now_ms - DAY_MS, now_ms, _seconds)
    return (
        f'<section class="card"><div class="top"><h3>{escape(asset.symbol)}</h3>'
        f'<p><span class="price">{asset_table_price(asset.last_price)}</span> {_change(asset)}</p></div>'
        f"<p>{words}</p>{_why(asset)}{figures}</section>"
    )


def _why(asset: AssetHealth) -> str:
    words = asset.error or (asset.reason if not asset.state.is_well else "")
    return f'<p class="soft">{escape(words)}</p>' if words else ""


def _table(assets: Sequence[AssetHealth], closes: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Return the assets of a class, those that are not well first."""
    rows = "".join(
        _row(asset, closes.get(asset.symbol, ()))
        for asset in sorted(assets, key=lambda asset: asset.state.is_well)
    )
    heads = "".join(f'<th scope="col" class="{style}">{name}</th>' for name, style in _COLUMNS.items())
    return (
        f'<table class="assets"><caption>{_fresh(assets)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


_COLUMNS = {
    "asset": "name",
    "state": "state",
    "price": "number last",
    "day": "number day",
    "age": "number age",
    "behind": "number behind",
    "bars": "number bars",
    "market": "market",
    "newest day": "line",
    "why": "why",
}
"""The heads of the table of assets, and the classes of their cells."""


def _row(asset: AssetHealth, closes: Points) -> str:
    behind = "-" if asset.lag_seconds is None else _seconds(asset.lag_seconds)
    cells = {
        "state": _state(asset),
        "price": asset_table_price(asset.last_price),
        "day": _change(asset) or "-",
        "age": _age(asset) or "-",
        "behind": behind if asset.lag_seconds else behind.removesuffix(" s"),
        "bars": share(asset.complete),
        "market": asset.market,
        "newest day": sparkline(f"{asset.symbol}, newest day of bars", closes, price) or "-",
        "why": escape(asset.error or asset.reason),
    }
    drawn = "".join(f'<td class="{_COLUMNS[name]}">{cell}</td>' for name, cell in cells.items())
    well = ' class="well"' if asset.state.is_well else ""
    return f'<tr{well}><th scope="row" class="name">{escape(asset.symbol)}</th>{drawn}</tr>'


def _state(asset: AssetHealth) -> str:
    return f'<span class="{_TONES.get(asset.state, "bad")}">{escape(asset.state.label)}</span>'


def _change(asset: AssetHealth) -> str:
    if asset.change_percent is None:
        return ""
    tone = "bad" if asset.change_percent < 0 else "good"
    return f'<span class="{tone}">{asset.change_percent:+.2f} %</span>'


def _age(asset: AssetHealth) -> str:
    return "" if asset.age_seconds is None else _seconds(asset.age_seconds)


def _behind(asset: AssetHealth) -> str:
    return f"{_seconds(asset.lag_seconds)} behind" if asset.lag_seconds else ""


def _calls(health: Health) -> str:
    rows = [
        ("plan", escape(facts.plan(health))),
        ("calls", f"{facts.window(health)}{_slots(health)}"),
        ("queue", escape(facts.queue(health))),
    ]
    for job in health.jobs:
        said = "never started"
        if job.last_started:
            said = f"started {_moment(job.last_started)}, {job.last_result}, next {_moment(job.next_run)}"
            said += f", {plural(job.skipped, 'start')} skipped" if job.skipped else ""
        rows.append((job.id, escape(said)))
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{text}</dd>' for name, text in rows)}</dl>"


def _slots(health: Health) -> str:
    limit, used = health.plan["limit"], health.window["used"]
    if limit > SLOTS_DRAWN:
        return ""
    boxes = "".join(f"<span{' class=used' if number < used else ''}></span>" for number in range(limit))
    return f'<div class="window" aria-hidden="true">{boxes}</div>'


def _charts(health: Health, series: Mapping[str, Series]) -> str:
    now_ms = _now_ms(health)
    per_minute = health.plan["limit"] * MINUTE_MS / (health.plan["window_seconds"] * 1000)
    limit = per_minute if per_minute <= SLOTS_DRAWN else None
    shown = (
        ("Calls a minute", CALLS, _count),
        ("Items in the queue", QUEUE_SIZE, _count),
        ("Duration of run-priority", PRIORITY_LATENCY, _milliseconds),
        ("Duration of run-queue", QUEUE_LATENCY, _milliseconds),
    )
    figures = [
        chart(
            title,
            series.get(metric) or Series(metric, step_ms(metric), []),
            now_ms - DAY_MS,
            now_ms,
            words,
            are_counts=metric == CALLS,
            limit=limit if metric == CALLS else None,
        )
        for title, metric, words in shown
    ]
    cards = "".join(f'<div class="card">{figure}</div>' for figure in figures)
    return f'<div class="cards">{cards}</div>'


def _cycles(health: Health) -> str:
    if not health.cycles:
        return '<p class="soft">none yet</p>'
    rows = []
    for cycle in health.cycles:
        tone = _TONES.get(cycle["result"], "bad")
        done = ", ".join(f"{cycle[name]} {name}" for name in ("refreshed", "failed", "fresh") if cycle[name])
        rows.append(
            f'<tr><th scope="row">{escape(cycle["command"])}</th>'
            f'<td class="number">{_seconds(cycle["age_seconds"])} ago</td>'
            f'<td class="number">{_milliseconds(cycle["duration_ms"])}</td>'
            f'<td><span class="{tone}">{escape(cycle["result"])}</span></td>'
            f'<td>{escape(done) or "-"}</td><td class="number">{cycle["calls"]}</td></tr>'
        )
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="the last cycles"><table><thead><tr>'
        '<th scope="col">command</th><th scope="col" class="number">started</th>'
        '<th scope="col" class="number">took</th><th scope="col">result</th>'
        '<th scope="col">assets</th><th scope="col" class="number">calls</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _now_ms(health: Health) -> int:
    return to_ms(datetime.fromisoformat(health.checked_at))


def _moment(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S UTC")


def _count(value: float) -> str:
    return "below 0.1" if 0 < value < 0.1 else f"{value:,.1f}".removesuffix(".0")


def _seconds(value: float) -> str:
    return format_duration(round(value * 1000))


def _milliseconds(value: float) -> str:
    return f"{value / 1000:.1f} s"
