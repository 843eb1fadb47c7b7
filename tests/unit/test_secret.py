"""What of a value may be shown."""

from __future__ import annotations

import secrets
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.secret import masked, masked_prose, may_be_quoted

AWKWARD = ["free; KEY=x", "a=b", "me@host", "a;b", "two words", "a\tb", "a\nb", "a\u00a0b", "a\u2003b"]
KEYS = [
    "Zk3vP9sQ1xT7bN5mR2wY8cL4dF6gH0jA",
    "550e8400-e29b-41d4-a716-446655440000",
    "AKIAIOSFODNN7EXAMPLE",
    "deadbeef00112233",
    "AbCdEfGhIjKlMnOpQrStUvWxYz",
    "4111111111111111",
]
NAMES = [
    "db.example.com:5432",
    "postgres16",
    "sentinel1,sentinel2:26379",
    "/var/lib/node_exporter/textfile_collector/assetbatch.prom",
    "{assetbatch}:eu-west-1",
    "my-master.1",
    "https://massive.com/pricing",
]


@pytest.mark.parametrize("text", [*AWKWARD, *KEYS, "hunter2", "k3y-mark", "redis://h", "f\u00fcnf"])
def test_a_refused_value_is_not_quoted(text: str) -> None:
    assert not may_be_quoted(text)


@pytest.mark.parametrize("text", ["gold", "", "1_000", "-60", "1e3", "C:EURUSD", "{}:x", "a*", "a,b", "/tmp"])
def test_a_short_word_or_a_number_is_quoted(text: str) -> None:
    assert may_be_quoted(text)


@pytest.mark.parametrize("text", AWKWARD)
def test_a_part_with_an_awkward_letter_is_masked_whole(text: str) -> None:
    assert masked(text) == "***"
    assert masked(f"/a/{text}/b") == "/a/***/b"


@pytest.mark.parametrize("text", KEYS)
def test_what_looks_like_a_key_is_masked(text: str) -> None:
    for letters in text.split("-"):
        assert letters not in masked(f"/a/{text}.b") or len(letters) < 8
    assert masked_prose(f"invalid value: '{text.split('-')[0]}'") == "invalid value: '***'"


@pytest.mark.parametrize("text", NAMES)
def test_names_of_hosts_files_and_addresses_are_shown(text: str) -> None:
    assert masked(text) == text


def test_the_words_of_a_library_stay_but_for_what_it_quotes() -> None:
    said = "Error 111 connecting to localhost:6379. Connection refused; see [SSL: CERTIFICATE_VERIFY_FAILED]"
    assert masked_prose(said) == said
    assert masked_prose("no host 'u;x' for me@a:1 with a=b") == "no host *** for *** with ***"


@given(st.text(string.ascii_letters + string.digits, min_size=32, max_size=32), st.integers())
def test_a_key_of_the_providers_kind_is_never_shown(drawn: str, seed: int) -> None:
    for key in (drawn, "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))):
        assert key not in masked(key)
        assert not may_be_quoted(key)
