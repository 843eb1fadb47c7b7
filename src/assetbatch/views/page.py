"""The whole as one self-contained HTML page: no network, no script, light and dark, narrow and wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from assetbatch import __version__
from assetbatch.assets import AssetPriority
from assetbatch.errors import AssetbatchError
from assetbatch.health import AssetHealth, Health
from assetbatch.hours import to_ms
from assetbatch.metrics import (
    CALLS,
    DAY_MS,
    MINUTE_MS,
    PRIORITY_LATENCY,
    QUEUE_LATENCY,
    QUEUE_SIZE,
    Series,
    age_of,
)
from assetbatch.views.charts import Line, Points, chart, sparkline
from assetbatch.views.style import asset_table_price, share
from assetbatch.words import moment, plural, price, span

SLOTS_DRAWN = 60
"""Up to so many calls of a window are drawn one by one."""

_TONES = {"healthy": "good", "degraded": "warn", "unhealthy": "bad", "fresh": "good", "due": "good"}
_TONES |= {"ok": "good", "nothing": "good", "never": "warn", "partial": "warn", "postponed": "warn"}


def render(
    health: Health,
    series: Mapping[str, Series],
    closes: Mapping[str, Sequence[tuple[int, float]]],
    *,
    refresh_seconds: int | None = None,
) -> str:
    """The page. `series` are those of the last 24 hours, `closes` (start of the bar in ms, close) by symbol.

    With `refresh_seconds` a browser asks again by itself.
    """
    refresh = f'<meta http-equiv="refresh" content="{refresh_seconds}">' if refresh_seconds else ""
    first = [asset for asset in health.assets if asset.asset_class is AssetPriority.CRITICAL]
    fresh = sum(asset.state in ("fresh", "due") for asset in health.assets)
    return _template().substitute(
        refresh=refresh,
        style=_style(),
        status=health.status,
        tone=_TONES[health.status],
        summary="" if health.database_error else f"{fresh} of {plural(len(health.assets), 'asset')} fresh",
        checked=_moment(health.checked_at) + (", simulated prices" if health.plan["simulated"] else ""),
        problems=_problems(health),
        priority=_priority(first, health, series, closes),
        assets=_assets(health.assets, closes),
        calls=_calls(health),
        charts=_charts(health, series),
        cycles=_cycles(health),
        footer=f"assetbatch {__version__}",
    )


def render_error(error: AssetbatchError, *, refresh_seconds: int | None = None) -> str:
    """The page where there is no health document: what is wrong, and what to do."""
    refresh = f'<meta http-equiv="refresh" content="{refresh_seconds}">' if refresh_seconds else ""
    hint = f'<span class="hint">{escape(error.hint)}</span>' if error.hint else ""
    said = f"{_word('critical')} {escape(error.message)}{hint}"
    problems = f'<h2>What is wrong</h2><ul class="problems"><li class="critical">{said}</li></ul>'
    template = Template(_resource("page_down.html"))
    return template.substitute(
        refresh=refresh, style=_style(), problems=problems, footer=f"assetbatch {__version__}"
    )


@cache
def _template() -> Template:
    return Template(_resource("page.html"))


@cache
def _style() -> str:
    return _resource("page.css").strip()


def _resource(name: str) -> str:
    return files("assetbatch.views").joinpath(name).read_text(encoding="utf-8")


def _problems(health: Health) -> str:
    items = []
    for problem in health.problems:
        hint = f'<span class="hint">{escape(problem.hint)}</span>' if problem.hint else ""
        said = f"{_word(problem.severity)} {escape(problem.message)}{hint}"
        items.append(f'<li class="{problem.severity}">{said}</li>')
    for alert in health.alerts:
        text = f"{escape(alert.metric)} is {alert.value:g}, its threshold is {alert.threshold:g}"
        items.append(f'<li class="{alert.severity}">{_word(alert.severity)} {text}</li>')
    parts = [f'<h2>What is wrong</h2><ul class="problems">{"".join(items)}</ul>'] if items else []
    refusals = "".join(f"<li>{escape(refusal)}</li>" for refusal in health.plan["refusals"])
    if refusals:
        url = escape(health.plan["upgrade_url"])
        link = f'<p class="soft">A larger plan: <a href="{url}" rel="noreferrer">{url}</a></p>'
        parts.append(f'<h2>What the plan lacks</h2><ul class="plain">{refusals}</ul>{link}')
    return "".join(parts)


def _word(severity: str) -> str:
    return f'<strong class="{"bad" if severity == "critical" else "warn"}">{severity}:</strong>'


def _priority(
    assets: Sequence[AssetHealth],
    health: Health,
    series: Mapping[str, Series],
    closes: Mapping[str, Sequence[tuple[int, float]]],
) -> str:
    if not assets:
        return ""
    cards = "".join(_card(asset, health, series, closes.get(asset.symbol, ())) for asset in assets)
    return f'<h2>Priority assets</h2><div class="cards">{cards}</div>'


def _card(asset: AssetHealth, health: Health, series: Mapping[str, Series], closes: Points) -> str:
    now_ms = _now_ms(health)
    facts = [_state(asset), f"{_age(asset)} old" if asset.age_seconds is not None else "", _behind(asset)]
    if asset.complete is not None:
        facts.append(f"bars {share(asset.complete)}")
    words = " · ".join(fact for fact in facts if fact)
    figures = ""
    if len(closes) > 1:
        title = f"{asset.symbol} price, newest day of bars"
        style = "up" if closes[-1][1] >= closes[0][1] else "down"
        line = Line(style, closes)
        figures += chart(title, line, closes[0][0], closes[-1][0], price, from_zero=False, ends=_ends(closes))
    ages = series.get(age_of(asset.symbol))
    if ages is not None:
        line = Line("data", ages.points, ages.step_ms)
        figures += chart(f"{asset.symbol} age", line, now_ms - DAY_MS, now_ms, _seconds)
    return (
        f'<section class="card"><div class="top"><h3>{escape(asset.symbol)}</h3>'
        f'<span class="price">{asset_table_price(asset.last_price)}</span>{_change(asset)}</div>'
        f"<p>{words}</p>{_why(asset)}{figures}</section>"
    )


def _ends(closes: Points) -> tuple[str, str]:
    return moment(closes[0][0]), moment(closes[-1][0])


def _why(asset: AssetHealth) -> str:
    words = asset.error or (asset.reason if asset.state not in ("fresh", "due") else "")
    return f'<p class="soft">{escape(words)}</p>' if words else ""


def _assets(assets: Sequence[AssetHealth], closes: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    tables = []
    for priority in AssetPriority:
        members = [asset for asset in assets if asset.asset_class is priority]
        if not members or priority is AssetPriority.CRITICAL:
            continue
        rows = "".join(_row(asset, closes.get(asset.symbol, ())) for asset in members)
        fresh = sum(asset.state in ("fresh", "due") for asset in members)
        tables.append(
            f'<div class="scroll" role="region" tabindex="0" aria-label="{priority} assets"><table>'
            f"<caption>{priority}: {fresh} of {len(members)} fresh</caption><thead><tr>"
            '<th scope="col">asset</th><th scope="col">state</th><th scope="col" class="number">price</th>'
            '<th scope="col" class="number">day</th><th scope="col" class="number">age</th>'
            '<th scope="col" class="number wide">behind</th><th scope="col" class="number wide">bars</th>'
            '<th scope="col" class="wide">market</th>'
            '<th scope="col" class="wide">newest day</th><th scope="col" class="wide">why</th>'
            f"</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    return f"<h2>Other assets</h2>{''.join(tables)}" if tables else ""


def _row(asset: AssetHealth, closes: Points) -> str:
    behind = "-" if asset.behind_seconds is None else _seconds(asset.behind_seconds)
    return (
        f'<tr><th scope="row">{escape(asset.symbol)}</th><td>{_state(asset)}</td>'
        f'<td class="number">{asset_table_price(asset.last_price)}</td>'
        f'<td class="number">{_change(asset)}</td>'
        f'<td class="number">{_age(asset) or "-"}</td>'
        f'<td class="number wide">{behind}</td>'
        f'<td class="number wide">{share(asset.complete)}</td>'
        f'<td class="wide">{asset.market}</td>'
        f'<td class="wide">{sparkline(f"{asset.symbol}, newest day of bars", closes)}</td>'
        f'<td class="wide why">{escape(asset.error or asset.reason)}</td></tr>'
    )


def _state(asset: AssetHealth) -> str:
    return f'<span class="{_TONES.get(asset.state, "bad")}">{escape(asset.state.replace("_", " "))}</span>'


def _change(asset: AssetHealth) -> str:
    if asset.change_percent is None:
        return ""
    tone = "bad" if asset.change_percent < 0 else "good"
    return f'<span class="{tone}">{asset.change_percent:+.2f} %</span>'


def _age(asset: AssetHealth) -> str:
    return "" if asset.age_seconds is None else _seconds(asset.age_seconds)


def _behind(asset: AssetHealth) -> str:
    return f"{_seconds(asset.behind_seconds)} behind" if asset.behind_seconds else ""


def _calls(health: Health) -> str:
    limit, used = health.plan["limit"], health.window["used"]
    words = f"{used} of {limit} calls used in {health.plan['window_seconds']:g} s"
    if health.window["reserved_for_priority"]:
        words += f", {health.window['reserved_for_priority']} kept for the next priority cycle"
    if not health.api_calls_remaining:
        words += f", next free in {health.next_slot_in_seconds:.0f} s"
    slots = ""
    if limit <= SLOTS_DRAWN:
        boxes = "".join(f"<span{' class=used' if number < used else ''}></span>" for number in range(limit))
        slots = f'<div class="window" aria-hidden="true">{boxes}</div>'
    queue = health.queue
    waiting = ", ".join(f"{count} {name}" for name, count in queue["by_priority"].items() if count)
    held = ", ".join(f"{queue[name]} {name}" for name in ("leased", "delayed", "dead") if queue[name])
    told = ", ".join(
        filter(None, (f"{queue['total_items']} of at most {queue['max_size']:,}", waiting, held))
    )
    if queue["done_in_seconds"] is not None:
        calls = plural(queue["calls_ahead"], "call")
        told += f"; {calls} ahead, done in about {_seconds(queue['done_in_seconds'])}"
    rows = [
        ("plan", escape(str(health.plan["tier"]))),
        ("window", f"{words}{slots}"),
        ("queue", escape(told)),
    ]
    for job in health.jobs:
        said = "never started"
        if job.last_started:
            said = f"started {_moment(job.last_started)}, {job.last_result}"
            said += f", next {_moment(job.next_run)}" if job.next_run else ""
            said += f", {plural(job.skipped, 'start')} skipped" if job.skipped else ""
        rows.append((job.id.replace("_", "-"), escape(said)))
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{text}</dd>' for name, text in rows)}</dl>"


def _charts(health: Health, series: Mapping[str, Series]) -> str:
    now_ms = _now_ms(health)
    per_minute = health.plan["limit"] * MINUTE_MS / (health.plan["window_seconds"] * 1000)
    limit = per_minute if per_minute <= SLOTS_DRAWN else None
    wanted = (
        ("Calls a minute", CALLS, lambda value: f"{value:g}", limit),
        ("Items in the queue", QUEUE_SIZE, lambda value: f"{value:g}", None),
        ("Duration of run-priority", PRIORITY_LATENCY, _milliseconds, None),
        ("Duration of run-queue", QUEUE_LATENCY, _milliseconds, None),
    )
    drawn = []
    for title, metric, words, most in wanted:
        found = series.get(metric) or Series(metric, MINUTE_MS, [])
        line = Line("data", found.points, found.step_ms)
        figure = chart(title, line, now_ms - DAY_MS, now_ms, words, limit=most)
        drawn.append(f'<div class="card">{figure}</div>')
    return "".join(drawn)


def _cycles(health: Health) -> str:
    if not health.cycles:
        return '<p class="soft">none yet</p>'
    rows = []
    for cycle in health.cycles:
        tone = _TONES.get(cycle["result"], "bad")
        done = ", ".join(f"{cycle[name]} {name}" for name in ("refreshed", "failed", "fresh") if cycle[name])
        rows.append(
            f'<tr><th scope="row">{escape(cycle["command"].replace("_", "-"))}</th>'
            f'<td class="number">{_seconds(cycle["age_seconds"])} ago</td>'
            f'<td class="number">{_milliseconds(cycle["duration_ms"])}</td>'
            f'<td><span class="{tone}">{escape(cycle["result"])}</span></td>'
            f'<td class="wide">{escape(done)}</td><td class="number">{cycle["calls"]}</td></tr>'
        )
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="the last cycles"><table><thead><tr>'
        '<th scope="col">command</th><th scope="col" class="number">started</th>'
        '<th scope="col" class="number">took</th><th scope="col">result</th>'
        '<th scope="col" class="wide">assets</th><th scope="col" class="number">calls</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _now_ms(health: Health) -> int:
    return to_ms(datetime.fromisoformat(health.checked_at))


def _moment(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S UTC")


def _seconds(value: float) -> str:
    return span(round(value * 1000))


def _milliseconds(value: float) -> str:
    return f"{value / 1000:.1f} s"
