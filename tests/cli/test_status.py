"""`status` for monitors: one line, a file of metrics; and in place on a terminal."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.world import World

from .test_commands import run

NOWHERE = "redis://127.0.0.1:1/0"


class TestCheck:
    def test_is_one_line_and_0_where_all_is_well(self, free: World) -> None:
        run(free, "run-priority")
        done = run(free, "status", "--check")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("ASSETBATCH OK - ")
        assert done.stdout.count("\n") == 1

    def test_is_critical_without_redis_and_says_so_on_stdout(self, free: World) -> None:
        done = run(free, "status", "--check", REDIS_URL=NOWHERE)
        assert (done.returncode, done.stderr) == (2, "")
        assert done.stdout.startswith("ASSETBATCH CRITICAL - redis cannot be reached")

    def test_is_critical_without_the_database(self, free: World) -> None:
        done = run(free, "status", "--check", DATABASE_URL="postgresql://nobody@127.0.0.1:1/x")
        assert done.returncode == 2
        assert "nothing listens there" in done.stdout

    def test_is_unknown_where_the_configuration_is_wrong(self, free: World) -> None:
        done = run(free, "status", "--check", POLYGON_TIER="golden")
        assert done.returncode == 3
        assert done.stdout.startswith("ASSETBATCH UNKNOWN - ")

    def test_catches_that_cron_has_stopped(self, free: World) -> None:
        run(free, "run-priority")
        with free.services() as services:
            job = services.keys.job("run_priority")
            services.redis.hset(job, "last_started", services.now_ms() - 3_600_000)
        done = run(free, "status", "--check")
        assert done.returncode == 2
        assert "run-priority was last started 60 min ago" in done.stdout


class TestPrometheus:
    def test_is_written_whole_and_readable_for_the_collector(self, free: World, tmp_path: Path) -> None:
        run(free, "run-priority")
        file = tmp_path / "assetbatch.prom"
        done = run(free, "status", "--prometheus", str(file))
        assert (done.returncode, done.stdout) == (0, "")
        names = {family.name for family in text_string_to_metric_families(file.read_text())}
        assert {"assetbatch_up", "assetbatch_calls", "assetbatch_asset_age_seconds"} <= names
        assert file.stat().st_mode & 0o777 == 0o644
        assert [path.name for path in tmp_path.glob("*.prom*")] == ["assetbatch.prom"]

    def test_goes_through_a_link_and_into_what_is_no_file(self, free: World, tmp_path: Path) -> None:
        file, link = tmp_path / "real.prom", tmp_path / "link.prom"
        link.symlink_to(file)
        assert run(free, "status", "--prometheus", str(link)).returncode == 0
        assert link.is_symlink()
        assert "assetbatch_up 1\n" in file.read_text()
        shown = run(free, "status", "--prometheus", "/dev/stdout")
        assert "assetbatch_up 1\n" in shown.stdout
        assert Path("/dev/stdout").is_symlink()

    def test_is_written_by_every_run_command_where_configured(self, free: World, tmp_path: Path) -> None:
        file = tmp_path / "assetbatch.prom"
        free.document["metrics"] = {"prometheus_file": str(file)}
        for command in ("run-priority", "run-queue", "enqueue-secondary"):
            file.unlink(missing_ok=True)
            assert run(free, command).returncode == 0
            text = file.read_text()
            assert "assetbatch_up 1\n" in text
            name = command.replace("-", "_")
            assert f'assetbatch_cycles_total{{command="{name}"' in text

    def test_says_that_nothing_is_up_without_redis(self, free: World, tmp_path: Path) -> None:
        file = tmp_path / "assetbatch.prom"
        free.document["metrics"] = {"prometheus_file": str(file)}
        assert run(free, "run-queue", REDIS_URL=NOWHERE).returncode == 3
        assert "assetbatch_up 0\n" in file.read_text()

    def test_a_file_that_cannot_be_written_does_not_fail_the_cycle(self, free: World) -> None:
        free.document["metrics"] = {"prometheus_file": "/proc/assetbatch.prom"}
        done = run(free, "run-priority")
        assert done.returncode == 0
        assert "metrics.prometheus_file: /proc/assetbatch.prom cannot be written" in done.stderr
        assert done.stderr.count("\n") == 1


class TestPage:
    def test_says_on_which_host_it_was_made_and_shows_the_last_day_of_each_asset(
        self, free: World, tmp_path: Path
    ) -> None:
        run(free, "run-priority")
        file = tmp_path / "page.html"
        assert run(free, "status", "--html", str(file)).returncode == 0
        text = file.read_text()
        assert f" on {socket.gethostname()}: assetbatch</title>" in text
        assert text.count('<svg class="hours"') >= 6  # of each asset, and what their marks mean
        assert 'data-interval="300"' in text

    def test_says_that_redis_is_down_instead_of_what_was_there(self, free: World, tmp_path: Path) -> None:
        page, metrics = tmp_path / "page.html", tmp_path / "assetbatch.prom"
        run(free, "status", "--html", str(page), "--prometheus", str(metrics))
        assert "assetbatch_up 1" in metrics.read_text()
        done = run(free, "status", "--html", str(page), "--prometheus", str(metrics), REDIS_URL=NOWHERE)
        assert done.returncode == 3
        assert "redis cannot be reached" in page.read_text()
        assert metrics.read_text().endswith("assetbatch_up 0\n")

    def test_without_the_database_leaves_out_what_nobody_knows(self, free: World, tmp_path: Path) -> None:
        nobody = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}
        line = run(free, "status", "--check", **nobody).stdout
        assert "'queue.size'=" in line
        assert "assets.fresh" not in line
        document = json.loads(run(free, "status", "--json", **nobody).stdout)
        assert "assets.fresh_percent" not in document["metrics"]
        file = tmp_path / "page.html"
        run(free, "status", "--html", str(file), **nobody)
        assert "not known" in file.read_text()
        assert "100 %" not in file.read_text()


class TestRepeatedFailures:
    def test_are_said_when_they_begin_change_and_end(self, free: World) -> None:
        first = run(free, "run-queue", REDIS_URL=NOWHERE)
        assert "redis cannot be reached" in first.stderr
        again = run(free, "run-queue", REDIS_URL=NOWHERE)
        assert (again.returncode, again.stderr) == (3, "")
        other = run(free, "run-queue", POLYGON_TIER="golden")
        assert (other.returncode, other.stderr.count("\n")) == (2, 1)
        over = run(free, "run-queue")
        assert over.returncode == 0
        assert "NOTICE run-queue: over: " in over.stderr
        assert run(free, "run-queue").stderr == ""

    def test_are_not_over_by_a_start_that_found_no_call(self, free: World) -> None:
        free.provider.order("html", path_contains="C:EURUSD", times=1)
        assert "EURUSD: the answer is not JSON" in run(free, "run-priority").stderr
        with free.services() as services:
            services.redis.flushall()
        without_call = run(free, "run-priority").stderr
        assert "EURUSD: redis has no log of the last calls" in without_call
        assert "over: " not in without_call

    def test_are_all_told_with_v(self, free: World) -> None:
        for _ in range(2):
            assert "redis cannot be reached" in run(free, "-v", "run-queue", REDIS_URL=NOWHERE).stderr


def test_the_json_log_has_its_stable_keys(free: World) -> None:
    free.provider.order("status=500", path_contains="C:EURUSD")
    done = run(free, "-v", "--log-format", "json", "run-priority")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"time", "level", "event", "command", "cycle_id"} <= set.intersection(*map(set, events))
    assert len({event["cycle_id"] for event in events}) == 1
    assert [e["symbol"] for e in events if e["level"] == "warning"] == ["EURUSD"]
    assert sum("duration_ms" in event for event in events) == 4  # three calls and the cycle
    assert events[-1]["result"] == "partial"
