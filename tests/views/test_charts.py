"""Charts as SVG: what they draw, and what they say in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.metrics import Series
from assetbatch.health.hours import Day, HourState
from assetbatch.views.web.charts import COLUMNS, HEIGHT, WIDTH, chart, hour_bars, hour_sample, sparkline

HOUR = 3_600_000
END = 1_800_000_000_000
START = END - 24 * HOUR

Draw = Callable[..., str]


def calls(value: float) -> str:
    return f"{value:g} calls"


def draw(points: list[tuple[int, float]], **options: object) -> str:
    return chart("Calls", Series("calls", HOUR, points), START, END, calls, **options)  # type: ignore[arg-type]


def draw_columns(points: list[tuple[int, float]], **options: object) -> str:
    return chart("Calls", Series("calls", HOUR, points), START, END, calls, are_counts=True, **options)  # type: ignore[arg-type]


both = pytest.mark.parametrize("draw", [draw, draw_columns])


def svg(markup: str) -> ElementTree.Element:
    found = next(ElementTree.fromstring(markup).iter("svg"), None)
    assert found is not None
    return found


def said(markup: str) -> str:
    found = svg(markup)
    assert (found.attrib["role"], found[0].tag, found[0].text) == ("img", "title", "Calls")
    assert found[1].tag == "desc"
    return found[1].text or ""


def path(markup: str, style: str) -> str:
    """The drawing of that class."""
    return next(
        mark.attrib["d"] for mark in svg(markup).iter("path") if style in mark.attrib["class"].split()
    )


def coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


class TestEveryChart:
    def test_says_last_lowest_and_highest_and_the_limit(self) -> None:
        words = said(draw([(START, 2.0), (START + HOUR, 7.0), (END, 5.0)], limit=5.0))
        assert words == "last 5 calls, lowest 2 calls, highest 7 calls, limit 5 calls"

    @both
    def test_shows_the_same_words_beside_the_drawing(self, draw: Draw) -> None:
        markup = draw([(START, 2.0), (END, 5.0)], limit=6.0)
        shown = next(ElementTree.fromstring(markup).iter("figcaption"))
        assert "".join(shown.itertext()) == f"Calls {said(markup)}"

    @both
    def test_draws_the_limit_within_the_frame_even_where_nothing_comes_near(self, draw: Draw) -> None:
        markup = draw([(START, 1.0), (END, 1.0)], limit=100.0)
        ((_, limit),) = coordinates(path(markup, "limit"))
        assert 0 < limit < HEIGHT / 2
        assert "<span>100 calls</span><span>0 calls</span>" in markup  # the scale

    @both
    def test_says_that_nothing_was_measured_where_there_is_no_point_in_its_time(self, draw: Draw) -> None:
        for points in ([], [(START - 1, 5.0)], [(END + 1, 5.0)]):
            assert "nothing measured" in draw(points)
            assert "<svg" not in draw(points)

    @both
    def test_is_the_same_each_time(self, draw: Draw) -> None:
        assert draw([(START, 2.0)]) == draw([(START, 2.0)])

    def test_escapes_its_text(self) -> None:
        line = Series("calls", HOUR, [(START, 1.0), (END, 2.0)])
        for markup in (
            chart("<b>x</b>", line, START, END, "<b>{}".format, limit=1.0, ends=("<b>", "<b>")),
            chart("<b>x</b>", line, START, END, "<b>{}".format, are_counts=True, ends=("<b>", "<b>")),
            sparkline("<b>x</b>", [1.0, 2.0], "<b>{}".format),
        ):
            assert "<b>" not in markup


class TestALine:
    def test_runs_from_the_left_to_the_right_and_from_zero(self) -> None:
        (left, bottom), (right, top) = coordinates(path(draw([(START, 0.0), (END, 10.0)]), "data"))
        assert (left, right) == (0, WIDTH)
        assert 0 < top < bottom < HEIGHT

    def test_is_broken_by_a_pause_in_the_measurements(self) -> None:
        unbroken = path(draw([(START + n * HOUR, 1.0) for n in range(5)]), "data")
        hours = (0, 1, 10, 11, 23, 24)
        broken = path(draw([(START + hour * HOUR, 1.0) for hour in hours]), "data")
        assert (unbroken.count("M"), broken.count("M")) == (1, 3)

    def test_shows_a_point_between_two_pauses_as_a_dot(self) -> None:
        markup = draw([(START, 1.0), (START + HOUR, 1.0), (START + 10 * HOUR, 1.0), (END, 1.0)])
        assert path(markup, "data").count("M") == 1
        assert len(coordinates(path(markup, "dot"))) == 2
        assert "dot" not in draw([(START, 1.0), (START + HOUR, 1.0)])

    def test_below_zero_it_stays_within_the_frame(self) -> None:
        points = [(START, -5.0), (END, 5.0)]
        assert [0 <= y <= HEIGHT for _, y in coordinates(path(draw(points), "data"))] == [True, True]
        assert said(draw(points)).endswith("lowest -5 calls, highest 5 calls")

    @given(
        st.lists(st.tuples(st.integers(START, END), st.floats(-1e15, 1e15)), min_size=1, max_size=50),
        st.booleans(),
    )
    def test_every_point_lies_within_the_frame(
        self, points: list[tuple[int, float]], from_zero: bool
    ) -> None:
        marks = [mark.attrib for mark in svg(draw(sorted(points), from_zero=from_zero)).iter("path")]
        found = [xy for mark in marks if "data" in mark["class"] for xy in coordinates(mark["d"])]
        assert len(found) == len(points)
        for x, y in found:
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


class TestColumns:
    def test_an_interval_without_a_point_counted_nothing(self) -> None:
        words = said(draw_columns([(START + 12 * HOUR, 12.0)]))
        assert words == "last 0 calls, lowest 0 calls, mean 0.5 calls, highest 12 calls"

    def test_a_full_day_has_its_own_lowest(self) -> None:
        every = [(START + n * HOUR, 2.0 + n % 2) for n in range(24)]
        assert said(draw_columns(every)) == "last 3 calls, lowest 2 calls, mean 2.5 calls, highest 3 calls"

    def test_the_last_count_is_the_one_before_while_the_newest_has_only_begun(self) -> None:
        assert said(draw_columns([(END - HOUR - 1, 4.0)])).startswith("last 4 calls")
        assert said(draw_columns([(END - 2 * HOUR, 4.0)])).startswith("last 0 calls")

    def test_show_the_mean_of_their_time_and_behind_it_the_highest(self) -> None:
        minute = HOUR // 60
        line = Series("calls", minute, [(START, 6.0), (START + minute, 0.0)])
        markup = chart("Calls", line, START, END, calls, are_counts=True)
        heights = [
            float(d.split()[1].split("V")[0]) - float(d.split("V")[1].split("H")[0])
            for d in (path(markup, "peak"), path(markup, "mean"))
        ]
        assert heights[0] == pytest.approx(10 * heights[1], abs=0.2)

    def test_are_no_more_than_can_be_told_apart(self) -> None:
        minute = HOUR // 60
        line = Series("calls", minute, [(START + n * minute, 1.0) for n in range(1440)])
        assert path(chart("Calls", line, START, END, calls, are_counts=True), "peak").count("M") == COLUMNS

    @given(st.lists(st.tuples(st.integers(START, END), st.floats(0, 1e15)), min_size=1, max_size=50))
    def test_every_column_lies_within_the_frame(self, points: list[tuple[int, float]]) -> None:
        for style in ("peak", "mean"):
            drawn = path(draw_columns(sorted(points)), style)
            assert all(0 <= float(x) <= WIDTH for x in re.findall(r"[MH](-?[\d.]+)", drawn))
            assert all(0 <= float(y) <= HEIGHT for y in re.findall(r"V(-?[\d.]+)", drawn))


class TestASparkline:
    @pytest.mark.parametrize(
        ("values", "style"), [((1.0, 2.0), "up"), ((2.0, 1.0), "down"), ((1.0, 1.0), "up")]
    )
    def test_shows_by_its_class_where_it_went(self, values: tuple[float, float], style: str) -> None:
        assert f'class="{style}"' in sparkline("x", values, calls)

    def test_says_last_lowest_and_highest(self) -> None:
        assert said(sparkline("Calls", [1.0, 3.0, 2.0], calls)) == (
            "last 2 calls, lowest 1 calls, highest 3 calls"
        )

    def test_gives_each_value_the_same_room(self) -> None:
        xs = [x for x, _ in coordinates(path(sparkline("x", [1.0, 1.0, 2.0], calls), "up"))]
        assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])

    def test_needs_two_points(self) -> None:
        assert sparkline("x", [1.0], calls) == ""


class TestHours:
    END_MS = 1_800_000_000_000  # 08:00 UTC

    def test_each_state_is_one_path_and_told_in_words(self) -> None:
        states = (
            [HourState.STORED] * 10 + [HourState.MISSING] * 2 + [HourState.CLOSED] + [HourState.STORED] * 9
        )
        text = hour_bars(Day(self.END_MS, (*states, HourState.MISSING, HourState.PENDING)))
        assert (
            "<title>24 hours up to 2027-01-15 08:00 UTC: 19 stored, 1 closed, 1 pending, "
            "3 missing (18:00 to 20:00, 06:00 to 07:00)</title>"
        ) in text
        assert '<path class="stored" d="M0 5h10M13 5h9"/>' in text
        assert text.count("<path") == 4

    def test_a_failure_has_a_shape_of_its_own(self) -> None:
        text = hour_bars(Day(self.END_MS, (HourState.FAILED,) * 24))
        assert re.findall(r'class="(failed\d?)"', text) == ["failed", "failed1"]
        assert re.findall(r'class="(failed\d?)"', hour_sample(HourState.FAILED)) == ["failed", "failed1"]
