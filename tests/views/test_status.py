"""The table of `status`: what a person sees in 80 and in 140 columns."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest
from rich.console import Console

from assetbatch.domain.assets import AssetPriority
from assetbatch.domain.formatting import iso
from assetbatch.domain.metrics import CALLS, Series
from assetbatch.domain.units import DAY_MS, MINUTE_MS
from assetbatch.health import Alert, Health, HealthStatus, Metric, Problem, Severity
from assetbatch.views import facts
from assetbatch.views.terminal.sparkline import sparkline
from assetbatch.views.terminal.status import ROWS, ending, render

from .conftest import NOW_MS, asset, broken, day, health, no_database


def shown(document: Health, width: int, *, plain: bool = False, rows: int = ROWS) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False, emoji=False, markup=False)
    console.print(render(document, day(), width=width, plain=plain, rows=rows))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
    return [line.rstrip() for line in text.splitlines()]


DOCUMENTS = {
    "3 fresh": health([asset(number) for number in range(3)]),
    "30 fresh": health([asset(number) for number in range(30)]),
    "300 fresh": health([asset(number) for number in range(300)]),
    "3 broken": broken(3),
    "30 broken": broken(30),
    "300 broken": broken(300),
    "no database": no_database(),
}


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_fits(name: str, width: int) -> None:
    lines = shown(DOCUMENTS[name], width)
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if "…" in line]  # no column was squeezed


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", sorted({*DOCUMENTS} - {"30 broken"}))
def test_looks_as_it_was_last_agreed_to_look(name: str, width: int) -> None:
    """`ASSETBATCH_TEST_ACCEPT=1 pytest tests/views` agrees to what it looks like now; read the difference."""
    file = Path(__file__).parent / "snapshots" / f"status-{name.replace(' ', '-')}-{width}.txt"
    text = "\n".join(shown(DOCUMENTS[name], width)) + "\n"
    if os.environ.get("ASSETBATCH_TEST_ACCEPT"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize(("document", "height"), [(broken(20), 30), (broken(3), 12), (broken(300), 5)])
def test_the_verdict_and_the_problems_stay_in_sight_below_a_page_that_scrolls(
    document: Health, height: int
) -> None:
    console = Console(file=io.StringIO(), width=80, height=height, force_terminal=True, color_system=None)
    page = render(document, day(), width=80)
    console.print(ending(document, page, console))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert len(lines) < height
    assert lines[1] == "! the last run-priority failed: the provider refuses the API key"
    assert lines[-1].startswith("unhealthy  0 of")


def test_nothing_is_said_twice_where_all_is_in_sight() -> None:
    for how in ({"height": 60, "force_terminal": True}, {"height": 5}):
        console = Console(file=io.StringIO(), width=80, **how)  # type: ignore[arg-type]
        document = broken(3)
        assert ending(document, render(document, day(), width=80), console) is None


def test_says_the_verdict_then_the_problems_with_what_to_do_then_the_assets() -> None:
    lines = shown(broken(3), 80)
    assert lines[0] == "unhealthy  0 of 3 assets fresh  2027-01-15 08:00 UTC"
    assert lines[1] == "! the last run-priority failed: the provider refuses the API key"
    assert "  is cron running, and does its log say why?" in lines
    assert lines.index("  is cron running, and does its log say why?") < next(
        number for number, line in enumerate(lines) if line.startswith("asset ")
    )


def test_a_grave_alert_comes_before_a_problem_that_is_less_so_with_what_to_do() -> None:
    alerts = [Alert(Metric.SUCCESS_RATE, 50, 90, Severity.CRITICAL)]
    document = health([], status=HealthStatus.UNHEALTHY, problems=[Problem("not so bad")], alerts=alerts)
    assert shown(document, 80)[1:4] == [
        "! batch.priority.success_rate is 50, its threshold is 90",
        "  of the last hour",
        "! not so bad",
    ]


def test_a_long_problem_hangs_below_its_own_words() -> None:
    lines = shown(broken(3), 80)
    first = next(number for number, line in enumerate(lines) if line.startswith("! XAUUSD"))
    assert lines[first + 1].startswith("  ")
    assert not lines[first + 1].startswith("   ")


def test_assets_stand_by_class_with_price_change_age_and_completeness(well: Health) -> None:
    lines = shown(well, 80)
    classes = [line for line in lines if line in ("CRITICAL", "HIGH", "MEDIUM", "LOW")]
    assert classes == ["CRITICAL", "HIGH", "MEDIUM", "LOW"]
    gold = next(line for line in lines if line.startswith("XAUUSD"))
    assert re.fullmatch(r"XAUUSD +4,083\.31 +\+0\.42 % +5 min +0 +100 % +open +fresh", gold)


def test_assets_of_several_products_stand_by_product_within_their_class() -> None:
    stocks = [
        asset(5, symbol="AAPL", asset_type="stocks"),
        asset(8, symbol="SPY", asset_type="stocks", state="stale"),
    ]
    document = health([asset(2), asset(11, symbol="EURUSD"), *stocks, asset(14, asset_type="indices")])
    lines = shown(document, 140)
    heads = [line.split() for line in lines if line.startswith(("CRITICAL", "LOW"))]
    assert heads == [
        ["CRITICAL", "currencies"],
        ["LOW", "currencies"],
        ["LOW", "stocks"],
        ["LOW", "indices"],
    ]
    assert "4 of 5 assets fresh (currencies 2 of 2, stocks 1 of 2, indices 1 of 1)" in " ".join(lines[:2])


def test_plans_that_differ_have_the_names_of_their_products() -> None:
    plan = health([]).plan | {
        "plans": {"currencies": "free", "stocks": "starter", "indices": "free"},
        "data_up_to": {"forex": iso(NOW_MS), "crypto": iso(NOW_MS), "stocks": iso(NOW_MS)},
    }
    words = facts.plan(health([], plan=plan))
    assert words == "currencies free, stocks starter, indices free; forex, crypto and stocks up to now"


def test_a_wide_terminal_also_shows_why() -> None:
    lines = shown(broken(3), 140)
    assert "no answer within 10 s" in next(line for line in lines if line.startswith("EURUSD"))


def test_many_fresh_assets_of_a_class_are_one_line_unless_all_are_asked_for() -> None:
    document = health([asset(n, state="stale" if n == 9 else "fresh") for n in range(300)])
    lines = shown(document, 80)
    assert len(lines) < 40
    assert any(line.startswith("SYM9 ") for line in lines)
    assert sum(bool(re.match(r"\d+ more .* fresh", line)) for line in lines) == 3
    assert len(shown(document, 80, rows=300)) > 300


def test_members_of_rules_hide_no_asset_that_has_an_entry_of_its_own() -> None:
    own = [asset(0), asset(4, symbol="AAPL", priority=AssetPriority.LOW), asset(3, symbol="SPY")]
    members = [
        asset(n, by_rule=True, priority=AssetPriority.HIGH, state="stale" if n < 9 else "fresh")
        for n in range(3, 300)
    ]
    lines = [line.split()[0] for line in shown(health([*own, *members]), 80) if line.strip()]
    names = [line for line in lines if line in {"XAUUSD", "AAPL", "SPY", "by", "SYM3", "SYM6"}]
    assert names == ["XAUUSD", "SPY", "AAPL", "by", "SYM3"]
    text = shown(health([*own, *members]), 80)
    assert sum(bool(re.match(r"\d+ more .* (stale|fresh)$", line)) for line in text) == 2


def test_counts_the_assets_without_data() -> None:
    line = shown(health([asset(0), asset(3, state="no_data"), asset(4, state="never")]), 120)[0]
    assert "1 of 3 assets fresh, 1 not fetched yet, 1 without data" in line


def test_of_many_assets_in_trouble_the_first_are_shown_and_the_priority_assets_all() -> None:
    lines = shown(broken(300), 80)
    assert len(lines) < 70
    assert {"XAUUSD", "EURUSD", "BTCUSD"} <= {line.split(" ")[0] for line in lines}
    assert sum(bool(re.match(r"\d+ more .* (stale|failed)$", line)) for line in lines) == 6


def test_the_queue_has_its_forecast_and_the_window_is_a_bar(well: Health) -> None:
    text = " ".join(" ".join(shown(well, 80)).split())
    assert "12 calls ahead, done in about 3 min" in text
    assert "████████████░░░░░░░░ 3 of 5 used in 60 s" in text
    assert "2 kept for the next priority cycle" in text


def test_the_last_day_is_drawn(well: Health) -> None:
    lines = shown(well, 80)
    calls = next(line for line in lines if line.startswith("calls, 24 h"))
    assert "at most 5 in a minute" in calls
    assert set("▁▂▃▄▅▆▇█") & set(calls)


def test_plain_output_is_ascii(well: Health) -> None:
    assert all(line.isascii() for line in shown(well, 80, plain=True))


class TestSparkline:
    def test_covers_a_day_from_left_to_right(self) -> None:
        points = [(NOW_MS - DAY_MS + MINUTE_MS, 1.0), (NOW_MS - MINUTE_MS, 4.0)]
        assert sparkline(Series(CALLS, MINUTE_MS, points), NOW_MS, 24, "sum") == "▃" + " " * 22 + "█"

    def test_adds_up_or_takes_the_largest(self) -> None:
        series = Series(
            CALLS, MINUTE_MS, [(NOW_MS - n * MINUTE_MS, 2.0) for n in (1, 2)] + [(NOW_MS - DAY_MS // 2, 3.0)]
        )
        assert sparkline(series, NOW_MS, 2, "sum")[-1] == "█"
        assert sparkline(series, NOW_MS, 24, "max")[-1] == "▆"

    def test_of_zeros_is_flat_and_of_nothing_blank(self) -> None:
        assert sparkline(Series(CALLS, MINUTE_MS, [(NOW_MS, 0.0)]), NOW_MS, 3, "sum") == "  ▁"
        assert sparkline(Series(CALLS, MINUTE_MS, []), NOW_MS, 3, "sum") == "   "


@pytest.mark.parametrize(("begun", "since"), [(True, ""), (False, " from the next start on")])
def test_says_why_no_call_is_made_instead_of_counting_calls_that_were_not_made(
    begun: bool, since: str
) -> None:
    window = {"used": 1, "reserved_for_priority": 0, "pause": "lost", "pause_begun": begun}
    document = health([], window=window, api_calls_remaining=0, next_slot_in_seconds=73.0)
    (line,) = [line for line in shown(document, 200) if line.startswith("calls ")]
    assert f" 1 of 5 used in 60 s, no calls for 73 s{since}: redis has no log of the last calls" in line
