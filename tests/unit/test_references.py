"""Reference data: their ids in the queue, and when they are due."""

from __future__ import annotations

import pytest

from assetbatch.domain.references import (
    FAILED_MS,
    REFUSED_MS,
    Asked,
    AskOutcome,
    Reference,
    ReferenceKind,
    is_due,
    parse_reference,
)
from assetbatch.domain.units import DAY_MS, MINUTE_MS
from assetbatch.domain.work import WorkId, WorkKind, parse_work_id

NOW = 1_795_000_000_000
HOLIDAYS = Reference(ReferenceKind.HOLIDAYS)
LISTING = Reference(ReferenceKind.LISTING, "BRK.B")
PAGE = Reference(ReferenceKind.TICKERS, "us:XNYS+XNAS:after:KIMpL")


FORMER = Reference(ReferenceKind.FORMER, "A@B@2025-04-11")
RENAMES = Reference(ReferenceKind.RENAMES, "META@BBG000MM2P62")


@pytest.mark.parametrize("reference", [HOLIDAYS, LISTING, PAGE, FORMER, RENAMES])
def test_an_id_means_the_same_reference(reference: Reference) -> None:
    assert parse_reference(reference.id) == reference


def test_an_id_of_a_later_version_is_read_as_reference_data_of_no_known_kind() -> None:
    assert parse_reference("reference:dividends:AAPL") is None
    assert parse_work_id("reference:dividends:AAPL") == WorkId("", WorkKind.REFERENCE)


def test_a_listing_is_about_a_symbol() -> None:
    assert parse_work_id(LISTING.id) == WorkId("BRK.B", WorkKind.REFERENCE)
    assert (FORMER.symbol, FORMER.about) == ("A@B", "2025-04-11")
    assert (RENAMES.symbol, RENAMES.about) == ("META", "BBG000MM2P62")
    assert parse_work_id(PAGE.id) == parse_work_id(HOLIDAYS.id) == WorkId("", WorkKind.REFERENCE)


@pytest.mark.parametrize(
    ("outcome", "pause_ms"),
    [
        (AskOutcome.ANSWERED, 30 * DAY_MS),
        (AskOutcome.REFUSED, REFUSED_MS),
        (AskOutcome.FAILED, FAILED_MS),
    ],
)
def test_it_is_due_again_after_a_pause_that_follows_from_what_came(
    outcome: AskOutcome, pause_ms: int
) -> None:
    asked = Asked(NOW, outcome)
    assert not is_due(asked, 30 * DAY_MS, NOW + pause_ms - 1)
    assert is_due(asked, 30 * DAY_MS, NOW + pause_ms)


def test_people_read_what_is_asked_for() -> None:
    found = [one.words for one in (HOLIDAYS, LISTING, FORMER, RENAMES)]
    assert found == [
        "holidays of the stock exchange",
        "listing of BRK.B",
        "listing of A@B on 2025-04-11",
        "renames of META",
    ]


def test_a_refusal_is_believed_for_a_week_and_a_failure_for_an_hour() -> None:
    assert (REFUSED_MS, FAILED_MS) == (7 * DAY_MS, 60 * MINUTE_MS)
    refused, failed = Asked(NOW, AskOutcome.REFUSED), Asked(NOW, AskOutcome.FAILED)
    assert refused.is_refused(NOW + REFUSED_MS - 1)
    assert not refused.is_refused(NOW + REFUSED_MS)
    assert failed.is_failed(NOW + FAILED_MS - 1)
    assert not failed.is_failed(NOW + FAILED_MS)
    assert not failed.is_refused(NOW)
    assert not refused.is_failed(NOW)


def test_what_was_never_asked_for_is_due() -> None:
    assert is_due(None, DAY_MS, NOW)


def test_a_clock_that_was_set_back_holds_up_nothing() -> None:
    assert not is_due(Asked(NOW), DAY_MS, NOW - MINUTE_MS)
    assert is_due(Asked(NOW), DAY_MS, NOW - MINUTE_MS - 1)
