"""The decisions of an export: its months, its files, and which of them are out of date."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.commands.export import format_of, is_folder
from assetbatch.domain.exporting import (
    EARLIEST_MS,
    LATEST_MS,
    Content,
    ExportFormat,
    ExportSize,
    Written,
    file_of,
    is_current,
    pieces,
)
from assetbatch.domain.market_hours import month_of, to_ms

MOMENTS = st.integers(EARLIEST_MS, EARLIEST_MS + 10**13)


def utc(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


class TestPieces:
    def test_are_months_cut_at_the_ends_of_the_range(self) -> None:
        found = list(pieces(utc("2024-11-15"), utc("2025-01-02"), whole=False))
        assert [piece.month for piece in found] == ["2024-11", "2024-12", "2025-01"]
        assert found[0] == (utc("2024-11-15"), utc("2024-12-01"))
        assert found[-1] == (utc("2025-01-01"), utc("2025-01-02"))

    def test_of_a_folder_are_whole_months(self) -> None:
        (piece,) = pieces(utc("2024-11-15"), utc("2024-11-16"), whole=True)
        assert piece == (utc("2024-11-01"), utc("2024-12-01"))

    @given(start_ms=MOMENTS, length_ms=st.integers(0, 10**11))
    def test_cover_the_range_without_overlap_and_lie_in_one_month_each(
        self, start_ms: int, length_ms: int
    ) -> None:
        found = list(pieces(start_ms, start_ms + length_ms, whole=False))
        assert sum(piece.end_ms - piece.start_ms for piece in found) == length_ms
        assert all(one.end_ms == other.start_ms for one, other in pairwise(found))
        assert all(month_of(piece.start_ms) == month_of(piece.end_ms - 1) for piece in found)

    def test_of_all_time_end(self) -> None:
        assert len(list(pieces(EARLIEST_MS, LATEST_MS, whole=True))) == 300 * 12


class TestFiles:
    @pytest.mark.parametrize(
        ("symbol", "folder"),
        [
            ("XAUUSD", "XAUUSD"),
            ("BTC/USD", "BTC%2FUSD"),
            ("..", "%2E."),
            ("../x", "%2E.%2Fx"),
            ("C:EURUSD", "C%3AEURUSD"),
            ("a b", "a%20b"),
        ],
    )
    def test_lie_in_a_folder_of_their_symbol_below_the_output(self, symbol: str, folder: str) -> None:
        place = file_of(symbol, ExportSize.HOUR, "2024-11", ExportFormat.CSV)
        assert place == PurePath(folder, "1h", "2024-11.csv")
        assert len(place.parts) == 3

    @pytest.mark.parametrize(
        ("written", "size", "current"),
        [
            (Written(5, 77, 100), 100, True),
            (Written(5, 77, 100), None, False),
            (Written(5, 77, 100), 99, False),
            (Written(5, 78, 100), 100, False),
            (Written(4, 77, 100), 100, False),
            (None, 100, False),
        ],
    )
    def test_are_current_only_if_bars_hash_and_size_are_the_same(
        self, written: Written | None, size: int | None, current: bool
    ) -> None:
        assert is_current(written, Content(5, 77), size) is current


class TestOutput:
    def test_a_folder_is_one_that_is_there_or_a_name_that_ends_in_a_slash(self, tmp_path: PurePath) -> None:
        assert is_folder(str(tmp_path))
        assert is_folder(f"{tmp_path}/new/")
        assert not is_folder(f"{tmp_path}/new")

    def test_the_format_is_the_given_one_else_that_of_the_ending_else_csv(self) -> None:
        assert format_of("a.parquet", None) is ExportFormat.PARQUET
        assert format_of("a.parquet", ExportFormat.CSV) is ExportFormat.CSV
        assert format_of("a.txt", None) is ExportFormat.CSV
        assert format_of("a/", None) is ExportFormat.CSV
