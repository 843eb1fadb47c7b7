"""Platforms put together from parts: a named dozen and more, and whatever hypothesis thinks of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from tests.conftest import examples, new_database, url_of
from tests.world import SetClock, World

from .parts import Parts, build, choices, refusals
from .proof import assert_adopted, assert_refused, platform

REFUSED = {
    "bars keyed by their close": Parts(bars="table", ts="close_time"),
    "bars of several sources": Parts(bars="table", bars_key="wider"),
    "bars with a partial key": Parts(bars="table", bars_key="partial"),
    "bars that nothing tells apart": Parts(bars="table", bars_key="none", old_bars=True),
    "a log of states": Parts(sync="table", sync_key="none"),
    "bars in a view": Parts(bars="view"),
    "bars in a materialised view": Parts(bars="materialised view"),
    "symbols of several exchanges": Parts(symbols_key="wider"),
    "symbols with a partial key": Parts(symbols_key="partial"),
    "symbols with metadata that is text": Parts(metadata="text"),
    "symbols that insist on a base": Parts(insists="a base"),
    "states that nobody understands": Parts(sync="table", states="no words"),
    "states by type of data": Parts(sync="table", sync_key="wider"),
}

ADOPTED = {
    "uuid ids that the program makes": Parts(ids="uuid of the program", bars="table", sync="table"),
    "the symbol is the key": Parts(ids="the symbol itself", symbol="ticker", sync="table"),
    "bars by the symbol": Parts(ids="serial", bars="table", instrument="symbol", ts="time", prices="o"),
    "bars by the provider's ticker, in lists": Parts(
        bars="by list", instrument="polygon_ticker", ts="bucket"
    ),
    "bars by range, in UTC without a zone": Parts(
        ids="uuid",
        bars="by range",
        symbol_id="instrument_id",
        ts="open_time",
        ts_type="timestamp",
        old_bars=True,
    ),
    "bars by hash, with a volume that is needed": Parts(
        bars="by hash of the instrument", volume="float8 NOT NULL", price_type="numeric", old_bars=True
    ),
    "bars of several sources, ours named": Parts(
        bars="table", bars_key="wider, with constant", own_id=True, old_bars=True, price_type="numeric(20,8)"
    ),
    "bars without a key and without volumes": Parts(
        bars="table", bars_key="none", volume="absent", prices="open_price", symbol_id="asset_id"
    ),
    "bars keyed the other way round": Parts(
        bars="table", bars_key="the other way round", ts="timestamp", symbol_id="ticker_id", old_bars=True
    ),
    "symbols of several exchanges, ours named": Parts(
        symbols_key="wider, with constant", bars="table", sync="table"
    ),
    "symbols elsewhere, by their codes": Parts(
        symbols="reference.instruments", symbol="code", metadata="json", updated="timestamp", bars="table"
    ),
    "symbols without a key": Parts(symbols_key="none", metadata="absent", updated="absent"),
    "symbols that insist, all are there": Parts(insists="a base, all are there", bars="table"),
    "a trigger with another clock": Parts(
        updated="by a trigger of another clock", sync="table", states="an enum"
    ),
    "states in capitals, a provider too": Parts(sync="table", states="capitals", provider="POLYGON"),
    "states by other words, times without a zone": Parts(
        sync="table", states="other words", sync_type="timestamp", provider="Polygon.io"
    ),
    "states that are checked, no provider yet": Parts(
        sync="table", states="a check", provider="none yet", sync_key="the other way round"
    ),
    "states that are short": Parts(sync="table", states="varchar(10)"),
}


DAYS = 10
"""So old a market has what `old_bars` are replaced by; without them two days show as much."""


@contextmanager
def world_of(
    parts: Parts, postgres_url: str, redis_url: str, now_ms: int, plan: str = "basic"
) -> Iterator[World]:
    """A world whose platform is built of these parts."""
    with TemporaryDirectory() as folder, new_database(postgres_url, "template0") as name:
        url, prefix = url_of(postgres_url, name), f"{{test-{uuid4().hex[:12]}}}"
        days = DAYS if parts.old_bars else 2
        world = World(Path(folder), redis_url, url, prefix, SetClock(now_ms), plan=plan, days=days)
        try:
            shape = build(parts)
            platform(world, shape, shape.ddl)
            yield world
        finally:
            world.provider.stop()
            with world.services() as services:
                services.redis.flushall()


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_harmed_is_refused_and_left_as_it_was(
    postgres_url: str, redis_url: str, wednesday_ms: int, name: str
) -> None:
    with world_of(REFUSED[name], postgres_url, redis_url, wednesday_ms) as world:
        assert_refused(world, build(REFUSED[name]))


@pytest.mark.parametrize("name", ADOPTED)
def test_what_fits_is_adopted_and_nobody_notices(
    postgres_url: str, redis_url: str, wednesday_ms: int, name: str
) -> None:
    with world_of(ADOPTED[name], postgres_url, redis_url, wednesday_ms) as world:
        assert_adopted(world, build(ADOPTED[name]))


GENERATED = settings(
    examples(1),
    phases=[Phase.reuse, Phase.generate],  # to make an example smaller takes many seconds, and it is short
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.slow
@GENERATED
@given(parts=choices(sound=False))
def test_whatever_would_be_harmed_is_refused_and_left_as_it_was(
    postgres_url: str, redis_url: str, wednesday_ms: int, parts: Parts
) -> None:
    found = refusals(parts)
    assume(found)
    with world_of(parts, postgres_url, redis_url, wednesday_ms) as world:
        assert_refused(world, build(parts), *found)


@pytest.mark.slow
@GENERATED
@given(parts=choices(sound=True), plan=st.sampled_from(["basic", "starter"]))
def test_whatever_fits_is_adopted_and_nobody_notices(
    postgres_url: str, redis_url: str, wednesday_ms: int, parts: Parts, plan: str
) -> None:
    shape = build(parts)
    assert not shape.refused
    with world_of(parts, postgres_url, redis_url, wednesday_ms, plan) as world:
        assert_adopted(world, shape)
