"""Which refusal an answer is: the provider's statuses, words and texts as users met them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.domain.refusals import RefusalKind
from assetbatch.provider.refusals import Refusal, classify, classify_ticker
from assetbatch.secret import Secret
from tests.provider.servers import KEY

ENTITLED = "You are not entitled to this data. Please upgrade your plan at https://polygon.io/pricing"
TODAY = "Attempted to request today's data before end of day. Please upgrade your plan at https://polygon.io/pricing"
FRAME = (
    "Your plan doesn't include this data timeframe. Please upgrade your plan at https://polygon.io/pricing"
)
LIMIT = (
    "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue."
)


def body(word: str | None = None, error: str | None = None, message: str | None = None) -> bytes:
    fields = {"status": word, "request_id": "abc", "error": error, "message": message}
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (401, body("ERROR", error="Unknown API Key"), RefusalKind.KEY),
        (401, body("ERROR", error="API Key was not provided"), RefusalKind.KEY),
        (401, b"", RefusalKind.KEY),
        (403, body("ERROR", error="Unknown API Key"), RefusalKind.KEY),
        (200, body("ERROR", error="Unknown API Key"), RefusalKind.KEY),
        (200, body(error="Unknown API Key"), RefusalKind.KEY),
        (403, body("NOT_AUTHORIZED", message=ENTITLED), RefusalKind.NOT_IN_PLAN),
        (403, body("NOT_AUTHORIZED", error=ENTITLED), RefusalKind.NOT_IN_PLAN),
        (403, body("NOT_AUTHORIZED", message="YOU ARE NOT ENTITLED TO THIS DATA."), RefusalKind.NOT_IN_PLAN),
        (403, body("NOT_AUTHORIZED"), RefusalKind.NOT_IN_PLAN),
        (403, body(message="Your API key is not entitled to this data."), RefusalKind.NOT_IN_PLAN),
        (200, body("NOT_AUTHORIZED", message=ENTITLED), RefusalKind.NOT_IN_PLAN),
        (403, body("NOT_AUTHORIZED", message=TODAY), RefusalKind.TODAY_NOT_YET),
        (403, body("NOT_AUTHORIZED", message=TODAY.replace("'", "’")), RefusalKind.TODAY_NOT_YET),
        (403, body("NOT_AUTHORIZED", error=TODAY.lower()), RefusalKind.TODAY_NOT_YET),
        (403, body("NOT_AUTHORIZED", message=FRAME), RefusalKind.TIMEFRAME),
        (200, body("NOT_AUTHORIZED", message=FRAME), RefusalKind.TIMEFRAME),
        (404, body("NOT_FOUND", message="Ticker not found."), RefusalKind.UNKNOWN_TICKER),
        (404, body("NOT_FOUND"), RefusalKind.UNKNOWN_TICKER),
        (404, b"404 page not found", RefusalKind.NONSENSE),
        (404, b"<html>Ticker not found</html>", RefusalKind.NONSENSE),
        (429, body("ERROR", error=LIMIT), RefusalKind.TOO_MANY_CALLS),
        (429, b"", RefusalKind.TOO_MANY_CALLS),
        (200, body("ERROR", error=LIMIT), RefusalKind.TOO_MANY_CALLS),
        (500, body("ERROR", error="Internal"), RefusalKind.PROVIDER_DOWN),
        (502, b"<html>Bad Gateway</html>", RefusalKind.PROVIDER_DOWN),
        (503, b"", RefusalKind.PROVIDER_DOWN),
        (524, b"", RefusalKind.PROVIDER_DOWN),
        (408, b"", RefusalKind.PROVIDER_DOWN),
        (403, b"<html>Please upgrade your plan, you are not entitled</html>", RefusalKind.NONSENSE),
        (403, b"", RefusalKind.NONSENSE),
        (
            400,
            body("ERROR", error="The parameter 'to' cannot be a time that occurs before 'from'"),
            RefusalKind.NONSENSE,
        ),
        (418, b"", RefusalKind.NONSENSE),
        (200, body("ERROR", error="something else"), RefusalKind.NONSENSE),
        (200, b"[]", RefusalKind.NONSENSE),
        (204, b"", RefusalKind.NONSENSE),
        (301, body("NOT_AUTHORIZED", message=ENTITLED), RefusalKind.NONSENSE),
    ],
)
def test_each_answer_the_provider_gives_has_its_kind(status: int, answer: bytes, kind: RefusalKind) -> None:
    refusal = classify(status, answer, {})
    assert (refusal.kind, refusal.http_status, refusal.sent) == (kind, status, True)


@pytest.mark.parametrize(
    ("word", "text", "kind"),
    [
        ("NOT_FOUND", "Ticker not found.", RefusalKind.UNKNOWN_TICKER),
        ("NOT_ENTITLED", "Not entitled to this ticker.", RefusalKind.NOT_IN_PLAN),
        ("NOT_ENTITLED", "", RefusalKind.NOT_IN_PLAN),
        ("SOMETHING_NEW", "", RefusalKind.NONSENSE),
    ],
)
def test_a_single_tickers_error_has_its_kind(word: str, text: str, kind: RefusalKind) -> None:
    refusal = classify_ticker(word, text)
    assert (refusal.kind, refusal.message) == (kind, text or word)


def test_the_message_is_the_providers_own_text() -> None:
    assert classify(403, body("NOT_AUTHORIZED", message=ENTITLED), {}).message == ENTITLED
    assert classify(404, b"404 page not found\n", {}).message == "404 page not found"


def test_without_a_text_the_message_is_the_status() -> None:
    assert classify(503, b"", {}).message == "the provider answers 503"
    assert classify(403, body("NOT_AUTHORIZED"), {}).message == "HTTP 403 NOT_AUTHORIZED"
    assert classify(502, b"<html>...", {}).message == "the provider answers 502"
    assert classify(500, b'{"error": "try again"}', {}).message == "the provider answers 500: try again"
    assert classify(200, b'{"status":"OK"}', {}).message == "HTTP 200 with no usable answer"


def test_a_message_is_one_short_printable_line() -> None:
    text = "a\r\nb\x1b[31m\x00c‮ \ud800" + "x" * 1000
    message = classify(400, json.dumps({"error": text}).encode().replace(b"\\ud800", b""), {}).message
    assert message.startswith("a b[31mc x")
    assert len(message) == 300
    assert message.isprintable()


@given(st.integers(0, 330), st.sampled_from(["made-up-key-123", "MADE-UP-KEY-123", "made-up-\x00key-123"]))
def test_an_echoed_key_is_gone_wherever_the_text_is_cut(position: int, echo: str) -> None:
    text = "." * position + echo + "." * 30
    message = classify(400, json.dumps({"error": text}).encode(), {}, KEY).message
    assert "made" not in message.lower()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e999"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 07:27:18 GMT"}, 42.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 07:29:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 07:27:18 -0000"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_by_the_providers_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert classify(429, b"", headers).retry_after_seconds == seconds


def test_a_refusal_knows_its_exit_code_and_hint() -> None:
    assert Refusal(RefusalKind.KEY, "Unknown API Key").exit_code == 4
    assert Refusal(RefusalKind.PROVIDER_DOWN, "HTTP 503").exit_code == 3
    assert Refusal(RefusalKind.UNKNOWN_TICKER, "Ticker not found.").exit_code == 1
    assert "POLYGON_API_KEY" in str(Refusal(RefusalKind.KEY, "Unknown API Key"))


@given(
    st.integers(100, 599),
    st.binary(max_size=60)
    | st.builds(
        lambda value: json.dumps(value).encode(),
        st.dictionaries(
            st.sampled_from(["status", "error", "message"]),
            st.none() | st.text() | st.integers() | st.lists(st.none()),
        ),
    ),
    st.dictionaries(st.sampled_from(["Retry-After", "Date"]), st.text()),
)
def test_any_answer_at_all_can_be_classified(status: int, answer: bytes, headers: dict[str, str]) -> None:
    refusal = classify(status, answer, headers, Secret("k3y"))
    assert refusal.message
    assert refusal.message.isprintable()
    assert refusal.retry_after_seconds is None or refusal.retry_after_seconds >= 0
