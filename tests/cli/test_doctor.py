"""`doctor` on real servers: what is said, what to do, and the exit code."""

from __future__ import annotations

import json
import uuid
from typing import Any

import psycopg
import pytest

from tests.world import KEY, RealClock, SetClock, World

from .test_commands import MARK, run

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def clock() -> SetClock:
    """Processes take the real time, so the simulated vendor does too."""
    return RealClock()


def examined(world: World, *arguments: str, **env: str) -> tuple[int, dict[str, Any]]:
    done = run(world, "doctor", "--json", *arguments, **env)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def errors(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f["check"], f["message"]) for f in document["findings"] if f["level"] == "error"]


def said(document: dict[str, Any], check: str) -> str:
    return " | ".join(f["message"] for f in document["findings"] if f["check"] == check)


CHECKS = ["config", "redis", "postgresql", "locks", "vendor", "plan", "window", "queue", "cron"]


def test_goes_through_everything_in_its_order(free: World) -> None:
    for command in ("run-priority", "enqueue-secondary", "run-queue"):
        run(free, command)
    code, document = examined(free)
    assert code == 0, document
    assert list(dict.fromkeys(f["check"] for f in document["findings"])) == CHECKS
    assert errors(document) == []
    assert said(document, "vendor").startswith("answers, and takes the API key")
    assert "every right it needs" in said(document, "postgresql")
    assert "run-queue started" in said(document, "cron")


def test_says_in_words_what_the_plan_lacks(free: World) -> None:
    free.know_that_today_is_refused()
    assert "your plan has no forex data of the running day" in said(examined(free)[1], "plan")


def test_asks_the_vendor_once_through_the_limiter(free: World) -> None:
    before = len(free.vendor.arrivals)
    examined(free)
    assert len(free.vendor.arrivals) == before + 1
    with free.services() as services:
        assert services.window.state().used == 1
    examined(free, "--no-call")
    assert len(free.vendor.arrivals) == before + 1


def test_leaves_the_vendor_alone_when_no_call_is_free(free: World) -> None:
    with free.services() as services:
        services.window.block(60)
    before = len(free.vendor.arrivals)
    code, document = examined(free)
    assert (code, len(free.vendor.arrivals)) == (0, before)
    assert "not asked: no call is free" in said(document, "vendor")


class TestWithout:
    def test_a_valid_configuration(self, free: World) -> None:
        code, document = examined(free, POLYGON_TIER="golden", QUEUE_MAX_SIZE="many")
        assert code == 2
        assert [check for check, _ in errors(document)] == ["config", "config"]

    def test_an_api_key(self, free: World) -> None:
        code, document = examined(free, POLYGON_API_KEY="")
        assert code == 2
        assert errors(document) == [("config", "no API key is configured")]

    def test_redis(self, free: World) -> None:
        code, document = examined(free, REDIS_URL=NOWHERE)
        assert code == 3
        assert errors(document)[0][1].startswith("redis cannot be reached")
        assert "every right it needs" in said(document, "postgresql")
        assert said(document, "cron") == "not checked: it needs redis"

    def test_postgresql(self, free: World) -> None:
        code, document = examined(free, DATABASE_URL="postgresql://me@127.0.0.1:1/x")
        assert code == 3
        assert errors(document)[0] == (
            "postgresql",
            "connecting at x on 127.0.0.1:1 as me: nothing listens there",
        )
        assert said(document, "queue").startswith("0 of at most")

    def test_the_schema(self, free: World, postgres_url: str) -> None:
        name = f"bare_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
            url = free.database_url.replace(free.database_url.split("/")[3].split("?")[0], name)
            try:
                code, document = examined(free, DATABASE_URL=url)
            finally:
                connection.execute(f"DROP DATABASE {name}".encode())
        assert code == 3
        (found,) = [f for f in document["findings"] if f["level"] == "error"]
        assert found["message"].endswith(": the database has no tables of assetbatch")
        assert found["hint"] == "run assetbatch init"

    def test_the_rights(self, free: World, postgres_url: str) -> None:
        role = f"role_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(free.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'made-up'".encode())
            connection.execute(f"GRANT USAGE ON SCHEMA trading, market_data, data_sources TO {role}".encode())
            connection.execute(
                f"GRANT SELECT ON ALL TABLES IN SCHEMA trading, data_sources TO {role}".encode()
            )
            tail = free.database_url.split("@", 1)[1]
            url = f"postgresql://{role}:made-up@{tail}"
            try:
                code, document = examined(free, DATABASE_URL=url)
            finally:
                connection.execute(f"DROP OWNED BY {role}".encode())
                connection.execute(f"DROP ROLE {role}".encode())
        assert code == 3
        (found,) = [f for f in document["findings"] if f["level"] == "error" and f["check"] == "postgresql"]
        assert "UPDATE ON trading.symbols" in found["message"]
        assert "INSERT ON market_data.ohlcv_5m" in found["message"]
        assert "SELECT ON trading.symbols" not in found["message"]

    def test_a_key_that_the_vendor_takes(self, free: World) -> None:
        free.vendor.order("status=401", times=None)
        code, document = examined(free)
        assert code == 4
        assert errors(document)[0][1].startswith("refuses the API key")

    def test_a_vendor_that_answers(self, free: World) -> None:
        free.vendor.order("status=503", times=None)
        code, document = examined(free)
        assert code == 3
        assert errors(document)[0][0] == "vendor"


def test_a_person_reads_a_line_for_each_with_what_to_do_below(free: World) -> None:
    done = run(free, "doctor", REDIS_URL=NOWHERE)
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[0].startswith("ok    config     ")
    wrong = next(number for number, line in enumerate(lines) if line.startswith("wrong redis"))
    assert "-> is it running" in " ".join(lines[wrong : wrong + 4])
    assert lines[-1].strip().startswith("it does not work like this")
    assert max(map(len, lines)) <= 80


def test_no_secret_is_shown(free: World) -> None:
    for env in (
        {"REDIS_URL": f"redis://me:{MARK}@127.0.0.1:1/0"},
        {"DATABASE_URL": f"postgresql://me:{MARK}@127.0.0.1:1/x"},
        {"POLYGON_API_KEY": MARK},
    ):
        done = run(free, "-vv", "doctor", **env)
        assert MARK not in done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
