"""What doctor makes of what it has found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from assetbatch.config import Config
from assetbatch.config.settings import BatchSettings, PlanSettings, RateLimitSettings
from assetbatch.database.facts import DatabaseFacts
from assetbatch.database.partitions import missing
from assetbatch.database.shape import Concern
from assetbatch.doctor import Finding, Level, exit_code, worst
from assetbatch.doctor.examine import in_order
from assetbatch.doctor.findings import (
    Asked,
    ProviderClock,
    clock,
    error,
    of_cron,
    of_database,
    of_error,
    of_locks,
    of_partitions,
    of_plan,
    of_provider,
    of_queue,
    of_redis,
    of_references,
    of_registered,
    of_rules,
    of_tables,
    of_trial,
    ok,
    warning,
)
from assetbatch.domain import references
from assetbatch.domain.asset_classes import AssetType, Product
from assetbatch.domain.assets import Asset, Rule
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.formatting import iso
from assetbatch.domain.market_hours import month_of
from assetbatch.domain.queueing import Lane, QueueState
from assetbatch.domain.records import Command
from assetbatch.domain.rules import Member, Walk
from assetbatch.errors import ConfigError, DatabaseError, DeadlineExceededError, RedisError
from assetbatch.health import JobHealth

NOW = 1_800_000_000_000
MINUTE = 60_000
GOLD = Asset(symbol="XAUUSD", polygon_ticker="C:XAUUSD", asset_type=AssetType.FOREX)
EURO = Asset(
    symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX, update_frequency_seconds=600
)
BOTH = Config(priority_assets=(GOLD,), secondary_assets=(EURO,))
AT_ONCE = Asked(NOW, NOW)
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
    return of_redis({**GOOD, **changes}, NOW + off_ms, AT_ONCE)


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

    @pytest.mark.parametrize("group", ["sentinel", "cluster"])
    def test_says_who_would_take_over(self, group: str) -> None:
        info = {**GOOD, "connected_slaves": 2}
        findings = of_redis(info, NOW, AT_ONCE, group=group)
        assert worst(findings) is Level.OK
        assert f"2 replicas would take over ({group})" in [finding.message for finding in findings]
        assert wrong(of_redis({**GOOD, "connected_slaves": 0}, NOW, AT_ONCE, group=group)) == [
            f"no replica follows this server of the {group} group: who would take over?"
        ]


class TestWritingToRedis:
    def test_is_allowed(self) -> None:
        assert of_trial(None, None, GOLD) == []

    def test_is_refused(self) -> None:
        full = RedisError("redis is full", hint="raise maxmemory")
        (found,) = of_trial(full, full, GOLD)  # not once more for publishing
        assert (found.level, found.message, found.hint, found.code) == (
            "error",
            "redis is full",
            "raise maxmemory",
            3,
        )

    def test_is_allowed_and_publishing_is_not(self) -> None:
        (found,) = of_trial(None, RedisError("no channel", hint="something about keys"), GOLD)
        assert found.message == "this user may not publish (tried: that of XAUUSD): no channel"
        assert "&asset:update:*" in (found.hint or "")
        assert found.code == 3


class TestClocks:
    @pytest.mark.parametrize(
        ("off_ms", "level"), [(1_999, "ok"), (-1_999, "ok"), (2_000, "warning"), (-60_000, "error")]
    )
    def test_may_differ_by_less_than_two_seconds(self, off_ms: int, level: str) -> None:
        assert clock("redis", "one", NOW + off_ms, "another", AT_ONCE).level == level

    @pytest.mark.parametrize("its_ms", [NOW, NOW + 5_000, NOW + 9_000])
    def test_are_not_off_because_an_answer_was_slow(self, its_ms: int) -> None:
        slow = Asked(NOW, NOW + 9_000)
        assert clock("vendor", "one", its_ms, "another", slow).level is Level.OK
        assert of_provider(ProviderClock(its_ms, "forex open"), slow)[1].level is Level.OK

    def test_are_off_by_what_a_slow_answer_does_not_explain(self) -> None:
        slow = Asked(NOW, NOW + 9_000)
        assert clock("vendor", "one", NOW - 3_000, "two", slow).message == "one is 3 s behind two"
        assert clock("vendor", "one", NOW + 12_000, "two", slow).message == "one is 3 s ahead of two"

    def test_of_the_provider_are_no_finding_where_it_does_not_say(self) -> None:
        assert [finding.level for finding in of_provider(ProviderClock(None, "forex open"), AT_ONCE)] == [
            "ok"
        ]


class TestPostgreSQL:
    def test_is_well(self) -> None:
        assert worst(of_database(DatabaseFacts(170_002, NOW, False, ()), AT_ONCE)) is Level.OK
        assert of_database(DatabaseFacts(170_002, NOW, False, ()), AT_ONCE)[0].message == "PostgreSQL 17.2"

    def test_is_too_old_read_only_or_denies_rights(self) -> None:
        facts = DatabaseFacts(140_009, NOW, True, ("TEMPORARY ON DATABASE x", "SELECT ON trading.symbols"))
        assert wrong(of_database(facts, None)) == [
            "PostgreSQL 14.9 is too old",
            "the database is read-only",
            "the role lacks 2 rights: TEMPORARY ON DATABASE x, SELECT ON trading.symbols",
        ]

    def test_tables_that_refuse_something_are_named_and_what_stops_all_is_an_error(self) -> None:
        some, all_of_it = Concern("narrow", "widen it"), Concern("no column", "add it", stops_all=True)
        found = of_tables([some, all_of_it], {"BTCUSD": "close cannot hold 100500.0"})
        assert [finding.level for finding in found] == [Level.WARNING, Level.ERROR, Level.WARNING]
        assert found[2].message == "the database refuses BTCUSD: close cannot hold 100500.0"
        assert of_tables([], {}) == []

    def test_has_not_every_asset(self) -> None:
        config = Config(priority_assets=(GOLD,))
        assert of_registered(config, ["XAUUSD"]).level is Level.OK
        found = of_registered(config, [])
        assert (found.level, found.message, found.hint) == (
            "error",
            "not registered: XAUUSD",
            "run assetbatch init",
        )


class TestPartitions:
    """Of a table of bars by months, of which NOW is in January 2027."""

    THERE = missing([], NOW)

    def test_are_prepared(self) -> None:
        (found,) = of_partitions(self.THERE, NOW)
        assert (found.level, found.message) == (
            "ok",
            "bars have partitions by month up to 2027-05-01 00:00 UTC",
        )

    def test_of_minutes_are_told_apart(self) -> None:
        (found,) = of_partitions(missing([], NOW, "bars_1m"), NOW, "bars_1m")
        assert found.message == "minutes have partitions by month up to 2027-05-01 00:00 UTC"
        assert of_partitions(self.THERE, NOW, "bars_1m") == []

    def test_are_no_finding_where_the_table_is_none_of_ours(self) -> None:
        assert of_partitions([], NOW) == []

    @pytest.mark.parametrize(
        ("now_ms", "level"),
        [
            (month_of(NOW, 2), "ok"),
            (month_of(NOW, 3) - 1, "ok"),
            (month_of(NOW, 3), "warning"),
            (month_of(NOW, 20), "warning"),
        ],
    )
    def test_that_lack_the_next_month_are_told(self, now_ms: int, level: str) -> None:
        (found,) = of_partitions(self.THERE, now_ms)
        assert found.level == level
        if level == "warning":
            assert found.message.startswith("the partitions of bars end at 2027-05-01 00:00 UTC")
            assert found.hint == "run assetbatch init"

    def test_that_were_dropped_are_an_error_since_their_bars_would_be_refused(self) -> None:
        (found,) = of_partitions([*self.THERE[:3], *self.THERE[4:]], NOW)
        assert (found.level, found.hint, found.code) == ("error", "run assetbatch init", 3)
        assert found.message.endswith(f"would be refused: {self.THERE[3].name} is missing")


class TestThePlan:
    def test_tells_which_reference_data_are_refused(self) -> None:
        asked = {
            "holidays": references.Asked(NOW),
            "listing": references.Asked(NOW, references.AskOutcome.REFUSED, "not authorized"),
            "renames": references.Asked(
                NOW - references.REFUSED_MS, references.AskOutcome.REFUSED, "not authorized"
            ),
            "listing:AAPL": references.Asked(NOW, references.AskOutcome.FAILED, "HTTP 500"),
        }
        (found,) = of_references(asked, NOW)
        assert found.level is Level.OK
        assert found.message.startswith("your plan has no listing: not authorized; asked again ")

    def test_of_the_free_tier_lacks_what_it_is_expected_to_lack(self) -> None:
        known = Entitlements(end_of_day=True)
        known.refused(Restriction.TODAY, AssetType.FOREX, "no", NOW, ticker="C:XAUUSD")
        findings = of_plan(Config(priority_assets=(GOLD,)), known, NOW)
        assert worst(findings) is Level.OK
        assert findings[1].message.startswith("your plan has no forex data of the running day")

    def test_that_lacks_what_its_tier_promises_is_to_be_looked_at(self) -> None:
        known = Entitlements(end_of_day=False)
        known.refused(Restriction.SNAPSHOT, AssetType.FOREX, "no", NOW, ticker="C:XAUUSD")
        config = Config(priority_assets=(GOLD,), rate_limiting=RateLimitSettings(tier="starter"))
        (found,) = [finding for finding in of_plan(config, known, NOW) if finding.level is not Level.OK]
        assert found.message.startswith("your plan has no unified forex snapshots")
        assert "is rate_limiting.tier: starter what this key has?" in (found.hint or "")

    def test_of_one_product_is_told_with_its_own_setting(self) -> None:
        known = Entitlements(end_of_day={Product.CURRENCIES})
        known.refused(Restriction.SNAPSHOT, AssetType.STOCKS, "no", NOW, ticker="AAPL")
        known.refused(Restriction.GROUPED, AssetType.FOREX, "no", NOW, ticker="C:XAUUSD")
        apple = Asset(symbol="AAPL", polygon_ticker="AAPL", asset_type=AssetType.STOCKS)
        config = Config(
            priority_assets=(GOLD, apple),
            rate_limiting=RateLimitSettings(plans=PlanSettings(stocks="starter")),
        )
        findings = of_plan(config, known, NOW)
        assert [finding.message for finding in findings[:2]] == [
            "currencies free: forex up to 2027-01-15 05:00 UTC",
            "stocks starter: stocks up to now",
        ]
        (found,) = [finding for finding in findings if finding.level is not Level.OK]
        assert "is rate_limiting.plans.stocks: starter what this key has?" in (found.hint or "")

    def test_that_delays_says_so(self) -> None:
        known = Entitlements(end_of_day=False)
        known.saw(AssetType.STOCKS, NOW - 3_600_000, NOW, market_open=False, delayed=True)
        apple = Asset(symbol="AAPL", polygon_ticker="AAPL", asset_type=AssetType.STOCKS)
        config = Config(priority_assets=(apple,), rate_limiting=RateLimitSettings(tier="starter"))
        (found,) = of_plan(config, known, NOW)
        assert found.message == "starter: stocks up to 15 min ago"


class TestLocksAndQueue:
    def test_who_runs_is_told(self) -> None:
        held = {Command.RUN_PRIORITY: [], Command.RUN_QUEUE: [NOW + 50_000]}
        assert of_locks(held, NOW)[0].message == "running now: 1 run-queue"

    def test_a_lock_from_a_clock_that_was_ahead_is_found(self) -> None:
        (found,) = of_locks({Command.RUN_QUEUE: [NOW + 7_200_000]}, NOW)
        assert found.level is Level.WARNING
        assert found.message.startswith("run-queue is locked for another 2 h")

    @pytest.mark.parametrize(
        ("size", "dead", "level"), [(0, 0, "ok"), (901, 0, "warning"), (1, 2, "warning")]
    )
    def test_a_full_queue_and_dead_letters_are_told(self, size: int, dead: int, level: str) -> None:
        lanes = dict.fromkeys(Lane, 0)
        state = QueueState(
            now_ms=NOW, size=size, by_lane=lanes, leased=0, delayed=0, dead=dead, oldest_ms=None
        )
        assert of_queue(state, 1000).level == level


class TestCron:
    def job(self, age_ms: int | None, error: str | None = None, name: str = "run-priority") -> JobHealth:
        return JobHealth(
            id=Command(name),
            id_old=Command(name).old,
            name=name,
            trigger="every minute",
            last_started=None if age_ms is None else iso(NOW - age_ms),
            last_finished=None,
            last_result="failed" if error else "ok",
            last_error=error,
            next_run=iso(NOW),
            skipped=0,
        )

    @pytest.mark.parametrize(
        ("name", "age_ms", "waiting", "level", "said"),
        [
            ("run-priority", MINUTE, 0, "ok", "run-priority started 60 s ago: ok"),
            ("run-priority", 10 * MINUTE, 0, "ok", "run-priority started 10 min ago: ok"),
            (
                "run-priority",
                11 * MINUTE,
                0,
                "error",
                "run-priority was last started 11 min ago, it should be every 5 min",
            ),
            ("run-priority", None, 0, "warning", "run-priority was never started"),
            ("run-queue", 10 * MINUTE, 3, "ok", "run-queue started 10 min ago: ok"),
            (
                "run-queue",
                11 * MINUTE,
                3,
                "warning",
                "run-queue was last started 11 min ago, and 3 items in the queue",
            ),
            ("run-queue", 11 * MINUTE, 0, "ok", "run-queue started 11 min ago: ok"),
            ("run-queue", None, 0, "warning", "run-queue was never started"),
            ("enqueue-secondary", 30 * MINUTE, 0, "ok", "enqueue-secondary started 30 min ago: ok"),
            (
                "enqueue-secondary",
                31 * MINUTE,
                0,
                "warning",
                "enqueue-secondary was last started 31 min ago, it should be every 10 min",
            ),
        ],
    )
    def test_has_stopped_or_not(
        self, name: str, age_ms: int | None, waiting: int, level: str, said: str
    ) -> None:
        (found,) = of_cron([self.job(age_ms, name=name)], waiting, BOTH, NOW)
        assert (found.level, found.message) == (level, said)
        assert level == "ok" or found.hint

    def test_has_started_something_that_failed(self) -> None:
        (found,) = of_cron([self.job(MINUTE, "redis is full")], 0, BOTH, NOW)
        assert (found.level, found.message) == (
            "warning",
            "run-priority started 60 s ago: failed: redis is full",
        )
        assert "assetbatch -v run-priority" in (found.hint or "")

    def test_names_at_once_all_that_was_never_started(self) -> None:
        jobs = [self.job(None, name=name) for name in ("run-priority", "enqueue-secondary")]
        (found,) = of_cron(jobs, 0, BOTH, NOW)
        assert found.message == "run-priority, enqueue-secondary were never started"

    @pytest.mark.parametrize("age_ms", [None, 600 * MINUTE])
    @pytest.mark.parametrize(
        ("name", "config"),
        [
            ("run-priority", Config(secondary_assets=(EURO,))),
            (
                "run-priority",
                Config(priority_assets=(GOLD,), batch=BatchSettings(priority_assets_enabled=False)),
            ),
            ("enqueue-secondary", Config(priority_assets=(GOLD,))),
            ("run-queue", Config(priority_assets=(GOLD,))),
        ],
    )
    def test_need_not_start_what_has_nothing_to_do(
        self, name: str, config: Config, age_ms: int | None
    ) -> None:
        (found,) = of_cron([self.job(age_ms, name=name)], 0, config, NOW)
        assert found.level is Level.OK

    def test_must_start_the_queue_for_bars_of_priority_assets_that_wait(self) -> None:
        (found,) = of_cron([self.job(None, name="run-queue")], 2, Config(priority_assets=(GOLD,)), NOW)
        assert found.message == "run-queue was never started"

    def test_is_not_needed_by_a_sandbox(self) -> None:
        (found,) = of_cron([self.job(None)], 0, Config(sandbox=True), NOW)
        assert found.level is Level.OK


class TestTheOrder:
    def checks(self, **raising: Exception) -> dict[str, Any]:
        def look(name: str) -> Iterator[Finding]:
            yield ok(name, "looked at")
            if name in raising:
                raise raising[name]

        def bind(name: str) -> Any:
            def check() -> Iterable[Finding]:
                return look(name)

            return check

        return {name: bind(name) for name in ("redis", "postgresql", "locks", "queue")}

    def said(self, **raising: Exception) -> list[tuple[str, str]]:
        return [
            (finding.check, finding.message)
            for finding in in_order(self.checks(**raising))
            if finding.message != "looked at"
        ]

    def test_without_redis_only_the_database_is_looked_at(self) -> None:
        assert self.said(redis=RedisError("gone")) == [
            ("redis", "gone"),
            ("locks", "not checked: it needs redis"),
            ("queue", "not checked: it needs redis"),
        ]

    def test_redis_that_fails_meanwhile_leaves_nothing_unsaid(self) -> None:
        assert self.said(locks=RedisError("gone")) == [
            ("redis", "gone"),
            ("locks", "not checked: it needs redis"),
            ("queue", "not checked: it needs redis"),
        ]

    def test_what_has_been_said_is_not_said_again(self) -> None:
        checks = self.checks(locks=RedisError("no right"))
        checks["redis"] = lambda: [error("redis", "no right", code=3)]
        assert [f.message for f in in_order(checks)].count("no right") == 1

    def test_a_database_that_fails_keeps_nothing_else_from_being_looked_at(self) -> None:
        assert self.said(postgresql=DatabaseError("gone")) == [("postgresql", "gone")]

    def test_when_the_time_is_up_it_ends_with_what_hangs(self) -> None:
        up = DeadlineExceededError("the command did not end within 30 s and was stopped")
        findings = list(in_order(self.checks(postgresql=up)))
        assert [(f.check, f.message) for f in findings if f.message != "looked at"] == [
            ("postgresql", f"hangs: {up.message}"),
            ("locks", "not checked: it needs more time"),
            ("queue", "not checked: it needs more time"),
        ]
        assert exit_code(findings) == 3


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


class TestRules:
    RULE = Rule(every=AssetType.CRYPTO, quote=("USD",))
    HOUR = 3_600_000

    def of(self, walk: Walk | None, *members: str) -> tuple[Level, str]:
        known = {self.RULE.key: [Member(name, f"X:{name}") for name in members]}
        walks = {self.RULE.key: walk} if walk else {}
        (found,) = of_rules([self.RULE], known, walks, 100 * self.HOUR)
        return found.level, found.message

    def test_that_were_looked_up_are_well(self) -> None:
        walk = Walk(rule=self.RULE.key, started_ms=98 * self.HOUR, finished_ms=99 * self.HOUR)
        assert self.of(walk, "BTCUSD") == (Level.OK, "rule crypto/USD: 1 member, looked up 60 min ago")

    def test_that_nothing_fits_are_told_with_what_to_look_at(self) -> None:
        walk = Walk(rule=self.RULE.key, started_ms=98 * self.HOUR, finished_ms=99 * self.HOUR)
        (found,) = of_rules([self.RULE], {}, {self.RULE.key: walk}, 100 * self.HOUR)
        assert (found.level, found.message) == (
            Level.WARNING,
            "rule crypto/USD: 0 members, looked up 60 min ago: nothing that is listed fits",
        )
        assert "a MIC code, such as XNYS" in (found.hint or "")

    @pytest.mark.parametrize(
        ("walk", "words"),
        [
            (None, "0 members, not looked up yet"),
            (Walk(rule=RULE.key, started_ms=40 * HOUR), "not all looked up, begun 2 d ago"),
            (Walk(rule=RULE.key, started_ms=1, finished_ms=10 * HOUR), "looked up 4 d ago"),
        ],
    )
    def test_that_are_not_are_told(self, walk: Walk | None, words: str) -> None:
        level, message = self.of(walk)
        assert level is Level.WARNING
        assert message.endswith(words)
