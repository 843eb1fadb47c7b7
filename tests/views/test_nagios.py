"""The line of `status --check`, as monitoring systems read it."""

from __future__ import annotations

import re

import pytest
from msgspec import structs

from assetbatch.config import Config
from assetbatch.errors import ConfigError, RedisError
from assetbatch.health import Alert, Health, HealthStatus, Metric, Problem, Severity
from assetbatch.views.nagios import render, render_error

from .conftest import asset, broken, health, no_database

PERFDATA = re.compile(r"'[\w.]+'=-?[\d.]+(?:%|s|ms|)(?:;[\d.:]*){0,4}")


def test_all_is_well(well: Health) -> None:
    code, line = render(well, Config())
    assert code == 0
    assert line.startswith("ASSETBATCH OK - 20 of 20 assets fresh, 12 in the queue | ")


def test_assets_that_were_never_fetched_are_told_apart() -> None:
    assets = [asset(0), asset(1, state="never"), asset(2, state="never")]
    _, line = render(health(assets), Config())
    assert line.startswith("ASSETBATCH OK - 1 of 3 assets fresh, 2 not fetched yet, 12 in the queue | ")


def test_a_warning_is_1_and_something_critical_2() -> None:
    warned = health(
        [asset(0)], status=HealthStatus.DEGRADED, problems=[Problem("2 dead letters, the latest: X")]
    )
    assert render(warned, Config())[0] == 1
    assert render(warned, Config())[1].startswith("ASSETBATCH WARNING - 2 dead letters, the latest: X | ")
    code, line = render(broken(3), Config())
    assert code == 2
    assert line.startswith("ASSETBATCH CRITICAL - the last run-priority failed: ")
    assert "(and 3 more)" in line


def test_what_makes_it_critical_is_what_it_says() -> None:
    alerts = [Alert(Metric.SUCCESS_RATE, 50, 90, Severity.CRITICAL)]
    document = health([], status=HealthStatus.UNHEALTHY, problems=[Problem("not so bad")], alerts=alerts)
    _, line = render(document, Config())
    assert line.startswith(
        "ASSETBATCH CRITICAL - batch.priority.success_rate is 50, its threshold is 90 (and 1"
    )


@pytest.mark.parametrize("document", [broken(30), no_database(), health([asset(n) for n in range(300)])])
def test_it_is_one_line_with_perfdata_that_parses(document: Health) -> None:
    _, line = render(document, Config())
    words, data = line.split(" | ")
    assert "\n" not in line
    assert len(words) < 450
    assert all(PERFDATA.fullmatch(item) for item in data.split(" ")), data
    assert "'queue.size'=12;500;;0;1000" in data


def test_a_bar_in_a_message_does_not_begin_the_perfdata() -> None:
    odd = health([], status=HealthStatus.DEGRADED, problems=[Problem("a | b\nc")])
    assert render(odd, Config())[1].count("|") == 1


def test_without_redis_it_is_critical_and_with_a_wrong_configuration_unknown() -> None:
    assert render_error(RedisError("redis cannot be reached: x", hint="start it")) == (
        2,
        "ASSETBATCH CRITICAL - redis cannot be reached: x (hint: start it)",
    )
    code, line = render_error(ConfigError("line one\nline two"))
    assert (code, line) == (3, "ASSETBATCH UNKNOWN - line one line two")


def test_what_nobody_knows_is_left_out() -> None:
    known = health([]).metrics
    unknown = {
        name: value
        for name, value in known.items()
        if name not in ("assets.fresh_percent", "batch.priority.success_rate")
    }
    _, line = render(health([], metrics=unknown, database_error=True), Config())
    data = line.partition(" | ")[2]
    assert "%" not in data
    assert "'queue.size'=12;" in data


def test_a_success_rate_of_nothing_is_no_100_percent(well: Health) -> None:
    nothing = {**well.metrics, "batch.priority.refreshes": 0.0}
    line = render(structs.replace(well, metrics=nothing), Config())[1]
    assert "success_rate" not in line.partition(" | ")[2]
