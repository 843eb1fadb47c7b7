"""What the reference says of a ticker, and of the tickers of its company, out of answers of every kind."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from assetbatch.domain.listings import Details, TickerChange
from assetbatch.domain.refusals import RefusalKind
from assetbatch.provider.listings import decode_changes, decode_details, decode_ended
from assetbatch.provider.refusals import Refusal


def details(**fields: Any) -> Details:
    answer = {"status": "OK", "results": {"ticker": "AAPL", "active": True, **fields}}
    return decode_details(json.dumps(answer).encode(), "AAPL")


def ended(*rows: Any) -> Details | None:
    return decode_ended(json.dumps({"status": "OK", "results": rows}).encode(), "OLDX")


def row(**fields: Any) -> dict[str, Any]:
    return {"ticker": "OLDX", "active": False, "delisted_utc": "2025-04-14T00:00:00Z", **fields}


def changes(*events: Any) -> tuple[TickerChange, ...]:
    return decode_changes(json.dumps({"status": "OK", "results": {"events": events}}).encode())


def event(day: object, ticker: object) -> dict[str, Any]:
    return {"type": "ticker_change", "date": day, "ticker_change": {"ticker": ticker}}


class TestTheEnd:
    def test_has_its_day_and_the_name_of_the_shares(self) -> None:
        found = ended(row(composite_figi="BBG000B9XRY4"))
        assert found == Details(is_active=False, delisted=date(2025, 4, 14), figi="BBG000B9XRY4")

    def test_is_the_last_of_several(self) -> None:
        found = ended(row(delisted_utc="2011-01-03"), row(delisted_utc=None), row())
        assert found is not None
        assert found.delisted == date(2025, 4, 14)

    @pytest.mark.parametrize("odd", [row(ticker="OLDXW"), row(ticker="oldx"), row(active=True), 7, None])
    def test_is_not_that_of_anybody_else(self, odd: Any) -> None:
        assert ended(odd) is None

    def test_may_not_be_known(self) -> None:
        assert ended() is None

    def test_is_refused_where_the_answer_is_a_refusal(self) -> None:
        with pytest.raises(Refusal):
            decode_ended(b'{"status": "NOT_AUTHORIZED", "message": "no"}', "OLDX")


class TestDetails:
    def test_have_the_day_of_the_listing_and_the_name_of_the_shares(self) -> None:
        found = details(list_date="1980-12-12", composite_figi="BBG000B9XRY4")
        assert found == Details(list_date=date(1980, 12, 12), figi="BBG000B9XRY4")

    def test_of_a_delisted_ticker_have_its_day(self) -> None:
        found = details(active=False, delisted_utc="2025-05-30T00:00:00Z")
        assert (found.is_active, found.delisted) == (False, date(2025, 5, 30))

    @pytest.mark.parametrize("active", [None, "false", 0, "no"])
    def test_say_only_by_their_own_word_that_it_is_delisted(self, active: object) -> None:
        assert details(active=active).is_active

    @pytest.mark.parametrize("said", [None, "", "soon", "1980-13-12", 19801212, ["1980-12-12"]])
    def test_without_a_usable_day_have_none(self, said: object) -> None:
        assert details(list_date=said).list_date is None

    @pytest.mark.parametrize("said", [None, "", "BBG000B9XRY", "BBG000B9XRY4/", "../../BBG000B", 7])
    def test_without_a_usable_figi_have_none(self, said: object) -> None:
        assert details(composite_figi=said).figi == ""

    def test_of_another_ticker_are_refused(self) -> None:
        with pytest.raises(Refusal, match="the answer for AAPL is one for MSFT"):
            details(ticker="MSFT")

    def test_that_are_not_found_are_an_unknown_ticker(self) -> None:
        with pytest.raises(Refusal) as refused:
            decode_details(b'{"status": "NOT_FOUND", "message": "Ticker not found."}', "AAPL")
        assert refused.value.kind is RefusalKind.UNKNOWN_TICKER


class TestChanges:
    def test_are_in_the_order_of_the_answer(self) -> None:
        found = changes(event("2022-06-09", "META"), event("2012-05-18", "FB"))
        assert found == (TickerChange(date(2022, 6, 9), "META"), TickerChange(date(2012, 5, 18), "FB"))

    @pytest.mark.parametrize(
        "odd",
        [
            None,
            7,
            {"type": "spin_off", "date": "2022-06-09"},
            event("someday", "META"),
            event("2022-06-09", None),
            event("2022-06-09", ""),
            {**event("2022-06-09", "META"), "ticker_change": ["META"]},
        ],
    )
    def test_that_cannot_be_used_cost_only_themselves(self, odd: object) -> None:
        assert changes(odd, event("2012-05-18", "FB")) == (TickerChange(date(2012, 5, 18), "FB"),)

    def test_may_be_none(self) -> None:
        assert changes() == ()
        assert decode_changes(b'{"status": "OK", "results": {}}') == ()

    def test_without_results_are_refused(self) -> None:
        with pytest.raises(Refusal):
            decode_changes(b'{"status": "ERROR", "error": "Unknown API Key"}')
