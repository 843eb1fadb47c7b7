"""Which of the listed holidays and early closes count."""

from __future__ import annotations

import json
from datetime import date, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.nyse import SpecialDay
from assetbatch.domain.refusals import RefusalKind
from assetbatch.provider.answers import ListedDays
from assetbatch.provider.holidays import decode_holidays
from assetbatch.provider.refusals import Refusal
from assetbatch.secret import Secret
from tests.provider.servers import refusal_of

HOLIDAY, SHORT = date(2026, 11, 26), date(2026, 11, 27)
CLOSED = SpecialDay("Thanksgiving")
EARLY = SpecialDay("Thanksgiving", time(13))
AT_13 = "2026-11-27T18:00:00.000Z"


def closed(exchange: str | None = "NYSE", **more: Any) -> dict[str, Any]:
    return {"date": "2026-11-26", "exchange": exchange, "name": "Thanksgiving", "status": "closed"} | more


def early(exchange: str | None = "NYSE", **more: Any) -> dict[str, Any]:
    return {
        "close": AT_13,
        "date": "2026-11-27",
        "exchange": exchange,
        "name": "Thanksgiving",
        "open": "2026-11-27T14:30:00.000Z",
        "status": "early-close",
    } | more


def read(*rows: object) -> ListedDays:
    return decode_holidays(json.dumps(rows).encode())


def test_each_day_counts_once_for_all_exchanges() -> None:
    rows = [make(name) for make in (closed, early) for name in ("NYSE", "NASDAQ", "OTC")]
    assert read(*rows) == ListedDays(days={HOLIDAY: CLOSED, SHORT: EARLY}, refused=read().refused)


def test_an_empty_list_lists_nothing() -> None:
    found = read()
    assert (found.days, found.refused.total()) == ({}, 0)


class TestEarlyClose:
    @pytest.mark.parametrize(
        ("close", "at"),
        [
            (AT_13, time(13)),
            ("2026-11-27T18:00:00Z", time(13)),
            ("2026-11-27T13:00:00-05:00", time(13)),
            ("2026-11-27T21:00:00Z", time(16)),  # an ordinary day after all
            ("2026-11-27T17:05:00Z", time(12, 5)),
        ],
    )
    def test_is_at_new_yorks_time(self, close: str, at: time) -> None:
        assert read(early(close=close)).days == {SHORT: SpecialDay("Thanksgiving", at)}

    def test_is_at_new_yorks_time_in_summer(self) -> None:
        found = read(early(date="2025-07-03", close="2025-07-03T17:00:00.000Z", name="Independence Day"))
        assert found.days == {date(2025, 7, 3): SpecialDay("Independence Day", time(13))}

    @pytest.mark.parametrize(
        "close",
        [
            None,
            "",
            13,
            "13:00",
            "2026-11-27T18:00:00",  # of which zone?
            "2026-11-28T18:00:00Z",  # of another day
            "2026-11-27T14:30:00Z",  # at the opening
            "2026-11-27T22:00:00Z",  # after the usual close
            "2026-11-27T18:02:00Z",  # within a bar
            "2026-11-27T18:00:01Z",
            "0001-01-01T00:00:00+00:00",
            "9999-12-31T23:59:59-12:00",
        ],
    )
    def test_at_an_impossible_time_is_refused(self, close: object) -> None:
        found = read(early(close=close), closed())
        assert (found.days, found.refused) == ({HOLIDAY: CLOSED}, {"close": 1})


class TestRow:
    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (None, "undecodable"),
            ("closed", "undecodable"),
            ([], "undecodable"),
            ({}, "undecodable"),
            (closed(exchange=None), "undecodable"),
            (closed(date=None), "date"),
            (closed(date="soon"), "date"),
            (closed(date="2026-02-30"), "date"),
            (closed(date=20261126), "date"),
            (closed(date="2026-11-28"), "date"),  # a Saturday
            (closed(status="delayed-open"), "status"),
            (closed(status="open"), "status"),
            (closed(status=None), "status"),
        ],
    )
    def test_that_is_useless_costs_only_itself(self, row: object, reason: str) -> None:
        found = read(row, early())
        assert (found.days, found.refused) == ({SHORT: EARLY}, {reason: 1})

    @pytest.mark.parametrize("status", ["Closed", "CLOSED", " closed "])
    def test_may_spell_its_status_in_other_letters(self, status: str) -> None:
        assert read(closed(status=status)).days == {HOLIDAY: CLOSED}

    @pytest.mark.parametrize("name", [None, "", 7])
    def test_without_a_name_counts_too(self, name: object) -> None:
        (special,) = read(closed(name=name)).days.values()
        assert special.closes is None
        assert special.name

    def test_has_a_name_of_one_line_without_the_key(self) -> None:
        body = json.dumps([closed(name="Thanks\n giving for sEcret-key")]).encode()
        (special,) = decode_holidays(body, Secret("secret-key")).days.values()
        assert special.name == "Thanks giving for ***"


class TestExchanges:
    def test_nyse_counts_where_nasdaq_differs(self) -> None:
        other = closed("NASDAQ", date="2026-11-27")
        for rows in ((early(), other), (other, early())):
            found = read(*rows)
            assert (found.days, found.refused) == ({SHORT: EARLY}, {"exchange": 1})

    def test_nasdaq_counts_where_nyse_has_no_usable_row(self) -> None:
        assert read(closed("NASDAQ")).days == {HOLIDAY: CLOSED}
        found = read(closed("NASDAQ"), closed(status="?"))
        assert (found.days, found.refused) == ({HOLIDAY: CLOSED}, {"status": 1})

    @pytest.mark.parametrize("exchange", ["OTC", "CME", "Bonds"])
    def test_no_other_exchange_counts(self, exchange: str) -> None:
        found = read(closed(exchange))
        assert (found.days, found.refused.total()) == ({}, 0)

    def test_one_that_contradicts_itself_says_nothing(self) -> None:
        rows = [early(), closed(date="2026-11-27")]
        found = read(*rows)
        assert (found.days, found.refused) == ({}, {"contradiction": 1})
        assert read(*rows, early("NASDAQ")).days == {SHORT: EARLY}


class TestNoList:
    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"<html>502</html>", RefusalKind.NONSENSE),
            (b"", RefusalKind.NONSENSE),
            (b"null", RefusalKind.NONSENSE),
            (b'{"status":"OK","results":[]}', RefusalKind.NONSENSE),
            (
                b'{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data."}',
                RefusalKind.NOT_IN_PLAN,
            ),
        ],
    )
    def test_is_a_refusal(self, body: bytes, kind: RefusalKind) -> None:
        assert refusal_of(lambda: decode_holidays(body)).kind is kind


ROWS = st.one_of(
    st.builds(
        closed,
        st.sampled_from(["NYSE", "NASDAQ", "OTC"]),
        date=st.sampled_from(["2026-11-26", "2026-11-27", "2026-11-28", "never"]),
        name=st.sampled_from(["Thanksgiving", "Storm"]),
        status=st.sampled_from(["closed", "early-close", "open"]),
        close=st.sampled_from([AT_13, "2026-11-27T17:00:00Z", "2026-11-26T18:00:00Z", None]),
    ),
    st.sampled_from([None, 3, "closed", {}, []]),
)


@given(st.lists(ROWS, max_size=8), st.randoms())
def test_the_order_of_the_rows_and_their_copies_mean_nothing(rows: list[Any], random: Any) -> None:
    again = [*rows, *random.sample(rows, len(rows) // 2)]
    random.shuffle(again)
    assert read(*again).days == read(*rows).days


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.just("NYSE") | st.just("closed"),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["date", "exchange", "name", "status", "close"]), inner)
        ),
        max_leaves=20,
    )
    | st.lists(ROWS, max_size=4)
)
def test_any_json_is_read_or_refused(answer: Any) -> None:
    try:
        found = decode_holidays(json.dumps(answer).encode())
    except Refusal:
        return
    assert all(day.weekday() < 5 for day in found.days)
    assert all(one.closes is None or time(9, 30) < one.closes <= time(16) for one in found.days.values())
