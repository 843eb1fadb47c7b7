"""A day of each asset's bars, hour by hour: what is stored, and where something is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from assetbatch.domain.asset_classes import Market
from assetbatch.domain.assets import Asset
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.market_hours import open_intervals
from assetbatch.domain.models import IntervalState
from assetbatch.domain.units import DAY_MS, HOUR_MS
from assetbatch.health.assets import complete_to_ms

Covered = tuple[int, int, IntervalState]
"""`[start_ms, end_ms)` of a symbol's bars, and what is known of it."""

LONGEST_BACK_MS = 3 * DAY_MS
"""How far the day may lie back, its own length included: a plan may show ended days only."""


class HourState(StrEnum):
    """What is known of the bars of an hour. The gravest part of the hour decides."""

    STORED = "stored"
    """Stored, or known not to exist."""
    CLOSED = "closed"
    """The market does not trade."""
    PENDING = "pending"
    """Not shown by the plan, on its way, or not wanted."""
    MISSING = "missing"
    """Not asked for yet."""
    FAILED = "failed"
    """Asked without a usable answer, or refused by the database."""


_MEANING = {
    IntervalState.ASKED: HourState.STORED,
    IntervalState.REQUESTED: HourState.MISSING,
    IntervalState.FAILED: HourState.FAILED,
    IntervalState.REJECTED: HourState.FAILED,
    IntervalState.NOT_IN_PLAN: HourState.PENDING,
    IntervalState.NOT_WANTED: HourState.PENDING,
    IntervalState.AGAIN: HourState.STORED,
}

_GRAVEST_LAST = (HourState.STORED, HourState.PENDING, HourState.MISSING, HourState.FAILED)


class Day(NamedTuple):
    """The 24 hours before `end_ms`, the oldest first."""

    end_ms: int
    hours: tuple[HourState, ...]


def days_of(
    assets: Iterable[Asset], coverage: Mapping[str, Iterable[Covered]], known: Entitlements, now_ms: int
) -> dict[str, Day]:
    """Return the last day that the plan shows of each asset that keeps bars.

    Hours in which bars may still be on their way are pending and not missing.
    """
    found = {}
    for asset in assets:
        if not asset.bars:
            continue
        end_ms = -(-min(now_ms, known.visible_until_ms(asset.asset_type, now_ms)) // HOUR_MS) * HOUR_MS
        expected_ms = complete_to_ms(asset, known, now_ms)
        start_ms = end_ms - DAY_MS
        pieces = (
            (max(start, start_ms), min(end, expected_ms), state)
            for start, end, state in coverage.get(asset.symbol, ())
        )
        clipped = tuple(piece for piece in pieces if piece[0] < piece[1])
        found[asset.symbol] = Day(end_ms, _hours(asset.market, clipped, end_ms, expected_ms))
    return found


@lru_cache(maxsize=4096)  # most assets of a market are alike
def _hours(
    market: Market, covered: tuple[Covered, ...], end_ms: int, expected_ms: int
) -> tuple[HourState, ...]:
    return tuple(
        _hour(market, covered, start_ms, expected_ms) for start_ms in range(end_ms - DAY_MS, end_ms, HOUR_MS)
    )


def _hour(market: Market, covered: tuple[Covered, ...], start_ms: int, expected_ms: int) -> HourState:
    sessions = open_intervals(market, start_ms, start_ms + HOUR_MS)
    if not sessions:
        return HourState.CLOSED
    expected = [(opens, min(closes, expected_ms)) for opens, closes in sessions if opens < expected_ms]
    if not expected:
        return HourState.PENDING
    states, known_ms = set(), 0
    for opens_ms, closes_ms in expected:
        for from_ms, to_ms, state in covered:
            overlap_ms = min(to_ms, closes_ms) - max(from_ms, opens_ms)
            if overlap_ms > 0:
                known_ms += overlap_ms
                states.add(_MEANING[state])
    if known_ms < sum(closes - opens for opens, closes in expected):
        states.add(HourState.MISSING)
    return max(states, key=_GRAVEST_LAST.index)
