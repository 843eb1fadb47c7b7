"""The metrics' text, as Prometheus' own parser reads it."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from assetbatch.domain.metrics import CallMade, measure
from assetbatch.domain.records import Command, CycleOutcome
from assetbatch.domain.results import AssetReport, CycleResult
from assetbatch.domain.status import Status
from assetbatch.health import Health
from assetbatch.views.prometheus import render, render_down

from .conftest import NOW_MS, asset, broken, health, no_database


def families(text: str) -> dict[str, Any]:
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(found) == sum(line.startswith("# TYPE") for line in text.splitlines())
    return found


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(text).values()
        for sample in family.samples
    }


def counters() -> dict[str, int]:
    result = CycleResult(
        command=Command.RUN_PRIORITY,
        cycle_id="c",
        result=CycleOutcome.OK,
        started_ms=NOW_MS - 1200,
        duration_ms=1200,
        bars_written=7,
        queue_size=3,
        assets=[
            AssetReport(symbol="A", status=Status.SUCCESS),
            AssetReport(symbol="B", status=Status.FAILED),
        ],
    )
    calls = [
        CallMade(NOW_MS, "ok", 0.08, sent=True, answered=True),
        CallMade(NOW_MS, "ok", 0.3, sent=True, answered=True),
        CallMade(NOW_MS, "vendor_down", 11, sent=True, answered=False),
    ]
    return dict(measure(result, calls, NOW_MS).counters)


def test_every_family_has_a_help_a_type_and_a_conventional_name(well: Health) -> None:
    for name, family in families(render(well, counters())).items():
        assert name.startswith("assetbatch_")
        assert family.documentation.endswith(".")
        assert family.type in ("gauge", "counter", "histogram")
        assert not any(unit in name for unit in ("_ms", "_percent", "_minutes"))


def test_the_four_metrics_are_there_in_base_units(well: Health) -> None:
    found = samples(render(well, {}))
    assert found["assetbatch_priority_success_ratio", ()] == 1.0
    assert found["assetbatch_priority_latency_seconds", ()] == 1.2
    assert found["assetbatch_queue_items", ()] == 12
    assert found["assetbatch_rate_limit_waits_last_hour", ()] == 0


def test_calls_are_counted_by_outcome_and_their_durations_are_cumulative_buckets(well: Health) -> None:
    found = samples(render(well, counters()))
    assert found["assetbatch_calls_total", (("outcome", "ok"),)] == 2
    assert found["assetbatch_calls_total", (("outcome", "vendor_down"),)] == 1
    bounds = ("0.05", "0.1", "0.25", "0.5", "10", "+Inf")
    buckets = [found["assetbatch_call_duration_seconds_bucket", (("le", deadline),)] for deadline in bounds]
    assert buckets == [0, 1, 1, 2, 2, 3]
    assert found["assetbatch_call_duration_seconds_count", ()] == 3
    assert found["assetbatch_call_duration_seconds_sum", ()] == 11.38


@pytest.mark.parametrize("form", ["{}-{}", "{}_{}"], ids=["as it is typed", "as earlier versions wrote it"])
def test_cycles_are_counted_by_command_and_result(well: Health, form: str) -> None:
    found = samples(render(well, counters()))
    priority, queue = ("command", form.format("run", "priority")), ("command", form.format("run", "queue"))
    assert found["assetbatch_cycles_total", (priority, ("result", "ok"))] == 1
    assert found["assetbatch_starts_skipped_total", (queue,)] == 2
    assert found["assetbatch_command_last_started_timestamp_seconds", (queue,)] > 0
    assert found["assetbatch_refreshes_total", (priority, ("status", "failed"))] == 1
    assert found["assetbatch_cycle_duration_seconds_bucket", (priority, ("le", "2.5"))] == 1
    assert found["assetbatch_bars_written_total", ()] == 7


def test_assets_are_shown_one_by_one_only_where_they_are_few() -> None:
    found = samples(render(health([asset(number) for number in range(300)]), {}))
    assert sum(name == "assetbatch_asset_age_seconds" for name, _ in found) == 3
    assert found["assetbatch_assets", (("class", "CRITICAL"), ("state", "fresh"))] == 3
    assert sum(value for (name, _), value in found.items() if name == "assetbatch_assets") == 300
    assert found["assetbatch_assets_by_type", (("state", "fresh"), ("type", "crypto"))] == 1
    assert sum(value for (name, _), value in found.items() if name == "assetbatch_assets_by_type") == 300


def test_the_verdict_is_the_one_label_that_is_1() -> None:
    found = samples(render(broken(3), {}))
    verdicts = {labels[0][1]: v for (name, labels), v in found.items() if name == "assetbatch_health_status"}
    assert verdicts == {"healthy": 0, "degraded": 0, "unhealthy": 1}
    alert = "assetbatch_alert", (("metric", "batch.priority.success_rate"), ("severity", "critical"))
    assert found[alert] == 1


def test_up_is_0_without_the_database_and_without_redis() -> None:
    assert samples(render(no_database(), {}))["assetbatch_up", ()] == 0
    assert samples(render_down()) == {("assetbatch_up", ()): 0}


def test_odd_names_are_escaped() -> None:
    odd = health([asset(0, symbol='a"b\\c\nd')])
    assert samples(render(odd, {}))["assetbatch_asset_age_seconds", (("symbol", 'a"b\\c\nd'),)] == 300
