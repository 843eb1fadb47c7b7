"""Whether a call may still begin, from values."""

from __future__ import annotations

import pytest

from assetbatch.domain.queueing import CallLimit
from assetbatch.refresh.call_time import time_for_calls, time_until_saving
from assetbatch.refresh.inflight import calls_that_fit


class TestTimeForCalls:
    def test_what_came_in_is_stored_in_the_last_four_seconds(self) -> None:
        assert time_until_saving(55, 30) == 26

    def test_in_less_of_a_short_bound(self) -> None:
        assert time_until_saving(10, 10) == 7

    @pytest.mark.parametrize(
        ("slowest", "seconds"),
        [
            pytest.param(None, 5.0, id="nobody knows"),
            pytest.param(7.5, 7.5, id="the slowest of the last calls"),
            pytest.param(0.02, 1.0, id="never less than a second"),
        ],
    )
    def test_a_call_begins_only_where_it_is_likely_to_end(
        self, slowest: float | None, seconds: float
    ) -> None:
        left = 4 + seconds
        assert time_for_calls(55, left + 0.1, slowest) == pytest.approx(0.1)
        assert time_for_calls(55, left, slowest) <= 0

    def test_the_first_call_of_a_start_begins_in_the_first_half_of_its_time_however_slow_calls_are(
        self,
    ) -> None:
        assert time_for_calls(10, 9.9, 9.0, is_first=True) > 0
        assert time_for_calls(10, 9.9, 9.0) < 0
        assert time_for_calls(10, 6.4, 9.0, is_first=True) < 0

    @pytest.mark.parametrize("slowest", [1.0, 4.0, 6.3])
    def test_the_first_call_of_a_start_has_the_time_that_calls_take_if_the_start_has_it(
        self, slowest: float
    ) -> None:
        assert time_for_calls(10, 10, slowest, is_first=True) > 0
        assert time_for_calls(10, 10 - (7 - slowest), slowest, is_first=True) <= 1e-9

    def test_a_first_call_needs_no_more_than_any(self) -> None:
        assert time_for_calls(55, 20, 2.0, is_first=True) == time_for_calls(55, 20, 2.0)


class TestCallsThatFit:
    def test_are_those_of_the_windows_that_begin_meanwhile(self) -> None:
        assert calls_that_fit(CallLimit(5, 60_000), 50, 1.0) == 5
        assert calls_that_fit(CallLimit(5, 60_000), 61, 1.0) == 10

    def test_are_no_more_than_can_follow_each_other(self) -> None:
        assert calls_that_fit(CallLimit(600, 60_000), 10, 5.0) == 3

    def test_go_out_side_by_side_where_many_are_allowed(self) -> None:
        assert calls_that_fit(CallLimit(100, 1000), 10, 5.0) == 8 * 3

    def test_are_one_at_least(self) -> None:
        assert calls_that_fit(CallLimit(5, 60_000), 0.0, 5.0) == 1
