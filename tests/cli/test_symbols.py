"""Symbols as platforms spell them, through every command and every place that shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from prometheus_client.parser import text_string_to_metric_families

from assetbatch.domain.market_hours import day_of, last_midnight
from assetbatch.domain.queueing import Failure, Lane
from assetbatch.domain.work import Work
from assetbatch.state.connection import RedisClient
from assetbatch.state.queue import Lease
from tests.commands.conftest import MakeWorld
from tests.world import Listener, World, first_day

from .test_commands import run

SPELT = {
    "EUR/USD": None,
    "GBPUSD=X": None,
    "usdjpy": None,
    "BTC-USD": None,
    "EUR_GBP": None,
    "C:USDCHF": None,
    "bars:A": "C:AUDUSD",
    "history:A:2026-01-01:2026-02-01": "C:NZDUSD",
    "price:A": "C:USDCAD",
    "{a}*?[b-c]:{d}": "C:EURJPY",
    "[red]x[/red]": "X:ETHUSD",
    '<b title="x">&\'': "C:GBPJPY",
    'back\\slash "n"': "C:EURCHF",
    "Grün €/円": "X:SOLUSD",
    "-h": "C:EURAUD",
    "%s %(x)d {0} $HOME": "C:EURCAD",
    "../x|y, z # k: v": "X:XRPUSD",
    "1'; DROP TABLE x; --": "C:XAGUSD",
}
"""Symbols, and the ticker where none follows."""


@pytest.fixture(params=["basic", "starter"])
def world(request: pytest.FixtureRequest, make_world: MakeWorld) -> World:
    """Half of the symbols have priority, the others wait in the queue."""
    assets = [{"symbol": s, **({"polygon_ticker": t} if t else {})} for s, t in SPELT.items()]
    batch = {"priority_assets": assets[::2], "secondary_assets": assets[1::2]}
    made = make_world(plan=request.param, init=False)
    del made.document["priority_assets"], made.document["secondary_assets"]
    made.document["batch"] = batch
    assert run(made, "init").returncode == 0
    return made


@pytest.fixture
def listener(redis_client: RedisClient) -> Iterator[Listener]:
    made = Listener(redis_client, list(SPELT))
    yield made
    made.close()


class Texts(HTMLParser):
    """The texts of a page, and whether anything in it is an element that the page has not."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_are_kept_as_they_are_everywhere(world: World, listener: Listener) -> None:
    for command in ("run-priority", "enqueue-secondary", "run-queue"):
        done = run(world, command)
        assert (done.returncode, done.stderr) == (0, ""), command
    assert {symbol for (symbol,) in world.rows("SELECT symbol FROM trading.symbols")} == set(SPELT)
    heard = listener.heard()
    assert {channel for channel, _ in heard} == {f"asset:update:{symbol}" for symbol in SPELT}
    assert all(channel == f"asset:update:{event['symbol']}" for channel, event in heard)
    for symbol in SPELT:
        assert world.last_update(symbol), symbol
        assert world.bars(symbol), symbol

    health = json.loads(run(world, "status", "--json").stdout)
    assert {asset["symbol"] for asset in health["assets"]} == set(SPELT)
    assert {asset["state"] for asset in health["assets"]} <= {"fresh", "due"}
    assert run(world, "status", "--check").returncode == 0
    narrow = run(world, "status", "--all").stdout.splitlines()
    assert "…" not in "".join(narrow)
    shown = run(world, "status", "--all", COLUMNS="200").stdout
    assert all(symbol in shown for symbol in SPELT)
    page = Texts(run(world, "status", "--html", "/dev/stdout").stdout)
    assert set(SPELT) <= set(page.texts)
    assert "b" not in page.tags
    families = text_string_to_metric_families(run(world, "status", "--prometheus", "/dev/stdout").stdout)
    labels = {sample.labels["symbol"] for f in families for sample in f.samples if "symbol" in sample.labels}
    assert labels == set(list(SPELT)[::2])
    holes = json.loads(run(world, "holes", "--json", "--", *SPELT).stdout)
    assert [found["symbol"] for found in holes] == list(SPELT)


def test_are_worked_and_named_one_by_one(world: World) -> None:
    now_ms = world.clock.now_ms()
    first, last = day_of(first_day(now_ms, 2)), day_of(last_midnight(now_ms) - 1)
    done = run(world, "backfill", "--from", f"{first}", "--to", f"{last}", "--json", "--", *SPELT)
    assert json.loads(done.stdout)["queued"] == len(SPELT)
    for _ in range(5):  # on a busy machine one start may not come to the end
        assert run(world, "run-queue").returncode == 0
        with world.services() as services:
            if not services.queue.state().size:
                break
    else:
        pytest.fail("something stays in the queue")
    assert all(world.bars(symbol) for symbol in SPELT)


def test_are_found_among_the_dead_letters(world: World) -> None:
    with world.services() as services:
        ids = [Work(asset).id for asset in services.config.assets]
        services.queue.enqueue([(item_id, Lane.HIGH) for item_id in ids])
        lease = services.queue.take(len(ids), 60)
        assert isinstance(lease, Lease)
        services.queue.fail(lease.token, [Failure(item.id, "no", final=True) for item in lease.items])
    letters = json.loads(run(world, "dead", "list", "--json").stdout)
    assert {letter["symbol"] for letter in letters} == set(SPELT)
    assert {letter["kind"] for letter in letters} == {"price"}
    for symbol in SPELT:
        done = run(world, "dead", "retry", "--json", "--", symbol)
        assert len(json.loads(done.stdout)["retried"]) == 1, done.stdout


@pytest.mark.parametrize("command", [("holes",), ("backfill", "--from", "2026-01-01")])
def test_another_spelling_is_no_symbol_and_the_right_one_is_named(
    world: World, command: tuple[str, ...]
) -> None:
    done = run(world, *command, "eurusd")
    assert done.returncode == 2
    assert "eurusd is no enabled asset that keeps bars (hint: did you mean EUR/USD? " in done.stderr


@pytest.mark.parametrize("plan", ["basic", "starter"])
def test_two_spellings_of_a_symbol_are_each_refreshed(make_world: MakeWorld, plan: str) -> None:
    world = make_world(plan=plan, init=False)
    del world.document["priority_assets"], world.document["secondary_assets"]
    world.document["batch"] = {"priority_assets": [{"symbol": "EURUSD"}, {"symbol": "eur/usd"}]}
    checked = run(world, "config", "check")
    assert checked.returncode == 0
    assert "EURUSD, eur/usd differ in nothing but case or separators" in checked.stdout + checked.stderr
    assert run(world, "init").returncode == 0
    report = json.loads(run(world, "run-priority", "--json").stdout)
    assert {asset["symbol"]: asset["status"] for asset in report["assets"]} == {
        "EURUSD": "success",
        "eur/usd": "success",
    }
    one, other = world.rows("SELECT metadata -> 'last_update' FROM trading.symbols ORDER BY symbol")
    assert one == other
