"""What doctor makes of what it has found."""

from __future__ import annotations

from typing import Any

import pytest

from assetbatch.assets import Asset, AssetType
from assetbatch.config import Config
from assetbatch.config.settings import RateLimiting
from assetbatch.doctor import Finding, Level, exit_code, worst
from assetbatch.doctor.findings import (
    clock,
    error,
    of_cron,
    of_database,
    of_error,
    of_locks,
    of_plan,
    of_queue,
    of_redis,
    of_registered,
    ok,
    warning,
)
from assetbatch.entitlements import Entitlements, Lack
from assetbatch.errors import ConfigError
from assetbatch.health import JobHealth
from assetbatch.state.queue import Line, QueueState
from assetbatch.store.facts import DatabaseFacts
from assetbatch.words import iso

NOW = 1_800_000_000_000
MINUTE = 60_000
GOLD = Asset(symbol="XAUUSD", polygon_ticker="C:XAUUSD", asset_type=AssetType.FOREX)
GOOD = {
    "redis_version": "7.2.4",
    "valkey_version": "9.1.2",
    "role": "master",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "maxmemory": 0,
    "used_memory": 1_200_000,
    "maxmemory_policy": "noeviction",
}


def redis(off_ms: int = 0, **changes: Any) -> list[Finding]:
    return of_redis({**GOOD, **changes}, NOW + off_ms, NOW, embedded=False)


def wrong(findings: list[Finding]) -> list[str]:
    return [finding.message for finding in findings if finding.level is not Level.OK]


class TestRedis:
    def test_is_well(self) -> None:
        assert worst(redis()) is Level.OK
        assert redis()[0].message == "Valkey 9.1.2"

    @pytest.mark.parametrize(
        ("changes", "level", "said"),
        [
            ({"valkey_version": "7.2.5"}, "error", "Valkey 7.2.5 is too old"),
            ({"valkey_version": None, "redis_version": "6.2.14"}, "error", "Redis 6.2.14 is too old"),
            ({"role": "slave"}, "error", "this is a read-only replica"),
            ({"aof_last_write_status": "err"}, "error", "the last write to the append-only file failed"),
            (
                {"aof_enabled": 0, "rdb_last_bgsave_status": "err"},
                "error",
                "the last snapshot to disk failed",
            ),
            (
                {"maxmemory": 2_000_000, "maxmemory_policy": "allkeys-lru"},
                "error",
                "eviction policy allkeys-lru",
            ),
            ({"maxmemory": 1_250_000}, "warning", "memory is 96% full"),
            ({"aof_enabled": 0}, "warning", "no append-only file"),
            ({"off_ms": 300_000}, "error", "redis' clock is 5 min ahead of this host's"),
            ({"off_ms": -300_000}, "error", "redis' clock is 5 min behind this host's"),
            ({"off_ms": 3_000}, "warning", "redis' clock is 3 s ahead of this host's"),
        ],
    )
    def test_is_not(self, changes: dict[str, Any], level: str, said: str) -> None:
        findings = redis(**changes)
        (found,) = [finding for finding in findings if finding.level is not Level.OK]
        assert (found.level, found.message[: len(said)]) == (level, said)
        assert found.hint

    def test_of_an_old_server_is_an_error_of_redis(self) -> None:
        assert exit_code(redis(valkey_version="7.2.5")) == 3


def test_clocks_may_differ_by_less_than_two_seconds() -> None:
    assert clock("redis", "one", NOW + 1_999, "another", NOW).level is Level.OK
    assert clock("redis", "one", NOW - 2_000, "another", NOW).level is Level.WARNING
    assert clock("redis", "one", NOW - 60_000, "another", NOW).level is Level.ERROR


class TestPostgreSQL:
    def test_is_well(self) -> None:
        assert worst(of_database(DatabaseFacts(170_002, NOW, False, ()), NOW)) is Level.OK
        assert of_database(DatabaseFacts(170_002, NOW, False, ()), NOW)[0].message == "PostgreSQL 17.2"

    def test_is_too_old_read_only_or_denies_rights(self) -> None:
        facts = DatabaseFacts(140_009, NOW, True, ("TEMPORARY ON DATABASE x", "SELECT ON trading.symbols"))
        assert wrong(of_database(facts, None)) == [
            "PostgreSQL 14.9 is too old",
            "the database is read-only",
            "the role lacks 2 rights: TEMPORARY ON DATABASE x, SELECT ON trading.symbols",
        ]

    def test_has_not_every_asset(self) -> None:
        config = Config(priority_assets=(GOLD,))
        assert of_registered(config, ["XAUUSD"]).level is Level.OK
        found = of_registered(config, [])
        assert (found.level, found.message, found.hint) == (
            "error",
            "not registered: XAUUSD",
            "run assetbatch init",
        )


class TestThePlan:
    def test_of_the_free_tier_lacks_what_it_is_expected_to_lack(self) -> None:
        known = Entitlements(end_of_day=True)
        known.refused(Lack.TODAY, AssetType.FOREX, "no", NOW, ticker="C:XAUUSD")
        findings = of_plan(Config(priority_assets=(GOLD,)), known, NOW)
        assert worst(findings) is Level.OK
        assert findings[1].message.startswith("your plan has no forex data of the running day")

    def test_that_lacks_what_its_tier_promises_is_to_be_looked_at(self) -> None:
        known = Entitlements(end_of_day=False)
        known.refused(Lack.SNAPSHOT, AssetType.FOREX, "no", NOW, ticker="C:XAUUSD")
        config = Config(priority_assets=(GOLD,), rate_limiting=RateLimiting(tier="starter"))
        (found,) = [finding for finding in of_plan(config, known, NOW) if finding.level is not Level.OK]
        assert found.message.startswith("your plan has no unified forex snapshots")
        assert "is rate_limiting.tier: starter what this key has?" in (found.hint or "")


class TestLocksAndQueue:
    def test_who_runs_is_told(self) -> None:
        held = {"run_priority": [], "run_queue": [NOW + 50_000]}
        assert of_locks(held, NOW, MINUTE)[0].message == "running now: 1 run-queue"

    def test_a_lock_from_a_clock_that_was_ahead_is_found(self) -> None:
        (found,) = of_locks({"run_queue": [NOW + 7_200_000]}, NOW, 60 * MINUTE)
        assert found.level is Level.WARNING
        assert found.message.startswith("run-queue is locked for another 2 h")

    @pytest.mark.parametrize(
        ("size", "dead", "level"), [(0, 0, "ok"), (901, 0, "warning"), (1, 2, "warning")]
    )
    def test_a_full_queue_and_dead_letters_are_told(self, size: int, dead: int, level: str) -> None:
        lines = dict.fromkeys(Line, 0)
        state = QueueState(
            now_ms=NOW, size=size, by_line=lines, leased=0, delayed=0, dead=dead, oldest_ms=None
        )
        assert of_queue(state, 1000).level == level


LATE = "run-priority was last started 16 min ago, it should be every 5 min"


class TestCron:
    def job(self, age_ms: int | None, error: str | None = None, name: str = "run_priority") -> JobHealth:
        return JobHealth(
            id=name,
            last_started=None if age_ms is None else iso(NOW - age_ms),
            last_finished=None,
            last_result="failed" if error else "ok",
            last_error=error,
            next_run=None,
            skipped=0,
        )

    @pytest.mark.parametrize(
        ("age_ms", "error", "level", "said"),
        [
            (MINUTE, None, "ok", "run-priority started 60 s ago: ok"),
            (None, None, "warning", "run-priority was never started"),
            (
                16 * MINUTE,
                None,
                "error",
                "run-priority was last started 16 min ago, it should be every 5 min",
            ),
            (MINUTE, "redis is full", "warning", "run-priority started 60 s ago: failed: redis is full"),
        ],
    )
    def test_has_stopped_or_not(self, age_ms: int | None, error: str | None, level: str, said: str) -> None:
        (found,) = of_cron([self.job(age_ms, error)], Config(), NOW)
        assert (found.level, found.message) == (level, said)

    def test_is_not_needed_by_a_sandbox(self) -> None:
        (found,) = of_cron([self.job(None)], Config(sandbox=True), NOW)
        assert found.level is Level.OK


class TestTheReport:
    def test_ends_with_the_code_of_the_first_error(self) -> None:
        findings = [ok("a", "x"), warning("b", "x"), error("c", "x", code=3), error("d", "x", code=4)]
        assert (exit_code(findings), worst(findings)) == (3, "error")
        assert (exit_code(findings[:2]), worst(findings[:2])) == (0, "warning")

    def test_has_a_line_for_each_mistake_of_a_configuration(self) -> None:
        findings = of_error("config", ConfigError("one is wrong\ntwo is wrong", hint="mend them"))
        assert [(f.message, f.hint, f.code) for f in findings] == [
            ("one is wrong", None, 2),
            ("two is wrong", "mend them", 2),
        ]
