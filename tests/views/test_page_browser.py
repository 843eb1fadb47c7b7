"""The page in a real browser: it renders, has nothing to complain of, and can be used by everybody."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from assetbatch.monitoring.server import Application, Cached, Document, Server
from assetbatch.views.web.page import security_policy

from .conftest import NOW_MS, asset, day, health
from .test_page import CLOSES, DOCUMENTS, ENTRIES, LETTERS, drawn

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_package = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")

pytestmark = pytest.mark.slow

AXE = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
ALIKE = "table.assets tbody tr:nth-child(n+30)"
"""Rows that axe is spared: they are made as those before, and cost it 20 s."""
WIDTHS = {"phone": 360, "desk": 1280}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium here")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


class Seen(NamedTuple):
    """A page in a tab, what it complained of and what it asked for."""

    tab: Any
    said: list[str]
    asked: list[str]


@contextmanager
def opened(
    browser: Any, address: str, width: int = 1280, scheme: str = "light", age_seconds: float = 30
) -> Iterator[Seen]:
    """Open a page that is so old."""
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen = Seen(tab, [], [])
    try:
        tab.on("console", lambda message: seen.said.append(message.text))
        tab.on("pageerror", lambda error: seen.said.append(str(error)))
        tab.on("request", lambda request: seen.asked.append(request.url))
        tab.clock.set_fixed_time(datetime.fromtimestamp(NOW_MS / 1000 + age_seconds, UTC))
        tab.goto(address)
        yield seen
    finally:
        tab.close()


def written(folder: Path, name: str) -> str:
    file = folder / "page.html"
    text = drawn(DOCUMENTS[name], day(), CLOSES, entries=ENTRIES, letters=LETTERS)
    file.write_text(text, encoding="utf-8")
    return file.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("name", sorted({*DOCUMENTS} - {"300"}))
def test_renders_without_complaint_for_everybody(
    browser: Any, tmp_path: Path, name: str, device: str, scheme: str
) -> None:
    address = written(tmp_path, name)
    with opened(browser, address, WIDTHS[device], scheme) as (tab, said, asked):
        assert tab.title().endswith(f"{DOCUMENTS[name].status} on cache-1: assetbatch")
        assert tab.evaluate("document.documentElement.scrollWidth") <= WIDTHS[device]
        for box in tab.evaluate(
            "[...document.querySelectorAll('svg:not(.legend *)')].map(s => s.getBoundingClientRect())"
        ):
            assert box["width"] > 40
            assert box["height"] > 10
        tab.evaluate(AXE)
        found = tab.evaluate(f"axe.run({{exclude: [['{ALIKE}']]}}).then(result => result.violations)")
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []
        here = [url for url in asked if not url.startswith("data:")]
        assert (said, here) == ([], [address])


def test_a_long_page_renders_without_complaint(browser: Any, tmp_path: Path) -> None:
    """Once: its rows are those of the others."""
    test_renders_without_complaint_for_everybody(browser, tmp_path, "300", "desk", "light")


def test_is_served_without_anything_being_refused(browser: Any) -> None:
    body = drawn(DOCUMENTS["30"], day(), CLOSES, refresh_seconds=60).encode()
    policy = {"Content-Security-Policy": security_policy()}
    page = Cached(lambda: Document(200, "text/html; charset=utf-8", body, policy), 5)
    server = Server("127.0.0.1", 0, Application({"/": page}))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        with opened(browser, f"http://127.0.0.1:{server.port}/") as (tab, said, asked):
            tab.wait_for_load_state("networkidle")
            coloured = tab.evaluate("getComputedStyle(document.querySelector('.verdict')).color")
            assert coloured == "rgb(17, 99, 41)"  # the style is let through
            assert tab.locator("#tools").is_visible()  # and the script
            here = [url for url in asked if not url.startswith("data:")]
            assert (said, here) == ([], [f"http://127.0.0.1:{server.port}/"])
    finally:
        server.stop()
        thread.join(5)


def test_a_phone_shows_why_an_asset_is_not_fresh(browser: Any, tmp_path: Path) -> None:
    with opened(browser, written(tmp_path, "all broken"), WIDTHS["phone"]) as (tab, _, _):
        row = tab.locator("table.assets tbody tr").first
        for cell in (".state", ".last", ".age", ".behind", ".bars", ".why"):
            assert row.locator(cell).is_visible(), cell
        assert "no answer within 10 s" in row.locator(".why").inner_text()


@pytest.mark.parametrize("width", [360, 500, 1200])
def test_the_tables_of_commands_and_cycles_are_seen_whole(browser: Any, tmp_path: Path, width: int) -> None:
    with opened(browser, written(tmp_path, "30"), width) as (tab, _, _):
        cut = "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth).map(box => box.ariaLabel)"
        assert tab.locator(".pair > .scroll").evaluate_all(cut) == []


def test_the_prices_of_cards_stand_alike_whatever_the_names(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    names = ("Gold Spot", "Euro", "Bitcoin, the first of the cryptocurrencies")
    assets = [asset(n, name=name, last_price=104_083.31 / 10**n) for n, name in enumerate(names)]
    file.write_text(drawn(health(assets), day(), CLOSES), encoding="utf-8")
    for width in (360, 1000, 1400):
        with opened(browser, file.as_uri(), width) as (tab, _, _):
            below = (
                "cards => cards.map(card => card.querySelector('.quote').getBoundingClientRect().top"
                " - card.getBoundingClientRect().top)"
            )
            found = tab.locator(".card:has(.quote)").evaluate_all(below)
            assert max(found) - min(found) < 1, width


BROKEN_WORDS = r"""() => [...document.querySelectorAll('.assets th, .assets td:not(.why)')].filter(cell => {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT)
    for (let text; (text = texts.nextNode());)
        for (const word of text.data.matchAll(/\S+/g)) {
            const range = document.createRange()
            range.setStart(text, word.index)
            range.setEnd(text, word.index + word[0].length)
            if (range.getClientRects().length > 1) return true
        }
    return false
}).map(cell => cell.textContent)"""


@pytest.mark.parametrize("width", [900, 1000, 1280])
@pytest.mark.parametrize("name", ["30", "all broken"])
def test_no_word_of_the_table_is_broken_on_a_narrow_desk(
    browser: Any, tmp_path: Path, name: str, width: int
) -> None:
    with opened(browser, written(tmp_path, name), width) as (tab, _, _):
        assert tab.evaluate(BROKEN_WORDS) == []


def test_follows_the_theme_and_tells_states_apart_in_both(browser: Any, tmp_path: Path) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        with opened(browser, written(tmp_path, "all broken"), scheme=scheme) as (tab, _, _):
            colours[scheme] = tab.evaluate(
                "[getComputedStyle(document.body).backgroundColor,"
                " getComputedStyle(document.querySelector('.verdict')).color]"
            )
    assert colours["light"] != colours["dark"]


@pytest.mark.parametrize("device", WIDTHS)
def test_a_screen_reader_finds_tables_charts_and_headings(browser: Any, tmp_path: Path, device: str) -> None:
    with opened(browser, written(tmp_path, "all broken"), WIDTHS[device]) as (tab, _, _):
        tree = tab.locator("body").aria_snapshot()
    for words in (
        'navigation "on this page"',
        'heading "What needs attention" [level=2]',
        "table",
        "critical:",
    ):
        assert words in tree
    assert re.search(r'img "XAUUSD age"', tree)
    assert re.search(r'columnheader "price"', tree)
    assert re.search(r'rowheader "SYM3"', tree)


def rows(tab: Any) -> list[str]:
    """The symbols of the rows that are shown."""
    heads = "heads => heads.map(head => head.firstChild.textContent.trim())"
    found: list[str] = tab.locator("table.assets tbody tr:visible th").evaluate_all(heads)
    return found


class TestAge:
    def test_a_page_that_is_made_anew_in_time_says_how_old_it_is(self, browser: Any, tmp_path: Path) -> None:
        with opened(browser, written(tmp_path, "30"), age_seconds=590) as (tab, _, _):
            assert tab.locator("#age").inner_text() == ", 10 min ago"
            assert tab.locator(".tiles", has_text="run-queue").inner_text().count("11 min ago") == 3
            assert tab.locator("#cycles ~ .pair [data-at]").all_inner_texts() == ["11 min ago"] * 4
            assert not tab.locator("#outdated").is_visible()
            assert tab.title() == "healthy on cache-1: assetbatch"

    def test_one_that_is_older_than_two_intervals_is_grey_and_says_so(
        self, browser: Any, tmp_path: Path
    ) -> None:
        with opened(browser, written(tmp_path, "30"), age_seconds=601) as (tab, said, _):
            banner = tab.get_by_role("alert")
            assert "This page was made 10 min ago" in banner.inner_text()
            assert "every 5 min" in banner.inner_text()
            assert tab.evaluate("getComputedStyle(document.querySelector('main')).filter") == "grayscale(1)"
            assert tab.title() == "outdated: healthy on cache-1: assetbatch"
            assert "888888" in tab.locator("link[rel=icon]").get_attribute("href")
            tab.evaluate(AXE)
            found = tab.evaluate("axe.run().then(result => result.violations.map(rule => rule.id))")
            assert found == []
            assert said == []

    def test_it_becomes_grey_while_one_looks_at_it(self, browser: Any, tmp_path: Path) -> None:
        tab = browser.new_page()
        try:
            tab.clock.install(time=datetime.fromtimestamp(NOW_MS / 1000 + 590, UTC))
            tab.goto(written(tmp_path, "30"))
            assert not tab.locator("#outdated").is_visible()
            tab.clock.run_for(20_000)
            assert tab.locator("#outdated").is_visible()
        finally:
            tab.close()

    def test_a_clock_that_is_behind_makes_nothing_old(self, browser: Any, tmp_path: Path) -> None:
        with opened(browser, written(tmp_path, "30"), age_seconds=-3600) as (tab, _, _):
            assert tab.locator("#age").inner_text() == ", 0 s ago"
            assert not tab.locator("#outdated").is_visible()


class TestTable:
    def many(self, folder: Path, count: int) -> str:
        """A page of so many assets; every hundredth is stale, and number 5 has a name."""
        assets = [
            asset(
                number,
                state="stale" if number % 100 == 7 else "fresh",
                name="Norwegian krone" if number == 5 else None,
            )
            for number in range(count)
        ]
        file = folder / "many.html"
        file.write_text(drawn(health(assets), day(), {}), encoding="utf-8")
        return file.as_uri()

    @pytest.mark.parametrize("device", WIDTHS)
    def test_finds_by_symbol_name_priority_asset_class_and_state(
        self, browser: Any, tmp_path: Path, device: str
    ) -> None:
        with opened(browser, self.many(tmp_path, 300), WIDTHS[device]) as (tab, said, _):
            assert len(rows(tab)) == 297
            find = tab.get_by_label("find")
            for words, expected in (
                ("sym29", [f"SYM{n}" for n in (29, *range(290, 300))]),
                ("krone", ["SYM5"]),
                ("stale low", ["SYM107"]),
                ("stale forex high", ["SYM207"]),
                ("nothing of this kind", []),
            ):
                find.fill(words)
                assert rows(tab) == expected, words
            assert tab.locator("#count").inner_text() == "0 of 297 assets"
            find.fill("")
            tab.get_by_label("only what is not well").check()
            assert rows(tab) == ["SYM7", "SYM107", "SYM207"]
            assert said == []

    def test_is_sorted_by_a_head_up_down_and_as_it_was(self, browser: Any, tmp_path: Path) -> None:
        with opened(browser, self.many(tmp_path, 30)) as (tab, _, _):
            before = rows(tab)
            head = tab.get_by_role("columnheader", name="price")
            button = head.get_by_role("button")
            button.click()
            assert rows(tab)[:3] == ["SYM3", "SYM4", "SYM5"]  # the dearest first
            assert head.get_attribute("aria-sort") == "descending"
            button.press("Enter")
            assert rows(tab)[:2] == ["SYM29", "SYM28"]
            assert head.get_attribute("aria-sort") == "ascending"
            button.click()
            assert rows(tab) == before
            tab.get_by_role("columnheader", name="asset").get_by_role("button").click()
            assert rows(tab) == sorted(before)

    def test_keeps_what_was_searched_when_the_page_is_made_anew(self, browser: Any, tmp_path: Path) -> None:
        with opened(browser, self.many(tmp_path, 300)) as (tab, _, _):
            tab.get_by_label("find").fill("sym29")
            tab.get_by_role("columnheader", name="price").get_by_role("button").click()
            tab.get_by_label("find").focus()
            found = rows(tab)
            tab.reload()
            assert rows(tab) == found
            assert tab.evaluate("document.activeElement.id") == "find"

    def test_of_12_500_assets_shows_some_and_finds_each(self, browser: Any, tmp_path: Path) -> None:
        with opened(browser, self.many(tmp_path, 12_500)) as (tab, said, _):
            assert len(rows(tab)) == 300
            assert rows(tab)[:2] == ["SYM7", "SYM107"]
            assert tab.locator("#count").inner_text() == "12,497 assets"
            tab.get_by_role("button", name="show 300 more, 12,197 are left").click()
            assert len(rows(tab)) == 600
            tab.get_by_label("find").fill("sym12345")
            playwright.expect(tab.locator("table.assets tbody tr")).to_have_count(1)
            assert rows(tab) == ["SYM12345"]
            assert said == []

    def test_can_be_read_without_scripts(self, browser: Any, tmp_path: Path) -> None:
        context = browser.new_context(java_script_enabled=False)
        try:
            tab = context.new_page()
            tab.goto(self.many(tmp_path, 400))
            assert len(rows(tab)) == 300
            assert "The first 300 of 397 are shown" in tab.locator("#cut").inner_text()
            assert not tab.locator("#tools").is_visible()
        finally:
            context.close()
