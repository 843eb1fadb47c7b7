"""Charts as SVG: what they draw, and what they say in words."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.views.charts import HEIGHT, WIDTH, Line, chart, sparkline

HOUR = 3_600_000
END = 1_800_000_000_000
START = END - 24 * HOUR


def draw(points: list[tuple[int, float]], **options: object) -> str:
    line = Line("data", points, HOUR)
    return chart("Calls", line, START, END, "{:g} calls".format, **options)  # type: ignore[arg-type]


def svg(markup: str) -> ElementTree.Element:
    found = ElementTree.fromstring(markup).find("svg")
    assert found is not None
    return found


def coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def test_says_in_words_what_it_draws() -> None:
    found = svg(draw([(START, 2.0), (END, 5.0)], limit=5.0))
    assert found.attrib["role"] == "img"
    labels = {child.attrib["id"]: child.text for child in found if child.tag in ("title", "desc")}
    assert [labels[name] for name in found.attrib["aria-labelledby"].split()] == [
        "Calls",
        "last 5 calls, from 2 calls to 5 calls, limit 5 calls",
    ]


def test_runs_from_the_left_to_the_right_and_from_zero() -> None:
    path = svg(draw([(START, 0.0), (END, 10.0)])).findall("path")[0].attrib["d"]
    (left, bottom), (right, top) = coordinates(path)
    assert left < 10 < WIDTH - 10 < right
    assert top < bottom <= HEIGHT


def test_a_pause_in_the_measurements_breaks_the_line() -> None:
    unbroken = svg(draw([(START + n * HOUR, 1.0) for n in range(5)])).findall("path")[0].attrib["d"]
    broken = svg(draw([(START, 1.0), (START + 10 * HOUR, 1.0)])).findall("path")[0].attrib["d"]
    assert (unbroken.count("M"), broken.count("M")) == (1, 2)


def test_without_points_says_that_nothing_was_measured() -> None:
    assert "nothing measured" in draw([])
    assert "nothing measured" in draw([(START - 1, 5.0)])
    assert "<svg" not in draw([])


def test_text_is_escaped() -> None:
    assert "<b>" not in chart("<b>x</b>", Line("data", [(END, 1.0)]), START, END, str)
    assert "<b>" not in sparkline("<b>x</b>", [(START, 1.0), (END, 2.0)])


@pytest.mark.parametrize(("values", "style"), [((1.0, 2.0), "up"), ((2.0, 1.0), "down"), ((1.0, 1.0), "up")])
def test_a_sparkline_shows_by_its_class_where_it_went(values: tuple[float, float], style: str) -> None:
    points = list(zip((START, END), values, strict=True))
    assert f'class="{style}"' in sparkline("x", points)


def test_a_sparkline_needs_two_points() -> None:
    assert sparkline("x", [(START, 1.0)]) == ""


@given(
    st.lists(st.tuples(st.integers(START, END), st.floats(0, 1e15)), min_size=1, max_size=50), st.booleans()
)
def test_every_point_lies_within_the_frame(points: list[tuple[int, float]], from_zero: bool) -> None:
    for path in svg(draw(sorted(points), from_zero=from_zero)).findall("path"):
        for x, y in coordinates(path.attrib["d"]):
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
