"""The page as markup: all there, all escaped, nothing from the network."""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from msgspec import structs

from assetbatch.commands.queue_items import QueueEntry
from assetbatch.domain.formatting import iso
from assetbatch.domain.metrics import CALLS, Series
from assetbatch.domain.queueing import DeadLetter, ItemState, Lane, QueuedItem
from assetbatch.domain.records import Command
from assetbatch.errors import RedisError
from assetbatch.health import Alert, FailureShown, Health, HealthStatus, Metric, Problem, Severity
from assetbatch.health.hours import Day, HourState
from assetbatch.views.web.page import CARDS, Beside, carded, render, render_error

from .conftest import NOW_MS, asset, broken, day, health, no_database


def queued(item_id: str, state: ItemState, **more: Any) -> QueuedItem:
    values = {"lane": Lane.HIGH, "attempts": 0, "enqueued_us": (NOW_MS - 600_000) * 1000, **more}
    return QueuedItem(id=item_id, state=state, **values)


CLOSES = {
    symbol: [(NOW_MS - n * 900_000, 100.0 + n % 7) for n in range(96, 0, -1)]
    for symbol in ("XAUUSD", "EURUSD", "BTCUSD", "SYM3", "SYM4", "SYM5")
}
_HOURS = [HourState.STORED] * 14 + [HourState.CLOSED] * 2 + [HourState.STORED] * 4
DAYS = {
    "XAUUSD": Day(NOW_MS, (*_HOURS, *[HourState.STORED] * 4)),
    "EURUSD": Day(NOW_MS, (*_HOURS, *[HourState.PENDING] * 4)),
    "SYM3": Day(NOW_MS, (*_HOURS, *[HourState.MISSING] * 2, *[HourState.FAILED] * 2)),
    **{f"SYM{number}": Day(NOW_MS, (*_HOURS, *[HourState.STORED] * 4)) for number in range(4, 300)},
}
LETTERS = [
    DeadLetter(f"SYM{number}", Lane.HIGH, 3, NOW_MS - number * 3_600_000, "HTTP 500 " * number)
    for number in range(3, 6)
]
ENTRIES = [
    QueueEntry(item=item, place=place, turn_ms=turn_ms)
    for item, place, turn_ms in (
        (queued("price:ETHUSD", ItemState.LEASED, until_ms=NOW_MS + 30_000), None, None),
        (queued("bars:GBPUSD", ItemState.WAITING, lane=Lane.BARS), 1, NOW_MS + 60_000),
        (
            queued(
                "history:USDJPY:2026-10-01:2026-11-03",
                ItemState.DELAYED,
                lane=Lane.HISTORY,
                attempts=1,
                until_ms=NOW_MS + 300_000,
                failed_ms=NOW_MS - 120_000,
                error="HTTP <500>",
            ),
            None,
            NOW_MS + 300_000,
        ),
    )
]
VOID = {"meta", "path", "br", "hr", "img", "input", "link"}


class Balance(HTMLParser):
    """Notes elements that are not closed, in the order of their opening."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.parts: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.parts += [value or "" for name, value in attrs if name == "id" and tag == "h2"]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def drawn(
    document: Health,
    series: dict[str, Series],
    closes: dict[str, list[tuple[int, float]]],
    *,
    refresh_seconds: int | None = None,
    **more: Any,
) -> str:
    """The page of a host that is called cache-1."""
    hourly = {symbol: [close for _, close in points] for symbol, points in closes.items()}
    more = {"host": "cache-1", "days": DAYS, **more}
    beside = Beside(series=series, closes=closes, hourly_closes=hourly, **more)
    return "".join(render(document, beside, refresh_seconds=refresh_seconds))


EVIL = "<script>alert(1)</script>&\"'$style" + "x" * 200


def hostile() -> Health:
    """Text from outside that means harm, or is only long, wherever there is text."""
    assets = [asset(number, symbol=EVIL, state="failed", reason=EVIL, error=EVIL) for number in (0, 3)]
    plan = {**health([]).plan, "tier": EVIL, "refusals": [EVIL], "upgrade_url": "https://massive.com/pricing"}
    return health(
        assets,
        status=HealthStatus.DEGRADED,
        problems=[Problem(EVIL, EVIL)],
        alerts=[Alert(Metric.WAITS, 1.0, 2.0, Severity.WARNING)],
        plan=plan,
    )


DOCUMENTS = {
    "3": health([asset(number) for number in range(3)]),
    "30": health([asset(number) for number in range(30)]),
    "300": health([asset(number) for number in range(300)]),
    "all broken": broken(30),
    "no database": no_database(),
    "nothing yet": health([], jobs=[], cycles=[], last_priority_update=None),
    "hostile": hostile(),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_is_whole_and_asks_nobody_for_anything(name: str) -> None:
    text = drawn(DOCUMENTS[name], day(), CLOSES)
    read = Balance()
    read.feed(text)
    assert (read.open, read.wrong) == ([], [])
    assert len(read.ids) == len(set(read.ids))
    elsewhere = [address for address in read.addresses if not address.startswith(("#", "data:"))]
    assert set(elsewhere) <= {"https://massive.com/pricing"}
    assert text.count("<script>") == text.count("<script") == 1
    assert "url(" not in text
    assert "@import" not in text
    assert text == drawn(DOCUMENTS[name], day(), CLOSES)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_to_each_of_its_parts_and_has_its_headings_in_order(name: str) -> None:
    read = Balance()
    read.feed(drawn(DOCUMENTS[name], day(), CLOSES))
    assert [address[1:] for address in read.addresses if address.startswith("#")] == (
        read.parts if len(read.parts) > 1 else []
    )
    assert read.headings[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(read.headings))


def test_300_assets_with_a_full_day_of_bars_each_are_below_a_megabyte() -> None:
    document = health([asset(number) for number in range(300)])
    closes = {one.symbol: CLOSES["XAUUSD"] for one in document.assets}
    assert len(drawn(document, day(), closes)) < 1_000_000


def test_shows_every_asset_with_its_price_and_its_closes() -> None:
    text = drawn(health([asset(number) for number in range(6)]), day(), CLOSES)
    for symbol in ("XAUUSD", "EURUSD", "BTCUSD", "SYM3", "SYM4", "SYM5"):
        assert symbol in text
    assert "4,083.31" in text
    assert text.count("newest day of bars") >= 6


def test_draws_a_line_for_each_asset_however_many_there_are() -> None:
    document = health([asset(number) for number in range(3, 1_003)])
    text = drawn(document, {}, {one.symbol: CLOSES["XAUUSD"] for one in document.assets})
    assert text.count('<td class="line"><svg') == 1_000


def test_gives_cards_to_the_first_priority_assets_only() -> None:
    assets = [asset(0, symbol=f"SYM{number}") for number in range(CARDS + 2)]
    assert [one.symbol for one in carded([asset(5), *assets])] == [f"SYM{number}" for number in range(CARDS)]


def test_has_the_charts_of_the_last_24_hours(well: Health) -> None:
    text = drawn(well, day(), {})
    for title in ("Calls a minute", "Items in the queue", "Duration of run-priority", "XAUUSD age"):
        assert re.search(rf"<svg[^>]*><title[^>]*>{title}</title>", text)
    assert "limit 5" in text


def test_says_what_was_never_measured(well: Health) -> None:
    text = drawn(well, {}, {})
    assert text.count("nothing measured") == 4


def test_says_problems_first_with_what_to_do() -> None:
    text = drawn(broken(3), day(), {})
    assert text.index("refuses the API key") < text.index('<h2 id="assets-critical">')
    assert "is cron running, and does its log say why?" in text


def test_says_the_gravest_problem_first_an_alert_too() -> None:
    document = health(
        [],
        status=HealthStatus.UNHEALTHY,
        problems=[Problem("not so bad")],
        alerts=[Alert(Metric.WAITS, 1, 2, Severity.CRITICAL)],
    )
    text = drawn(document, {}, {})
    assert text.index("api.rate_limit_waits is 1, its threshold is 2") < text.index("not so bad")


def test_says_of_each_class_how_many_are_fresh_and_shows_those_that_are_not_first() -> None:
    states = {3: "fresh", 6: "stale", 9: "due", 12: "failed"}
    text = drawn(health([asset(number, state=state) for number, state in states.items()]), {}, {})
    assert "<caption>2 of 4 assets fresh</caption>" in text
    rows = re.findall(r'<th scope="row" class="name">(\w+)</th>', text)
    assert rows == ["SYM6", "SYM12", "SYM3", "SYM9"]


def test_without_a_database_says_that_the_assets_are_not_known() -> None:
    text = drawn(no_database(), day(), {})
    assert "since the database cannot be read" in text
    assert "0 of 0" not in text


def test_without_redis_says_what_is_wrong_and_what_to_do() -> None:
    pieces = render_error(
        RedisError("<nothing> listens", hint="start <it>"),
        host="cache-1",
        made_ms=NOW_MS,
        interval_seconds=60,
        refresh_seconds=60,
    )
    text = "".join(pieces)
    read = Balance()
    read.feed(text)
    assert (read.open, read.wrong) == ([], [])
    assert "<title>unhealthy on cache-1: assetbatch</title>" in text
    assert f'data-made="{NOW_MS}" data-interval="60"' in text
    assert "&lt;nothing&gt; listens" in text
    assert "start &lt;it&gt;" in text
    assert 'content="60"' in text


def test_says_when_it_was_checked_what_the_plan_shows_and_what_is_left_of_the_window(well: Health) -> None:
    text = drawn(well, day(), {})
    assert 'made <time datetime="2027-01-15T08:00:00.000+00:00">2027-01-15 08:00:00 UTC</time>' in text
    assert "free, forex up to 2027-01-15 00:00 UTC, crypto up to now" in text
    assert "3 of 5 used in 60 s, 2 kept for the next priority cycle, 2 left" in text
    assert text.count("<span class=used></span>") == 3
    assert "next slot in 41 s" in drawn(broken(3), {}, {})


def test_says_of_the_queue_what_waits_and_until_when(well: Health) -> None:
    assert (
        "12 of at most 1,000, waiting 4 HIGH, 5 MEDIUM, 1 LOW, 2 HISTORY, 1 leased, "
        "1 delayed, the oldest for 2 min, 12 calls ahead, done in about 3 min"
    ) in drawn(well, {}, {})


def test_says_why_the_share_of_bars_is_low_while_pages_of_the_past_wait(well: Health) -> None:
    words = "bars: 2 pages of the past wait; bars that are not stored yet count as missing"
    assert words in drawn(well, {}, {})
    assert "count as missing" not in drawn(structs.replace(well, queue={**well.queue, "history": 0}), {}, {})


def test_few_calls_are_not_rounded_to_none(well: Health) -> None:
    text = drawn(well, {CALLS: Series(CALLS, 60_000, [(NOW_MS - 60_000, 5.0)])}, {})
    assert "<desc>last 5, lowest 0, mean below 0.1, highest 5, limit 5</desc>" in text


def test_tells_simulated_prices_from_real_ones(well: Health) -> None:
    assert "simulated" not in drawn(well, {}, {})
    sandbox = health([], plan={**well.plan, "simulated": True})
    assert "sandbox: simulated prices" in drawn(sandbox, {}, {})


def test_says_what_the_plan_lacks_and_where_to_get_more() -> None:
    document = health([], plan={**health([]).plan, "refusals": ["your plan has no forex snapshots"]})
    text = drawn(document, {}, {})
    assert "your plan has no forex snapshots" in text
    assert 'href="https://massive.com/pricing"' in text


def test_escapes_whatever_comes_from_outside() -> None:
    letters = [DeadLetter(EVIL, Lane.HIGH, 3, NOW_MS, EVIL)]
    text = drawn(hostile(), day(), {EVIL: CLOSES["XAUUSD"]}, host=EVIL, letters=letters)
    assert text.count("<script") == 1
    assert EVIL not in text
    assert text.count(escape(EVIL)) >= 10


def test_asks_again_by_itself_only_where_it_is_served(well: Health) -> None:
    assert 'http-equiv="refresh"' not in drawn(well, {}, {})
    assert '<meta http-equiv="refresh" content="60">' in drawn(well, {}, {}, refresh_seconds=60)


def cells(text: str, part: str) -> list[list[str]]:
    """The rows of the table of a part, as text."""
    table = text.partition(f'<h2 id="{part}">')[2].partition("</section>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[dh].*?</t[dh]>", row)] for row in rows]


def test_shows_what_waits_with_its_turn_and_how_many_more_there_are(well: Health) -> None:
    text = drawn(well, {}, {}, entries=ENTRIES)
    assert cells(text, "waits")[1:] == [
        [
            "",
            "price of ETHUSD",
            "HIGH",
            "leased",
            "0 of 3",
            "10 min",
            "now",
            "being worked; its lease ends in 30 s",
        ],
        ["1", "bars of GBPUSD", "BARS", "waiting", "0 of 3", "10 min", "in 60 s", "not asked for yet"],
        [
            *("", "history of USDJPY, 2026-10-01 to 2026-11-03", "HISTORY", "delayed", "1 of 3", "10 min"),
            *("in 5 min", "last failure 2 min ago: HTTP &lt;500&gt;"),
        ],
    ]
    assert "9 more: assetbatch queue list shows them." in text
    assert '<h2 id="waits">' not in drawn(well, {}, {})


def test_shows_dead_letters_as_a_table(well: Health) -> None:
    assert cells(drawn(well, {}, {}, letters=LETTERS), "dead")[1:] == [
        [f"price of SYM{n}", "HIGH", "3", f"{n} h ago", "HTTP 500 " * n] for n in (3, 4, 5)
    ]


def test_shows_the_last_failures_also_those_that_are_over(well: Health) -> None:
    failures = [
        FailureShown(
            command=Command.RUN_PRIORITY,
            error="HTTP <503>",
            names="XAUUSD, EURUSD",
            first=iso(NOW_MS - 3_600_000),
            last=iso(NOW_MS - 1_800_000),
            cycles=7,
        )
    ]
    text = drawn(structs.replace(well, failures=failures), {}, {})
    assert cells(text, "failures")[1:] == [
        ["run-priority", "HTTP &lt;503&gt;", "XAUUSD, EURUSD", "7", "60 min ago", "30 min ago"]
    ]
    assert '<h2 id="failures">' not in drawn(well, {}, {})
