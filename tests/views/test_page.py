"""The page as markup: all there, all escaped, nothing from the network."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from assetbatch.health import Health, Problem
from assetbatch.views.page import render

from .conftest import NOW_MS, asset, broken, day, health, no_database

CLOSES = {
    symbol: [(NOW_MS - n * 900_000, 100.0 + n % 7) for n in range(96, 0, -1)]
    for symbol in ("XAUUSD", "EURUSD", "BTCUSD", "SYM3", "SYM4", "SYM5")
}
VOID = {"meta", "path", "br", "hr", "img", "input", "link"}


class Balance(HTMLParser):
    """Notes elements that are not closed, in the order of their opening."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


DOCUMENTS = {
    "3": health([asset(number) for number in range(3)]),
    "30": health([asset(number) for number in range(30)]),
    "300": health([asset(number) for number in range(300)]),
    "all broken": broken(30),
    "no database": no_database(),
    "nothing yet": health([], jobs=[], cycles=[], last_priority_update=None),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_is_whole_and_asks_nobody_for_anything(name: str) -> None:
    text = render(DOCUMENTS[name], day(), CLOSES)
    read = Balance()
    read.feed(text)
    assert (read.open, read.wrong) == ([], [])
    assert len(read.ids) == len(set(read.ids))
    assert set(read.addresses) <= {"https://massive.com/pricing"}
    assert "<script" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert len(text) < 1_000_000


def test_shows_every_asset_with_its_price_and_its_closes() -> None:
    text = render(health([asset(number) for number in range(6)]), day(), CLOSES)
    for symbol in ("XAUUSD", "EURUSD", "BTCUSD", "SYM3", "SYM4", "SYM5"):
        assert symbol in text
    assert "4,083.31" in text
    assert text.count("newest day of bars") >= 6


def test_has_the_charts_of_the_last_24_hours(well: Health) -> None:
    text = render(well, day(), {})
    for title in ("Calls a minute", "Items in the queue", "Duration of run-priority", "XAUUSD age"):
        assert re.search(rf"<svg[^>]*><title[^>]*>{title}</title>", text)
    assert "limit 5" in text


def test_says_what_was_never_measured(well: Health) -> None:
    text = render(well, {}, {})
    assert text.count("nothing measured") == 4


def test_says_problems_first_with_what_to_do() -> None:
    text = render(broken(3), day(), {})
    assert text.index("refuses the API key") < text.index("Priority assets")
    assert "is cron running, and does its log say why?" in text


def test_says_what_the_plan_lacks_and_where_to_get_more() -> None:
    document = health([], plan={**health([]).plan, "refusals": ["your plan has no forex snapshots"]})
    text = render(document, {}, {})
    assert "your plan has no forex snapshots" in text
    assert 'href="https://massive.com/pricing"' in text


def test_escapes_whatever_comes_from_outside() -> None:
    evil = "<script>alert(1)</script>&\"'$style"
    hostile = asset(0, symbol=evil, state=evil, reason=evil, error=evil)
    document = health(
        [hostile, asset(3, symbol=evil, error=evil)], problems=[Problem(evil, evil)], status="degraded"
    )
    text = render(document, {}, {evil: [(1, 1.0), (2, 2.0)]})
    assert "<script" not in text
    assert text.count("$style") >= 4  # as text: the template is not filled a second time


def test_asks_again_by_itself_only_where_it_is_served(well: Health) -> None:
    assert "http-equiv" not in render(well, {}, {})
    assert '<meta http-equiv="refresh" content="60">' in render(well, {}, {}, refresh_seconds=60)
