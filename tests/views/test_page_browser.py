"""The page in a real browser: it renders, has nothing to complain of, and can be used by everybody."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from assetbatch.monitoring.server import Application, Cached, Document, Server
from assetbatch.views.web.page import render

from .conftest import day
from .test_page import CLOSES, DOCUMENTS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_package = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")

pytestmark = pytest.mark.slow

AXE = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
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
def opened(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> Iterator[Seen]:
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen = Seen(tab, [], [])
    try:
        tab.on("console", lambda message: seen.said.append(message.text))
        tab.on("pageerror", lambda error: seen.said.append(str(error)))
        tab.on("request", lambda request: seen.asked.append(request.url))
        tab.goto(address)
        yield seen
    finally:
        tab.close()


def written(folder: Path, name: str) -> str:
    file = folder / "page.html"
    file.write_text(render(DOCUMENTS[name], day(), CLOSES), encoding="utf-8")
    return file.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_renders_without_complaint_for_everybody(
    browser: Any, tmp_path: Path, name: str, device: str, scheme: str
) -> None:
    address = written(tmp_path, name)
    with opened(browser, address, WIDTHS[device], scheme) as (tab, said, asked):
        assert tab.title() == f"assetbatch: {DOCUMENTS[name].status}"
        assert tab.evaluate("document.documentElement.scrollWidth") <= WIDTHS[device]
        for box in tab.evaluate("[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect())"):
            assert box["width"] > 40
            assert box["height"] > 10
        tab.evaluate(AXE)
        found = tab.evaluate("axe.run().then(result => result.violations)")
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []
        here = [url for url in asked if not url.startswith("data:")]
        assert (said, here) == ([], [address])


def test_is_served_without_anything_being_refused(browser: Any) -> None:
    body = render(DOCUMENTS["30"], day(), CLOSES, refresh_seconds=60).encode()
    server = Server(
        "127.0.0.1", 0, Application({"/": Cached(lambda: Document(200, "text/html; charset=utf-8", body), 5)})
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        with opened(browser, f"http://127.0.0.1:{server.port}/") as (tab, said, asked):
            tab.wait_for_load_state("networkidle")
            coloured = tab.evaluate("getComputedStyle(document.querySelector('.verdict')).color")
            assert coloured == "rgb(17, 99, 41)"  # the style is let through
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
    for words in ('navigation "on this page"', 'heading "What is wrong" [level=2]', "table", "critical:"):
        assert words in tree
    assert re.search(r'img "XAUUSD age"', tree)
    assert re.search(r'columnheader "price"', tree)
    assert re.search(r'rowheader "SYM3"', tree)
