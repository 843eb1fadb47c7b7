"""The dashboard and the alert rules: they ask for metrics that exist, and fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from assetbatch.domain.records import Command
from assetbatch.domain.refusals import RefusalKind
from assetbatch.health import Health, HealthStatus, Verification
from assetbatch.views.prometheus import render, render_down
from tests.conftest import REPOSITORY
from tests.views.conftest import asset, broken, health

RULES = REPOSITORY / "deploy" / "prometheus" / "assetbatch.rules.yml"
DASHBOARD = REPOSITORY / "deploy" / "grafana" / "assetbatch.json"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


@cache
def expressions() -> dict[str, str]:
    """Every expression by what it is for, with Grafana's variables filled in."""
    found = {rule["alert"]: rule["expr"] for rule in rules()}
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            text = target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5m")
            found[f"{panel['title']} {target['refId']}"] = text
    for variable in dashboard()["templating"]["list"]:
        if query := variable.get("definition"):
            found[variable["name"]] = re.sub(r"label_values\((\w+), \w+\)", r"\1", query)
    return found


VERIFIED = Verification(share=0.5)

EVERY_COUNTER = {
    "cycles|run_priority|ok": 1,
    "calls|ok": 1,
    "refreshes|run_priority|success": 1,
    "cycle_ms|run_priority": 1,
    "cycle_seconds|run_priority|1": 1,
}


@cache
def labels_of_metrics() -> dict[str, set[str]]:
    """The labels of every metric, by its name as a sample has it."""
    found: dict[str, set[str]] = {}
    for document in (health([asset(0)], verification=VERIFIED), broken(3)):
        for family in text_string_to_metric_families(render(document, EVERY_COUNTER)):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


class TestExpressions:
    @pytest.mark.parametrize("of", expressions())
    def test_ask_for_metrics_and_labels_that_exist(self, of: str) -> None:
        expression = expressions()[of]
        known = labels_of_metrics()
        names = re.findall(r"\bassetbatch_\w+", expression)
        assert names
        assert set(names) <= set(known)
        given = {"instance", "job"}  # Prometheus adds them
        for name, selector in re.findall(r"\b(assetbatch_\w+)\{(.*?)\}", expression):
            assert set(re.findall(r"(\w+)(?:=|!)", selector)) <= known[name] | given
        kept = set().union(*(known[name] for name in names)) | given
        for grouped in re.findall(r"\b(?:by|on) \((.*?)\)", expression):
            assert set(grouped.split(", ")) <= kept

    def test_name_outcomes_of_calls_that_there_are(self) -> None:
        named = {
            outcome
            for expression in expressions().values()
            for outcome in re.findall(r'outcome="(\w+)"', expression)
        }
        assert len(named) > 3
        assert named - {"ok"} <= {kind.value for kind in RefusalKind}

    @needs_promtool
    def test_are_read_by_prometheus_itself(self, tmp_path: Path) -> None:
        file = tmp_path / "every.rules.yml"
        records = [
            {"record": f"expression_{number}", "expr": expression}
            for number, expression in enumerate(expressions().values())
        ]
        file.write_text(yaml.safe_dump({"groups": [{"name": "every", "rules": records}]}))
        promtool("check", "rules", file)


class TestDashboard:
    @needs_promtool
    @pytest.mark.parametrize("spellings", ["_", "-", "_-"])
    def test_has_figures_in_every_panel_however_a_command_is_spelt(
        self, tmp_path: Path, spellings: str
    ) -> None:
        of_panels = list(expressions().values())[len(rules()) :]
        records = [{"record": f"panel_{n}", "expr": expression} for n, expression in enumerate(of_panels)]
        file = tmp_path / "panels.rules.yml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
        document = health([asset(0)], alerts=broken(1).alerts, verification=VERIFIED)
        series = {
            respelt(name, spelling): values
            for name, values in samples(document, list(EVERY_COUNTER)).items()
            for spelling in spellings
        }
        expected = {f'{{__name__="{record["record"]}"}}' for record in records}
        expression = 'group by (__name__) ({__name__=~"panel_.+"})'
        assert_evaluated(tmp_path, series, file, expression, expected)

    def test_has_panels_that_do_not_overlap(self) -> None:
        panels = dashboard()["panels"]
        assert len(panels) > 10
        assert max(Counter(panel["id"] for panel in panels).values()) == 1
        for one, other in combinations([panel["gridPos"] for panel in panels], 2):
            apart = (
                one["x"] + one["w"] <= other["x"]
                or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"]
                or other["y"] + other["h"] <= one["y"]
            )
            assert apart, (one, other)
            assert one["x"] + one["w"] <= 24

    def test_takes_the_source_that_the_reader_chooses(self) -> None:
        chosen = {"type": "prometheus", "uid": "${datasource}"}
        for panel in dashboard()["panels"]:
            assert panel["datasource"] == chosen
            assert all(target["datasource"] == chosen for target in panel["targets"])
        assert "id" not in dashboard()  # of somebody's Grafana


class TestRules:
    def test_each_say_what_is_wrong_and_what_to_do(self) -> None:
        for rule in rules():
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert set(rule["annotations"]) == {"summary", "description"}

    @needs_promtool
    def test_are_accepted_by_promtool(self) -> None:
        promtool("check", "rules", RULES)
        promtool("check", "config", RULES.with_name("prometheus.yml"))

    @needs_promtool
    def test_are_silent_while_all_is_well(self, tmp_path: Path) -> None:
        well = health([asset(number) for number in range(5)])
        assert_fired(tmp_path, samples(well), set())

    @needs_promtool
    def test_fire_when_servers_cannot_be_read(self, tmp_path: Path) -> None:
        assert_fired(
            tmp_path,
            {name: f"{value}+0x{MINUTES}" for name, value in parsed(render_down()).items()},
            {"AssetbatchDown"},
        )

    @needs_promtool
    def test_fire_when_no_metrics_come(self, tmp_path: Path) -> None:
        assert_fired(tmp_path, {"something_else": f"1+0x{MINUTES}"}, {"AssetbatchNoMetrics"})

    @needs_promtool
    def test_fire_for_everything_that_is_wrong(self, tmp_path: Path) -> None:
        document = health(
            [asset(0, state="stale")],
            status=HealthStatus.UNHEALTHY,
            jobs=[msgspec.structs.replace(job, last_started=START_OF_TESTS) for job in broken(1).jobs],
            queue={**broken(1).queue, "dead": 2},
            verification=Verification(asked_again=["XAUUSD"]),
        )
        rising = ["calls|key", "calls|vendor_down", "calls|too_many_calls", "dropped"]
        expected = {rule["alert"] for rule in rules()}
        expected -= {"AssetbatchNoMetrics", "AssetbatchDown", "AssetbatchDegraded"}
        assert_fired(tmp_path, samples(document, rising), expected)

    @needs_promtool
    def test_fire_for_what_stays_degraded_but_not_while_calls_succeed(self, tmp_path: Path) -> None:
        document = health([asset(0)], status=HealthStatus.DEGRADED)
        series = samples(document, ["calls|ok", "calls|vendor_down"])
        assert_fired(tmp_path, series, {"AssetbatchDegraded"})

    @needs_promtool
    def test_do_not_fire_for_a_worker_that_has_nothing_to_do(self, tmp_path: Path) -> None:
        queue = {**broken(1).queue, "total_items": 0, "dead": 0}
        jobs = [
            msgspec.structs.replace(job, last_started=START_OF_TESTS) if job.id is Command.RUN_QUEUE else job
            for job in broken(1).jobs
        ]
        assert_fired(tmp_path, samples(health([asset(0)], queue=queue, jobs=jobs)), set())


START_OF_TESTS = "1970-01-01T00:00:01+00:00"
"""What promtool takes for the beginning; the documents of the other tests lie in its far future."""

MINUTES = 120


def samples(document: Health, rising: Sequence[str] = ()) -> dict[str, str]:
    """Two hours of a document that stays as it is, and of counters that rise by 5 a minute."""
    before = parsed(render(document, dict.fromkeys(rising, 0)))
    after = parsed(render(document, dict.fromkeys(rising, 5)))
    return {
        name: f"{value}+{float(after[name]) - float(value):g}x{MINUTES}" for name, value in before.items()
    }


def parsed(text: str) -> dict[str, str]:
    """The value of each series."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return dict(line.rsplit(" ", 1) for line in lines)


def assert_fired(folder: Path, series: Mapping[str, str], expected: set[str]) -> None:
    """Assert that exactly these alerts fire after two hours, by Prometheus' own evaluation."""
    labels = {f'{{alertname="{name}"}}' for name in expected}
    assert_evaluated(folder, series, RULES, 'group by (alertname) (ALERTS{alertstate="firing"})', labels)


def assert_evaluated(
    folder: Path, series: Mapping[str, str], rules: Path, expression: str, expected: set[str]
) -> None:
    """Assert that no rule fails, and that an expression has the value 1 for exactly these labels."""
    test = {
        "expr": expression,
        "eval_time": f"{MINUTES}m",
        "exp_samples": [{"labels": labels, "value": 1} for labels in sorted(expected)],
    }
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [test],
    }
    file = folder / "case.yml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [case]})
    )
    promtool("test", "rules", file)


def respelt(series: str, spelling: str) -> str:
    """A series with its command in another spelling: `run_priority` or `run-priority`."""
    return re.sub(r'command="(\w+)[_-](\w+)"', rf'command="\1{spelling}\2"', series)


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
