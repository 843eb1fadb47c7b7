"""The page in a real browser: it renders, has nothing to complain of, and can be used by everybody."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from assetbatch.views.page import render

from .conftest import day
from .test_page import CLOSES, DOCUMENTS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_package = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")

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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_renders_without_complaint_for_everybody(
    browser: Any, tmp_path: Path, name: str, device: str, scheme: str
) -> None:
    file = tmp_path / "page.html"
    file.write_text(render(DOCUMENTS[name], day(), CLOSES), encoding="utf-8")
    said: list[str] = []
    asked: list[str] = []
    viewport = {"width": WIDTHS[device], "height": 900}
    page = browser.new_page(viewport=viewport, color_scheme=scheme)
    try:
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        assert page.title() == f"assetbatch: {DOCUMENTS[name].status}"
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[device]
        for box in page.evaluate("[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect())"):
            assert box["width"] > 0 or device == "phone"  # some columns are for wide screens only
        page.evaluate(AXE)
        found = page.evaluate("axe.run().then(result => result.violations)")
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []
        assert (said, asked) == ([], [file.as_uri()])
    finally:
        page.close()
