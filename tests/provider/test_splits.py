"""Which of the listed splits count, and what is left to ask."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.splits import Days, Split, SplitKind
from assetbatch.provider.answers import SplitsAnswer
from assetbatch.provider.splits import decode_splits
from tests.provider.servers import Wire, client_of, http_answer, refusal_of, serving

DAY = date(2026, 11, 16)
ASKED = Days(date(2026, 11, 9), date(2026, 11, 30))
NEXT = "https://api.massive.com/stocks/v1/splits?cursor=x"


def row(**more: Any) -> dict[str, Any]:
    return {
        "adjustment_type": "forward_split",
        "execution_date": "2026-11-16",
        "historical_adjustment_factor": 0.25,
        "id": "E1",
        "split_from": 1,
        "split_to": 4,
        "ticker": "AAPL",
    } | more


def read(*rows: object, asked: Days = ASKED, **more: Any) -> SplitsAnswer:
    document = {"status": "OK", "request_id": "1", "results": rows} | more
    return decode_splits(json.dumps(document).encode(), asked)


def test_a_split_has_its_day_ratio_and_kind() -> None:
    found = read(row(), row(ticker="KIMpL", split_from=10, split_to=1, adjustment_type="reverse_split"))
    assert found.splits == {
        "AAPL": [Split(DAY, 1, 4, SplitKind.FORWARD)],
        "KIMpL": [Split(DAY, 10, 1, SplitKind.REVERSE)],
    }
    assert (found.settled, found.rest, found.refused.total()) == (ASKED, None, 0)


def test_the_example_of_the_specification_is_read(shared_dir: Any) -> None:
    spec = json.loads((shared_dir / "vendor" / "spec_stocks_indices.json").read_text("utf-8"))
    answer = spec["paths"]["/stocks/v1/splits"]["get"]["responses"]["200"]["content"]["application/json"]
    body = json.dumps(answer["example"]).encode()
    found = decode_splits(body, Days(date(2000, 1, 1), date(2010, 1, 1)))
    assert found.splits == {"AAPL": [Split(date(2005, 2, 28), 1, 2, SplitKind.FORWARD)]}


@pytest.mark.parametrize(
    ("before", "after", "kind"), [(1, 1.05, SplitKind.FORWARD), (8, 1, SplitKind.REVERSE)]
)
@pytest.mark.parametrize("word", [None, "", "spin_off", 3])
def test_a_kind_that_is_not_known_follows_from_the_ratio(
    word: object, before: float, after: float, kind: SplitKind
) -> None:
    found = read(row(adjustment_type=word, split_from=before, split_to=after))
    assert found.splits["AAPL"] == [Split(DAY, before, after, kind)]


@pytest.mark.parametrize(
    ("before", "after"),
    [(0, 4), (1, 0), (-1, 4), (1, None), ("1", 4), (1, 1), (1, True), (1, 1_000_001), (1e-7, 1)],
)
def test_an_impossible_ratio_costs_only_itself(before: object, after: object) -> None:
    found = read(row(split_from=before, split_to=after), row(ticker="SPY"))
    assert list(found.splits) == ["SPY"]
    assert (found.refused, found.useless, found.settled) == ({"ratio": 1}, {"AAPL": {DAY}}, ASKED)


def test_a_very_large_ratio_is_one() -> None:
    assert read(row(split_from=1_000_000, split_to=1)).splits["AAPL"] == [
        Split(DAY, 1_000_000, 1, SplitKind.FORWARD)
    ]


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "1e999"])
def test_a_ratio_that_is_no_number_costs_only_itself(bad: str) -> None:
    body = json.dumps({"status": "OK", "results": [row(split_to=-7), row(ticker="SPY")]})
    found = decode_splits(body.replace("-7", bad).encode(), ASKED)
    assert list(found.splits) == ["SPY"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (7, "undecodable"),
        (row(ticker=None), "ticker"),
        (row(ticker=" "), "ticker"),
        (row(execution_date=None), "date"),
        (row(execution_date="2026-11-31"), "date"),
        (row(execution_date=20261116), "date"),
    ],
)
def test_a_row_of_nobody_may_be_of_anybody(bad: object, reason: str) -> None:
    """So the answer shows of no split that it is not listed any more."""
    found = read(bad, row())
    assert (list(found.splits), found.refused, found.settled) == (["AAPL"], {reason: 1}, None)


def test_a_day_that_was_not_asked_for_is_passed_over() -> None:
    found = read(row(execution_date="2026-12-01"), row())
    assert (list(found.splits), found.refused, found.settled) == (["AAPL"], {"outside": 1}, ASKED)


@pytest.mark.parametrize("rows", [(), (row(split_to=0),), (row(execution_date="2026-12-01"),)])
def test_an_answer_without_a_sound_row_withdraws_nothing(rows: tuple[object, ...]) -> None:
    found = read(*rows)
    assert (found.splits, found.settled, found.rest) == ({}, None, None)


class TestAFullPage:
    def test_says_what_is_left(self) -> None:
        later = (DAY + timedelta(days=2)).isoformat()
        found = read(row(), row(execution_date=later), next_url=NEXT)
        assert found.settled == Days(ASKED.first, date(2026, 11, 17))
        assert found.rest == Days(date(2026, 11, 18), ASKED.last)

    def test_in_another_order_settles_nothing(self) -> None:
        later = (DAY + timedelta(days=2)).isoformat()
        found = read(row(execution_date=later), row(), next_url=NEXT)
        assert (found.settled, found.rest) == (None, Days(date(2026, 11, 18), ASKED.last))

    def test_of_one_day_is_not_asked_for_for_ever(self) -> None:
        asked = Days(DAY, DAY + timedelta(days=1))
        found = read(row(), row(ticker="SPY"), asked=asked, next_url=NEXT)
        assert (found.settled, found.rest) == (None, Days(asked.last, asked.last))
        assert read(row(), asked=Days(DAY, DAY), next_url=NEXT).rest is None

    def test_without_rows_leads_nowhere(self) -> None:
        found = read(next_url=NEXT)
        assert (found.settled, found.rest) == (None, None)


@pytest.mark.parametrize("tickers", [(), ("AAPL", "BRK.B")])
def test_one_request_brings_a_page_in_the_order_of_the_days(tickers: tuple[str, ...]) -> None:
    body = json.dumps({"status": "OK", "results": [row()]}).encode()
    asked: list[bytes] = []

    def handler(wire: Wire) -> None:
        asked.append(wire.read_request())
        wire.send(http_answer(body))

    with serving(handler) as server, client_of(server.url) as client:
        assert client.splits(ASKED, tickers).splits == read(row()).splits
    (target,) = [request.split()[1].decode() for request in asked]
    assert urlsplit(target).path == "/stocks/v1/splits"
    assert parse_qs(urlsplit(target).query) == {
        "execution_date.gte": ["2026-11-09"],
        "execution_date.lte": ["2026-11-30"],
        "sort": ["execution_date.asc"],
        "limit": ["5000"],
    } | ({"ticker.any_of": ["AAPL,BRK.B"]} if tickers else {})


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"status": "ERROR", "error": "no"}', b"<html>"])
def test_what_is_no_list_is_a_refusal(body: bytes) -> None:
    assert refusal_of(lambda: decode_splits(body, ASKED)).kind is RefusalKind.NONSENSE
