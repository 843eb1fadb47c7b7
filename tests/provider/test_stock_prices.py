"""What of a snapshot is the price of a stock or of an index, one rule each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assetbatch.domain.models import Price
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.units import MINUTE_MS
from assetbatch.provider.answers import PricesAnswer
from assetbatch.provider.prices import decode_market_snapshot, decode_snapshot

NOW_MS = 1_763_996_400_000  # 2025-11-24 10:00 in New York
NOW_NS = NOW_MS * 1_000_000
EARLIER_MS, LATER_MS = NOW_MS - 30 * MINUTE_MS, NOW_MS + 30 * MINUTE_MS
EARLIER_NS, LATER_NS = EARLIER_MS * 1_000_000, LATER_MS * 1_000_000
SESSION = {"open": 274.1, "high": 277.0, "low": 270.9, "close": 275.9, "previous_close": 271.5}
DAILY = {"daily_open": 274.1, "daily_high": 277.0, "daily_low": 270.9, "daily_close": 275.9}
NO_SESSION = {"open": 0, "high": 0, "low": 0, "close": 0, "price": 0, "previous_close": 271.5}
TRADE = {"price": 276.5, "sip_timestamp": NOW_NS, "timeframe": "REAL-TIME"}
MINUTE = {"open": 276.1, "high": 276.4, "low": 276.0, "close": 276.3, "volume": 12.5}
QUOTE = {"bid": 276.4, "ask": 276.6, "last_updated": NOW_NS, "timeframe": "REAL-TIME"}


def snapshot(*elements: object, asked: str = "AAPL", **envelope: Any) -> PricesAnswer:
    body = json.dumps({"status": "OK", "results": list(elements)} | envelope).encode()
    return decode_snapshot(body, {ticker: ticker.removeprefix("I:") for ticker in asked.split()})


def stock(**fields: Any) -> Price:
    return snapshot({"ticker": "AAPL", "type": "stocks"} | fields).prices["AAPL"]


def index(**fields: Any) -> Price:
    return snapshot({"ticker": "I:NDX", "type": "indices"} | fields, asked="I:NDX").prices["I:NDX"]


class TestAStock:
    def test_costs_what_it_was_last_traded_for(self) -> None:
        assert stock(last_trade=TRADE, last_minute=MINUTE, last_quote=QUOTE, session=SESSION) == Price(
            symbol="AAPL", last_price=276.5, as_of_ms=NOW_MS, bid=276.4, ask=276.6, **DAILY
        )

    @pytest.mark.parametrize("trade", [None, {}, {"price": 0, "sip_timestamp": NOW_NS}])
    def test_without_a_trade_costs_what_its_last_minute_closed_at_whatever_its_quote(
        self, trade: object
    ) -> None:
        price = stock(
            last_trade=trade, last_minute=MINUTE, last_quote=QUOTE, session=SESSION, last_updated=EARLIER_NS
        )
        assert (price.last_price, price.as_of_ms, price.bid) == (276.3, EARLIER_MS, 276.4)

    def test_of_a_minute_with_a_moment_of_its_own_is_as_of_that(self) -> None:
        price = stock(last_minute=MINUTE | {"last_updated": EARLIER_NS}, last_updated=NOW_NS)
        assert price.as_of_ms == EARLIER_MS

    @pytest.mark.parametrize("minute", [None, {}, dict.fromkeys(MINUTE, 0)])
    def test_without_trade_and_minute_costs_what_the_session_says(self, minute: object) -> None:
        price = stock(last_minute=minute, session=SESSION, last_quote=QUOTE, last_updated=NOW_NS)
        assert (price.last_price, price.as_of_ms) == (275.9, NOW_MS)
        price = stock(last_minute=minute, session=SESSION | {"price": 276.2}, last_updated=NOW_NS)
        assert price.last_price == 276.2

    def test_of_a_session_with_a_moment_of_its_own_is_as_of_that(self) -> None:
        price = stock(session=SESSION | {"last_updated": EARLIER_NS}, last_updated=NOW_NS)
        assert price.as_of_ms == EARLIER_MS

    def test_has_no_price_in_the_zeros_of_the_night(self) -> None:
        zeros = dict.fromkeys(MINUTE, 0)
        entry = {"ticker": "AAPL", "last_minute": zeros, "session": NO_SESSION, "last_updated": NOW_NS}
        quote = {"bid": 0, "ask": 0, "last_updated": NOW_NS}
        trade = {"price": 0, "sip_timestamp": 0}
        for night in (entry, entry | {"last_quote": quote}, entry | {"last_trade": trade}):
            answer = snapshot(night)
            assert (answer.prices, answer.errors, set(answer.empty)) == ({}, {}, {"AAPL"})

    def test_traded_before_the_session_has_the_price_of_that_trade_and_no_daily_values(self) -> None:
        price = stock(last_trade=TRADE, session=NO_SESSION, market_status="early_trading")
        assert price == Price(symbol="AAPL", last_price=276.5, as_of_ms=NOW_MS)

    def test_has_the_daily_values_of_its_session_though_it_was_traded_after_it(self) -> None:
        late = TRADE | {"price": 280.0, "sip_timestamp": LATER_NS}
        price = stock(last_trade=late, session=SESSION, market_status="late_trading")
        assert price == Price(symbol="AAPL", last_price=280.0, as_of_ms=LATER_MS, **DAILY)

    @pytest.mark.parametrize(("bid", "ask"), [(276.9, 276.4), (1.0, 500.0)])
    def test_whose_quote_is_crossed_or_far_apart_has_no_quote_and_nothing_is_odd(
        self, bid: float, ask: float
    ) -> None:
        quote = QUOTE | {"bid": bid, "ask": ask}
        for known in ({"last_trade": TRADE}, {"last_minute": MINUTE, "last_updated": NOW_NS}):
            answer = snapshot({"ticker": "AAPL", "last_quote": quote, "session": SESSION} | known)
            assert (answer.prices["AAPL"].bid, answer.prices["AAPL"].ask) == (None, None)
            assert not answer.refused

    @pytest.mark.parametrize("part", ["last_trade", "last_minute", "session"])
    def test_whose_price_is_below_nothing_fails_and_nothing_lesser_takes_its_place(self, part: str) -> None:
        untrue = {"price": -1, "close": -1, "sip_timestamp": NOW_NS}
        before = {"last_minute": MINUTE, "session": SESSION} if part == "last_trade" else {}
        answer = snapshot({"ticker": "AAPL", "last_updated": NOW_NS} | before | {part: untrue})
        assert (answer.prices, answer.errors["AAPL"].kind) == ({}, RefusalKind.NONSENSE)

    def test_with_parts_of_another_shape_is_read_from_the_others(self) -> None:
        price = stock(last_trade=5, last_minute=MINUTE, last_quote="none", session=[], last_updated=NOW_NS)
        assert (price.last_price, price.daily_open) == (276.3, None)

    def test_is_another_security_than_the_one_in_capital_letters(self) -> None:
        answer = snapshot({"ticker": "KIMPL", "last_trade": TRADE}, asked="KIMpL")
        assert "KIMPL" not in answer.prices
        assert answer.refused["unasked"] == 1


class TestAnIndex:
    def test_stands_at_its_value_as_of_its_update(self) -> None:
        assert index(value=24_239.6, session=SESSION, last_updated=NOW_NS) == Price(
            symbol="NDX", last_price=24_239.6, as_of_ms=NOW_MS, **DAILY
        )

    def test_without_a_value_stands_at_its_sessions_close(self) -> None:
        assert index(value=0, session=SESSION, last_updated=NOW_NS).last_price == 275.9

    def test_has_no_daily_values_whose_high_is_below_the_low(self) -> None:
        session = {"open": 3827.38, "high": 3834.41, "low": 38217.11, "close": 3822.39}  # the spec's example
        price = index(value=3822.39, session=session, last_updated=1679597116344223500)
        assert price == Price(symbol="NDX", last_price=3822.39, as_of_ms=1679597116344)

    def test_without_any_value_is_empty(self) -> None:
        entry = {"ticker": "I:NDX", "value": 0, "session": NO_SESSION, "last_updated": NOW_NS}
        assert snapshot(entry, asked="I:NDX").empty == {"I:NDX"}


class TestTheDelay:
    @pytest.mark.parametrize(
        "fields",
        [
            {"timeframe": "DELAYED", "last_trade": TRADE},
            {"last_trade": TRADE | {"timeframe": "DELAYED"}, "last_quote": QUOTE},
            {"last_trade": TRADE | {"timeframe": None}, "last_quote": QUOTE | {"timeframe": "DELAYED"}},
        ],
    )
    def test_is_said_by_the_entry_or_by_its_trade_or_quote(self, fields: dict[str, Any]) -> None:
        assert snapshot({"ticker": "AAPL"} | fields).delayed == {"AAPL": True}

    def test_is_none_where_the_entry_says_so(self) -> None:
        assert snapshot({"ticker": "AAPL", "last_trade": TRADE}).delayed == {"AAPL": False}

    @pytest.mark.parametrize("word", [None, "", "late", 5, []])
    def test_is_not_known_by_any_other_word(self, word: object) -> None:
        answer = snapshot({"ticker": "AAPL", "timeframe": word, "last_trade": {**TRADE, "timeframe": word}})
        assert (set(answer.prices), answer.delayed) == ({"AAPL"}, {})

    def test_of_a_currency_is_no_news_since_no_plan_delays_it(self) -> None:
        trade = TRADE | {"timeframe": "DELAYED"}
        assert snapshot({"ticker": "X:BTCUSD", "last_trade": trade}, asked="X:BTCUSD").delayed == {}

    def test_is_not_said_of_what_has_no_price(self) -> None:
        assert snapshot({"ticker": "AAPL", "timeframe": "DELAYED", "session": NO_SESSION}).delayed == {}


def test_an_answer_of_all_products_has_the_price_of_each_and_the_refusal_of_one() -> None:
    answer = snapshot(
        {"ticker": "AAPL", "type": "stocks", "last_minute": MINUTE, "last_updated": NOW_NS},
        {"ticker": "I:NDX", "error": "NOT_ENTITLED", "message": "Not entitled to this ticker."},
        {"ticker": "C:EURUSD", "type": "fx", "last_quote": QUOTE | {"bid": 1.15, "ask": 1.16}},
        {"ticker": "X:BTCUSD", "type": "crypto", "last_trade": {"price": 86_000, "sip_timestamp": NOW_NS}},
        asked="AAPL I:NDX C:EURUSD X:BTCUSD",
    )
    assert {ticker: price.last_price for ticker, price in answer.prices.items()} == {
        "AAPL": 276.3,
        "C:EURUSD": 1.155,
        "X:BTCUSD": 86_000.0,
    }
    assert {ticker: error.kind for ticker, error in answer.errors.items()} == {
        "I:NDX": RefusalKind.NOT_IN_PLAN
    }
    assert not answer.refused


# --- the snapshot of the stocks' market ---

ZEROS = {"o": 0, "h": 0, "l": 0, "c": 0, "v": 0, "vw": 0}
DAY = {"o": 274.1, "h": 277.0, "l": 270.9, "c": 275.9, "v": 46_914_301.5}
PREVIOUS = {"o": 265.9, "h": 273.3, "l": 265.6, "c": 271.5, "v": 59_030_832}


class TestTheMarketSnapshot:
    @staticmethod
    def read(**fields: Any) -> PricesAnswer:
        entry = {"ticker": "AAPL", "prevDay": PREVIOUS} | fields
        body = json.dumps({"status": "OK", "tickers": [entry]}).encode()
        return decode_market_snapshot(body, {"AAPL": "AAPL"})

    def price(self, **fields: Any) -> Price:
        return self.read(**fields).prices["AAPL"]

    def test_of_a_stock_has_the_ask_in_a_capital_p_and_the_bid_in_a_small_one(self) -> None:
        price = self.price(
            lastTrade={"p": 276.5, "s": 3, "ds": "3.5", "t": NOW_NS},
            lastQuote={"P": 276.6, "S": 2, "p": 276.4, "s": 1, "t": NOW_NS},
            day=DAY,
            updated=NOW_NS,
        )
        assert price == Price(symbol="AAPL", last_price=276.5, as_of_ms=NOW_MS, bid=276.4, ask=276.6, **DAILY)

    def test_without_a_trade_is_as_of_the_end_of_the_last_minute(self) -> None:
        price = self.price(min={"c": 276.3, "t": EARLIER_MS}, day=DAY, updated=NOW_NS)
        assert (price.last_price, price.as_of_ms) == (276.3, EARLIER_MS + MINUTE_MS)

    def test_of_a_minute_that_is_forming_is_as_of_its_update(self) -> None:
        updated_ms = EARLIER_MS + 20_000
        price = self.price(min={"c": 276.3, "t": EARLIER_MS}, updated=updated_ms * 1_000_000)
        assert price.as_of_ms == updated_ms

    @pytest.mark.parametrize("updated", [None, 0, (EARLIER_MS - 1) * 1_000_000])
    def test_of_a_minute_without_an_update_that_follows_it_is_as_of_its_end(self, updated: object) -> None:
        price = self.price(min={"c": 276.3, "t": EARLIER_MS}, updated=updated)
        assert price.as_of_ms == EARLIER_MS + MINUTE_MS

    def test_without_trade_and_minute_is_the_days_close(self) -> None:
        price = self.price(min=ZEROS | {"t": 0}, day=DAY, updated=NOW_NS)
        assert (price.last_price, price.as_of_ms) == (275.9, NOW_MS)

    def test_has_no_price_in_the_zeros_of_the_night(self) -> None:
        answer = self.read(min=ZEROS | {"t": 0}, day=ZEROS, lastTrade=None, updated=NOW_NS)
        assert (answer.prices, answer.errors, set(answer.empty)) == ({}, {}, {"AAPL"})
