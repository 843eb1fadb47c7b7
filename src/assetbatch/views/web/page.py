"""The status as one self-contained HTML page: no network, light and dark, narrow and wide.

It can be read without its script, which finds and sorts assets and greys a page that has become old.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from html import escape
from importlib.resources import files
from itertools import islice
from string import Template
from typing import NamedTuple
from urllib.parse import quote

from assetbatch import __version__
from assetbatch.commands.queue_items import QueueEntry
from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.formatting import ago, format_duration, moment, price
from assetbatch.domain.item_words import work_in_words
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
from assetbatch.domain.queueing import DeadLetter
from assetbatch.domain.status import AssetState
from assetbatch.domain.units import DAY_MS, MINUTE_MS
from assetbatch.errors import AssetbatchError
from assetbatch.health import AssetHealth, Health, HealthStatus, JobHealth, Severity
from assetbatch.health.hours import Day, HourState
from assetbatch.views import facts
from assetbatch.views.terminal import queue
from assetbatch.views.terminal.style import asset_table_price, share
from assetbatch.views.tones import Tone, tone_of
from assetbatch.views.web.charts import chart, hour_bars, hour_sample, sparkline, stacked

SLOTS_DRAWN = 60
"""Maximum number of calls of a window that are drawn one by one."""

CARDS = 24
"""Maximum number of priority assets that have a card with charts. Further ones are in the table."""

ROWS = 300
"""Maximum number of rows of the table that a browser lays out at first. The others wait for the script."""

_ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">{}</svg>'
_ICONS = {
    Tone.GOOD: '<circle cx="8" cy="8" r="7" fill="#2da44e"/>',
    Tone.WARN: '<path d="M8 1L15.5 15H.5z" fill="#d4a017"/>',
    Tone.BAD: '<path d="M1 1h14v14H1z" fill="#d1242f"/>',
}
"""The verdict on a browser's tab, told apart by shape and by colour."""

_HOURS_IN_WORDS = {
    HourState.STORED: "stored, or known not to exist",
    HourState.MISSING: "not asked for yet",
    HourState.FAILED: "failed",
    HourState.PENDING: "not shown by the plan, or on its way",
    HourState.CLOSED: "market closed",
}

_GRAVITY = (
    *(AssetState.FAILED, AssetState.NOT_FOUND, AssetState.NO_DATA, AssetState.NOT_ENTITLED),
    *(AssetState.STALE, AssetState.NEVER, AssetState.DUE, AssetState.FRESH, AssetState.DELISTED),
)
"""The order of states in which the table is sorted, the gravest first."""


class Part(NamedTuple):
    """A part of the page under its own heading: the heading's id, its text, and the body below it.

    `more` are pieces of the body that follow. They are made when they are written.
    """

    id: str
    heading: str
    body: str
    more: Iterable[str] = ()


class Beside(NamedTuple):
    """What the page shows beside the health document.

    `series` are those of the last 24 hours. `closes` are (start of the bar in ms, close) of each asset with a
    card, `hourly_closes` the closes of the newest hours of the others. `days` are the hours of each asset
    that keeps bars. `entries` are the first of the queue, each of which is tried
    `max_attempts` times, and `letters` the latest dead letters. `host` made the page, and a new one is
    expected every `interval_seconds`.
    """

    series: Mapping[str, Series] = {}
    closes: Mapping[str, Sequence[tuple[int, float]]] = {}
    hourly_closes: Mapping[str, Sequence[float]] = {}
    days: Mapping[str, Day] = {}
    entries: Sequence[QueueEntry] = ()
    max_attempts: int = 3
    letters: Sequence[DeadLetter] = ()
    host: str = "localhost"
    interval_seconds: int = 300


def carded(assets: Iterable[AssetHealth]) -> list[AssetHealth]:
    """Return the assets that have a card: the first of the priority assets. The table has the others."""
    return list(islice((asset for asset in assets if asset.priority is AssetPriority.CRITICAL), CARDS))


def render(health: Health, beside: Beside, *, refresh_seconds: int | None = None) -> Iterator[str]:
    """Return the page, piece by piece: as a whole it has a kilobyte for each asset.

    With `refresh_seconds` a browser asks for it again by itself.
    """
    made = (
        f'<span>made <time datetime="{health.checked_at}">{_moment(health.checked_at)}</time>'
        '<span id="age"></span></span>'
    )
    facts = [made]
    if health.plan["simulated"]:
        facts.append("<span>sandbox: simulated prices</span>")
    parts = [
        Part("problems", "What needs attention", _problems(health)),
        Part("calls", "Calls and queue", _calls(health)),
        Part("plan", "What the plan lacks", _lacks(health)),
        Part("failures", "The last failures", _failures(health)),
        Part("waits", "What waits", _waits(health, beside)),
        Part("dead", "Dead letters", _letters(health, beside)),
        Part("cycles", "Cycles", _cycles(health)),
        Part("day", "The last 24 hours", _charts(health, beside.series)),
        *_assets(health, beside),
    ]
    head = _Head(health.status, beside.host, _now_ms(health), beside.interval_seconds, refresh_seconds)
    return _page(head, facts, parts, _tiles(health))


def render_error(
    error: AssetbatchError,
    *,
    host: str,
    made_ms: int,
    interval_seconds: int,
    refresh_seconds: int | None = None,
) -> Iterator[str]:
    """Return the page for when there is no health document: what is wrong, and what to do."""
    problem = _list([_problem(Severity.CRITICAL, error.message, error.hint)])
    made = f'<span>made {moment(made_ms)}<span id="age"></span></span>'
    head = _Head(HealthStatus.UNHEALTHY, host, made_ms, interval_seconds, refresh_seconds)
    return _page(head, [made], [Part("problems", "What needs attention", problem)])


class _Head(NamedTuple):
    """What the head of the page says."""

    status: str
    host: str
    made_ms: int
    interval_seconds: int
    refresh_seconds: int | None


def _page(head: _Head, facts: Sequence[str], parts: Sequence[Part], tiles: str = "") -> Iterator[str]:
    shown = [part for part in parts if part.body or part.more]
    links = "".join(f'<li><a href="#{part.id}">{part.heading}</a></li>' for part in shown)
    refresh = head.refresh_seconds
    before, after = _templates()
    words = {
        "made_ms": head.made_ms,
        "interval": head.interval_seconds,
        "policy": escape(security_policy(), quote=True),
        "refresh": f'<meta http-equiv="refresh" content="{refresh}">' if refresh else "",
        "icon": quote(_ICON.format(_ICONS[tone_of(head.status)])),
        "style": _style(),
        "script": _script(),
        "status": head.status,
        "host": escape(head.host),
        "tone": tone_of(head.status),
        "facts": "".join(facts),
        "links": f'<nav aria-label="on this page"><ul>{links}</ul></nav>' if len(shown) > 1 else "",
        "tiles": tiles,
        "footer": f"assetbatch {__version__}",
    }
    yield before.substitute(words)
    for part in shown:
        yield f'<section aria-labelledby="{part.id}"><h2 id="{part.id}">{part.heading}</h2>\n{part.body}'
        yield from part.more
        yield "</section>\n"
    yield after.substitute(words)


@cache
def security_policy() -> str:
    """Return the Content-Security-Policy of the page: its script and style, and nothing from elsewhere."""
    digest = base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _templates() -> tuple[Template, Template]:
    """Return what stands before the parts, and what stands after them."""
    before, _, after = _resource("page.html").partition("$parts\n")
    return Template(before), Template(after)


@cache
def _style() -> str:
    return _resource("page.css").strip()


@cache
def _script() -> str:
    return _resource("page.js").strip()


def _resource(name: str) -> str:
    return files("assetbatch.views.web").joinpath(name).read_text(encoding="utf-8")


def _fresh(assets: Sequence[AssetHealth]) -> str:
    by_product = facts.fresh_by_product(assets)
    return f"{facts.fresh(assets)} ({by_product})" if by_product else facts.fresh(assets)


# --- what needs attention ---


def _problems(health: Health) -> str:
    found = facts.problems(health)
    return _list([_problem(problem.severity, problem.message, problem.hint) for problem in found])


def _problem(severity: Severity, message: str, hint: str | None = None) -> str:
    word = f'<strong class="{tone_of(severity)}">{severity}:</strong>'
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


def _failures(health: Health) -> str:
    """Return the failures of the last day, also those that are over."""
    rows = [
        [
            f'<th scope="row">{escape(one.command)}</th>',
            _cell(one.error, "text"),
            _cell(one.names or "-", "text"),
            _cell(f"{one.cycles:,}", "number"),
            f'<td class="number">{_ago(health, one.first)}</td>',
            f'<td class="number">{_ago(health, one.last)}</td>',
        ]
        for one in health.failures
    ]
    heads = ("command", "what failed", "assets", "cycles#", "first#", "last#")
    return _scrolling("the last failures", heads, rows) if rows else ""


def _ago(health: Health, when: str) -> str:
    """Return how long ago a moment was; the script keeps it true while the page is open."""
    return _ago_ms(to_ms(datetime.fromisoformat(when)), _now_ms(health))


def _ago_ms(at_ms: int, now_ms: int) -> str:
    return f'<span data-at="{at_ms}">{ago(now_ms - at_ms)}</span>'


def _waits(health: Health, beside: Beside) -> str:
    """Return the first items of the queue with their turns, and how many more there are."""
    if not beside.entries:
        return ""
    now_ms = _now_ms(health)
    rows = [
        [
            _cell(str(entry.place or ""), "number"),
            f'<th scope="row">{escape(work_in_words(entry.item.id))}</th>',
            _cell(entry.item.lane),
            f'<td><span class="{tone_of(entry.item.state)}">{escape(entry.item.state)}</span></td>',
            _cell(queue.attempts(entry, beside.max_attempts), "number"),
            _cell(_seconds(now_ms / 1000 - entry.item.enqueued_us / 1_000_000), "number"),
            _cell(queue.turn(entry, now_ms)),
            _cell(queue.reason(entry, now_ms), "text"),
        ]
        for entry in beside.entries
    ]
    heads = ("place#", "work", "line", "state", "tries#", "age#", "turn", "reason")
    more = health.queue["total_items"] - len(rows)
    said = f'<p class="soft">{more:,} more: assetbatch queue list shows them.</p>' if more > 0 else ""
    return _scrolling("what waits", heads, rows) + said


def _letters(health: Health, beside: Beside) -> str:
    if not beside.letters:
        return ""
    now_ms = _now_ms(health)
    rows = [
        [
            f'<th scope="row">{escape(work_in_words(letter.id))}</th>',
            _cell(letter.lane),
            _cell(f"{letter.attempts:,}", "number"),
            f'<td class="number">{_ago_ms(letter.died_ms, now_ms)}</td>',
            _cell(letter.error, "text"),
        ]
        for letter in beside.letters
    ]
    more = health.queue["dead"] - len(rows)
    said = f" The other {more:,} are older." if more > 0 else ""
    note = "assetbatch dead retry tries them again, assetbatch dead drop removes them."
    heads = ("work", "line", "attempts#", "died#", "last error")
    return f'<p class="soft">{note}{said}</p>' + _scrolling("dead letters", heads, rows)


# --- now ---


def _tiles(health: Health) -> str:
    """Return the figures that matter most, each in a tile."""
    limit, waiting = health.plan["limit"], health.queue
    known, fresh = health.assets, sum(asset.state.is_fresh for asset in health.assets)
    tiles = []
    if known:
        tiles.append(("fresh", f"{fresh:,} of {len(known):,}", _not_well(known)))
    elif health.database_error:
        tiles.append(("fresh", "not known", "the database cannot be read"))
    free = health.api_calls_remaining
    when = f"of {limit:,} in {health.plan['window_seconds']:g} s"
    tiles.append(
        ("calls left", f"{free:,}", when if free else f"next in {health.next_slot_in_seconds:.0f} s")
    )
    done = waiting["done_in_seconds"]
    ahead = f"done in about {_seconds(done)}" if done is not None else "items"
    size = waiting["total_items"]
    tiles.append(("queue", f"{size:,}", ahead if size else "nothing waits"))
    for job in health.jobs:
        if job.last_started:
            tiles.append((job.id, _ago(health, job.last_started), _result(job)))
        else:
            tiles.append((job.id, "never", "not started yet"))
    drawn = "".join(
        f"<div><dt>{escape(name)}</dt><dd><strong>{value}</strong> {note}</dd></div>"
        for name, value, note in tiles
    )
    return f'<section aria-label="at a glance"><dl class="tiles">{drawn}</dl></section>'


_STATES = {AssetState.NEVER: "not fetched yet"}
"""States that are not told by their labels."""


def _not_well(assets: Sequence[AssetHealth]) -> str:
    """Return how many assets are in each state that is not well, with its colour."""
    counts = {state: sum(asset.state is state for asset in assets) for state in _GRAVITY if not state.is_well}
    said = [
        f'<span class="{tone_of(state)}">{count:,} {_STATES.get(state, state.label)}</span>'
        for state, count in counts.items()
        if count
    ]
    return ", ".join(said) or "all of them"


def _result(job: JobHealth) -> str:
    word = job.last_result or "running"
    return f'<span class="{tone_of(word)}">{escape(word)}</span>'


def _calls(health: Health) -> str:
    items = health.queue
    parts = facts.lanes(health) | {name: items[name] for name in ("leased", "delayed")}
    past = facts.past(health)
    past = f'<p class="soft">bars: {past}</p>' if past else ""
    if verified := facts.verified(health):
        past += f'<p class="soft">{escape(verified)}</p>'
    names = "".join(
        f'<li><span class="key {name}"></span>{count:,} {name}</li>' for name, count in parts.items() if count
    )
    legend = f'{stacked(parts)}<ul class="legend">{names}</ul>' if names else ""
    cards = (
        f'<div class="card"><h3>Calls</h3>{_slots(health)}<p>{escape(facts.window(health))}</p>'
        f'<p class="soft">plan: {escape(facts.plan(health))}</p></div>'
        f'<div class="card"><h3>Queue</h3>{legend}<p>{escape(facts.queue(health))}</p>'
        f"{past}</div>"
    )
    return f'<div class="cards">{cards}</div>'


def _slots(health: Health) -> str:
    limit, used = health.plan["limit"], health.window["used"]
    if limit > SLOTS_DRAWN:
        return ""
    boxes = "".join(f"<span{' class=used' if number < used else ''}></span>" for number in range(limit))
    return f'<div class="window" aria-hidden="true">{boxes}</div>'


# --- assets ---


def _assets(health: Health, beside: Beside) -> list[Part]:
    """Return the priority assets as cards and the others as a table, or why there is none."""
    if not health.assets:
        why = "none is configured"
        if health.database_error:
            why = "not known, since the database cannot be read: see what needs attention"
        return [Part("assets", "Assets", f'<p class="soft">{why}</p>')]
    priority = carded(health.assets)
    shown = {id(asset) for asset in priority}
    others = [asset for asset in health.assets if id(asset) not in shown]
    parts = []
    if priority:
        cards = "".join(_card(asset, health, beside) for asset in priority)
        body = f'{_legend(beside) if not others else ""}<div class="cards">{cards}</div>'
        parts.append(Part("assets-critical", "Priority assets", body))
    if others:
        heading = "All other assets" if priority else "Assets"
        parts.append(Part("assets", heading, "", _table(others, beside)))
    return parts


def _legend(beside: Beside) -> str:
    """Return what the marks of the hours mean."""
    if not beside.days:
        return ""
    found = {state for day in beside.days.values() for state in day.hours}
    keys = "".join(
        f"<li>{hour_sample(state)}{words}</li>" for state, words in _HOURS_IN_WORDS.items() if state in found
    )
    return (
        '<div class="legend hours"><p class="soft">24 h: the bars of the newest day that the plan shows, '
        f"an hour each:</p><ul>{keys}</ul></div>"
    )


def _card(asset: AssetHealth, health: Health, beside: Beside) -> str:
    now_ms, closes = _now_ms(health), beside.closes.get(asset.symbol, ())
    facts = [_state(asset), f"{_age(asset)} old" if asset.age_seconds is not None else "", _behind(asset)]
    if asset.complete is not None:
        facts.append(f"bars {share(asset.complete)}")
    facts.append(f"market {asset.market}")
    words = " · ".join(fact for fact in facts if fact)
    figures = ""
    if asset.symbol in beside.days:
        figures += f'<div class="hours">{hour_bars(beside.days[asset.symbol])}</div>'
    if len(closes) > 1:
        start_ms, end_ms = closes[0][0], closes[-1][0]
        line = Series("close", (end_ms - start_ms) // (len(closes) - 1), list(closes))
        ends = (moment(start_ms).removesuffix(" UTC"), moment(end_ms).removesuffix(" UTC"))
        title = f"{asset.symbol} price, newest day of bars (UTC)"
        figures += chart(title, line, start_ms, end_ms, price, from_zero=False, ends=ends)
    ages = beside.series.get(age_of(asset.symbol))
    if ages is not None:
        figures += chart(f"{asset.symbol} age", ages, now_ms - DAY_MS, now_ms, _seconds)
    return (
        f'<div class="card"><div class="top"><h3>{escape(asset.symbol)}{_name(asset)}</h3>'
        f'<p class="quote"><span class="price">{asset_table_price(asset.last_price)}</span> '
        f"{_change(asset)}</p></div>"
        f"<p>{words}</p>{_why(asset)}{figures}</div>"
    )


def _name(asset: AssetHealth) -> str:
    return f" <small>{escape(asset.name)}</small>" if asset.name else ""


def _why(asset: AssetHealth) -> str:
    words = asset.error or (asset.reason if not asset.state.is_fresh else "")
    return f'<p class="soft">{escape(words)}</p>' if words else ""


class _Column(NamedTuple):
    """A column of the table: its head, the class of its cells, what the script sorts it by (a place among
    the values of a row), and which end comes first."""

    head: str
    style: str
    by: str = ""
    first: str = "up"


_COLUMNS = (
    _Column("asset", "name", "name"),
    _Column("priority", "priority", "0"),
    _Column("state", "state", "1"),
    _Column("price", "number last", "2", "down"),
    _Column("day", "number day", "3", "down"),
    _Column("age", "number age", "4", "down"),
    _Column("behind", "number behind", "5", "down"),
    _Column("bars", "number bars", "6"),
    _Column("24 h", "hours", "7", "down"),
    _Column("newest day", "line"),
    _Column("why", "why"),
)
"""The columns of the table of assets."""


def _table(assets: Sequence[AssetHealth], beside: Beside) -> Iterator[str]:
    """Return the assets row by row: those with an entry of their own before the members of rules, and of each
    those that are not well first."""
    lines = any(asset.symbol in beside.hourly_closes for asset in assets)
    columns = [column for column in _COLUMNS if lines or column.style != "line"]
    heads = "".join(
        f'<th scope="col" class="{column.style}"'
        + (f' data-by="{column.by}" data-first="{column.first}"' if column.by else "")
        + f">{column.head}</th>"
        for column in columns
    )
    ordered = sorted(assets, key=lambda asset: (asset.by_rule, asset.state.is_well))
    rows = (_row(asset, beside, lines=lines) for asset in ordered)
    yield (
        f'{_legend(beside)}<div id="tools" class="tools" role="search" hidden>'
        '<label>find <input type="search" id="find" autocomplete="off" spellcheck="false" '
        'placeholder="symbol, name, priority, state"></label>'
        '<label><input type="checkbox" id="unwell"> only what is not well</label>'
        '<output id="count" for="find unwell"></output></div>'
        f'<table class="assets{"" if lines else " short"}"><caption>{_fresh(assets)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>"
    )
    yield from islice(rows, ROWS)
    yield "</tbody></table>"
    if len(ordered) > ROWS:
        yield (
            f'<p id="cut" class="soft">The first {ROWS} of {len(ordered):,} are shown, and the others where '
            'scripts run; assetbatch status --all shows each.</p><template id="rows">'
        )
        yield from rows
        yield "</template>"
    yield '<p><button type="button" id="more" hidden></button></p>'


def _row(asset: AssetHealth, beside: Beside, *, lines: bool) -> str:
    behind = "-" if asset.lag_seconds is None else _seconds(asset.lag_seconds)
    day = beside.days.get(asset.symbol)
    drawn = ""
    if lines:
        closes = beside.hourly_closes.get(asset.symbol, ())
        line = sparkline(f"{asset.symbol}, newest day of bars", closes, price)
        drawn = f'<td class="line">{line}</td>'
    closed = "" if asset.market == "open" else f" <small>market {asset.market}</small>"
    return (
        f'<tr{_WELL if asset.state.is_well else ""} data-type="{asset.asset_type}" '
        f'data-v="{_values(asset, day)}">'
        f'<th scope="row" class="name">{escape(asset.symbol)}{_name(asset)}</th>'
        f'<td class="priority">{asset.priority}</td>'
        f'<td class="state">{_state(asset)}{closed}</td>'
        f'<td class="number last">{asset_table_price(asset.last_price)}</td>'
        f'<td class="number day">{_change(asset) or "-"}</td>'
        f'<td class="number age">{_age(asset) or "-"}</td>'
        f'<td class="number behind">{behind if asset.lag_seconds else behind.removesuffix(" s")}</td>'
        f'<td class="number bars">{share(asset.complete)}</td>'
        f'<td class="hours">{hour_bars(day) if day else "-"}</td>{drawn}'
        f'<td class="why">{escape(asset.error or asset.reason)}</td></tr>'
    )


_WELL = ' class="well"'
_PRIORITIES = tuple(AssetPriority)


def _values(asset: AssetHealth, day: Day | None) -> str:
    """Return what a row is sorted by, in the order of the columns; empty where there is no value."""
    lost = sum(hour in (HourState.MISSING, HourState.FAILED) for hour in day.hours) if day else None
    values: tuple[float | None, ...] = (
        _PRIORITIES.index(asset.priority),
        _GRAVITY.index(asset.state),
        asset.last_price,
        asset.change_percent,
        asset.age_seconds,
        asset.lag_seconds,
        asset.complete,
        lost,
    )
    return ",".join("" if value is None else f"{value:.12g}" for value in values)


def _state(asset: AssetHealth) -> str:
    return f'<span class="{tone_of(asset.state)}">{escape(asset.state.label)}</span>'


def _change(asset: AssetHealth) -> str:
    """Return the change of the day. It has no colour: those say how well an asset is, not how it trades."""
    if asset.change_percent is None:
        return ""
    return f'<span class="change">{asset.change_percent:+.2f} %</span>'


def _age(asset: AssetHealth) -> str:
    return "" if asset.age_seconds is None else _seconds(asset.age_seconds)


def _behind(asset: AssetHealth) -> str:
    return f"{_seconds(asset.lag_seconds)} behind" if asset.lag_seconds else ""


# --- what was done ---


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
    """Return the commands and their last cycles."""
    jobs = [
        [
            f'<th scope="row">{escape(job.id)}</th>',
            _cell(job.trigger),
            f'<td class="number">{_ago(health, job.last_started) if job.last_started else "never"}</td>',
            f"<td>{_result(job) if job.last_started else '-'}</td>",
            _cell(_clock(job.next_run), "number"),
            _cell(f"{job.skipped:,}", "number"),
        ]
        for job in health.jobs
    ]
    rows = []
    for cycle in health.cycles:
        done = ", ".join(f"{cycle[name]} {name}" for name in ("refreshed", "failed", "fresh") if cycle[name])
        result = f'<span class="{tone_of(cycle["result"])}">{escape(cycle["result"])}</span>'
        rows.append(
            [
                f'<th scope="row">{escape(cycle["command"])}</th>',
                f'<td class="number">{_ago(health, cycle["started"])}</td>',
                _cell(_milliseconds(cycle["duration_ms"]), "number"),
                f"<td>{result}</td>",
                _cell(done or "-"),
                _cell(f"{cycle['calls']:,}", "number"),
            ]
        )
    shown = ""
    if jobs:
        heads = ("command", "cron starts it", "last#", "result", "next (UTC)#", "skipped#")
        shown += _scrolling("the commands", heads, jobs)
    if rows:
        heads = ("cycle", "started#", "took#", "result", "assets", "calls#")
        shown += _scrolling("the last cycles", heads, rows)
    return f'<div class="pair">{shown}</div>' if shown else '<p class="soft">none yet</p>'


def _cell(text: str, style: str = "") -> str:
    return f'<td class="{style}">{escape(text)}</td>' if style else f"<td>{escape(text)}</td>"


def _scrolling(label: str, heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that scrolls sideways where it is too wide. A head with a # is that of numbers."""
    cells = "".join(
        f'<th scope="col"{_NUMBER if head.endswith("#") else ""}>{head.removesuffix("#")}</th>'
        for head in heads
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="table of {label}"><table>'
        f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


_NUMBER = ' class="number"'


def _now_ms(health: Health) -> int:
    return to_ms(datetime.fromisoformat(health.checked_at))


def _moment(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S UTC")


def _clock(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%H:%M:%S")


def _count(value: float) -> str:
    return "below 0.1" if 0 < value < 0.1 else f"{value:,.1f}".removesuffix(".0")


def _seconds(value: float) -> str:
    return format_duration(round(value * 1000))


def _milliseconds(value: float) -> str:
    return f"{value / 1000:.1f} s"
