"""Addresses of servers: what is accepted, and what of them is shown."""

from __future__ import annotations

import pickle

import psycopg
import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from assetbatch.config.ping_urls import PingUrls
from assetbatch.config.urls import ApiUrl, DatabaseUrl, HttpUrl, RedisUrl
from assetbatch.secret import Secret
from assetbatch.state.connection import connect

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
# What people type into URLs, with the letters that make trouble.
RAW = st.text("ab:@/?#%[]=&1,é ", max_size=24)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgres:///name",
        "postgresql://user@host/name",
        "postgresql://user:p%40ss@host:5432/name?sslmode=require",
        "postgresql://[::1]:5432/name",
        "postgresql://a:5432,b:5433/name",
        "postgresql://user@%2Fvar%2Frun%2Fpostgresql/name",
        "postgresql:///name?host=/tmp&user=me",
    ],
)
def test_a_database_url_is_what_libpq_takes(url: str) -> None:
    assert DatabaseUrl.parse(url).reveal() == url
    assert conninfo_to_dict(url) is not None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host=h dbname=n",
        "postgresql://h/n?password=a b",
        "postgresql://h:0/n",
        "postgresql://h:65536/n",
        "postgresql://h:/n",
        "postgresql://h:５/n",
        "postgresql://[::1/n",
        "postgresql://[::1]x/n",
        "postgresql://u:a/b@h/n",
        "postgresql://u:a?b@h/n",
        "postgresql://u:a#b@h/n",
        "postgresql://u:a@b@h/n",
        "postgresql://u:100%@h/n",
        "postgresql://u:%00@h/n",
        "postgresql://u:caf%E9@h/n",
        "postgresql://h/%a1",
        "POSTGRESQL://h/n",
        "postgresql+psycopg://h/n",
        "embedded ",
    ],
)
def test_a_database_url_that_is_none_or_says_two_things_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^found .*, expected "):
        DatabaseUrl.parse(url)


@given(RAW, st.sampled_from(["", "?sslmode=disable", "?password=ab"]))
@example("a:1@a", "")
@example("/%a1", "")
def test_libpq_takes_every_database_url_that_is_accepted(rest: str, query: str) -> None:
    try:
        url = DatabaseUrl.parse(f"postgresql://{rest}{query}")
    except ValueError:
        return
    refusal = ""
    try:
        conninfo_to_dict(url.reveal())
    except psycopg.ProgrammingError as error:
        refusal = str(error)
    # The names of libpq's parameters are libpq's affair.
    assert not refusal or "URI query parameter" in refusal or "key/value separator" in refusal


@given(
    host=st.sampled_from(["h", "db.example", "10.0.0.1", "::1", "/var/run/a b"]),
    name=TEXTS,
    user=TEXTS,
    password=TEXTS,
)
def test_the_parts_of_an_address_come_out_of_libpq_as_they_went_in(
    host: str, name: str, user: str, password: str
) -> None:
    url = DatabaseUrl.of_parts(host=host, name=name, user=user, port=5433).with_password(Secret(password))
    parts = conninfo_to_dict(url.reveal())
    assert parts == {"host": host, "port": "5433", "dbname": name, "user": user, "password": password}
    assert DatabaseUrl.parse(url.reveal()) == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://host:6379/0",
        "redis://host/",
        "redis://[::1]:6379/1",
        "rediss://user:p%40ss@host:6380/2?ssl_cert_reqs=required",
        "unix:///run/redis.sock?db=1",
        "unix://user:hush@/run/redis.sock",
    ],
)
def test_a_redis_url_is_what_redis_py_takes(url: str) -> None:
    assert RedisUrl.parse(url).reveal() == url
    redis.Redis.from_url(url).close()


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://sentinel/mymaster",
        "redis+sentinel://user:p%40ss@s1:26379,s2,[::1]:26380/my-master.1/2?sentinel_password=hush",
        "rediss+sentinel://s1,s2/mymaster?ssl_ca_certs=/etc/ca.pem",
        "redis+cluster://node:7000",
        "rediss+cluster://:hush@n1,n2:7001,n3/0",
    ],
)
def test_servers_that_stand_in_for_one_another_have_one_url(url: str) -> None:
    assert RedisUrl.parse(url).reveal() == url
    connect(RedisUrl.parse(url), "{assetbatch}").close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis:///0",
        "redis://:hush@/0",
        "redis://h/zero",
        "redis://h/0/1",
        "redis://h/0#marked",
        "redis://h:port/0",
        "redis://h:6379,h:6380/0",
        "unix://",
        "unix:///",
        "unix://run/redis.sock",
        "redis+cluster://h/1",
        "redis+cluster://",
        "redis+cluster://h,,i",
        "redis+cluster://h:port",
        "redis+sentinel://h:26379",
        "redis+sentinel://h:26379/",
        "redis+sentinel://h/mymaster/zero",
        "redis+sentinel:///mymaster",
        "unix+cluster:///run/redis.sock",
        "localhost:6379",
    ],
)
def test_a_redis_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^found .*, expected "):
        RedisUrl.parse(url)


@pytest.mark.parametrize("kind", [DatabaseUrl, RedisUrl])
def test_embedded_is_a_word_one_writes(kind: type[DatabaseUrl | RedisUrl]) -> None:
    assert kind.parse("embedded").embedded
    assert kind.parse("embedded").masked() == "embedded"


@pytest.mark.parametrize(
    ("kind", "url", "shown"),
    [
        (DatabaseUrl, "postgresql://u:marked@h:5432/n", "postgresql://u:***@h:5432/n"),
        (
            RedisUrl,
            "redis+sentinel://u:marked@s1,s2:26379/m/1?sentinel_password=marked",
            "redis+sentinel://u:***@s1,s2:26379/m/1?sentinel_password=***",
        ),
        (DatabaseUrl, "postgresql://u@h/n", "postgresql://u@h/n"),
        (
            DatabaseUrl,
            "postgres:///n?host=/tmp&password=marked&sslmode=require&pass%77ord=marked",
            "postgres:///n?host=/tmp&password=***&sslmode=require&pass%77ord=***",
        ),
        (RedisUrl, "redis://:marked@h:6379/0", "redis://:***@h:6379/0"),
        (RedisUrl, "redis://marked@h:6379/0", "redis://***@h:6379/0"),
        (RedisUrl, "unix:///run/s?db=1&password=marked", "unix:///run/s?db=1&password=***"),
    ],
)
def test_a_url_is_shown_without_its_password(
    kind: type[DatabaseUrl | RedisUrl], url: str, shown: str
) -> None:
    parsed = kind.parse(url)
    assert parsed.masked() == str(parsed) == f"{parsed}" == shown
    assert repr(parsed) == f"{kind.__name__}({shown!r})"
    with pytest.raises(TypeError):
        pickle.dumps(parsed)


@given(st.sampled_from([DatabaseUrl, RedisUrl]), RAW, RAW, st.builds("{}@{}".format, RAW, RAW))
def test_no_password_is_shown_however_it_is_typed(
    kind: type[DatabaseUrl | RedisUrl], before: str, around: str, after: str
) -> None:
    text = f"{kind.schemes[0]}://{before}:{around}MARKED{after}"
    try:
        shown = repr(kind.parse(text))
    except ValueError as error:
        shown = str(error)
    assert "MARKED" not in shown


def test_a_web_address_loses_its_trailing_slash_and_may_hold_no_password() -> None:
    assert HttpUrl.parse("https://massive.com/pricing/") == "https://massive.com/pricing"
    with pytest.raises(ValueError, match=r"user or password in the URL, expected none: https://…$"):
        HttpUrl.parse("https://u:marked@h")
    with pytest.raises(ValueError, match="without a host"):
        HttpUrl.parse("https:///x")


@pytest.mark.parametrize(
    "url", ["https://api.massive.com", "http://127.0.0.1:8080", "http://[::1]:8080/v", "http://sandbox:80"]
)
def test_the_api_may_be_at(url: str) -> None:
    assert ApiUrl.parse(url) == url


@pytest.mark.parametrize(
    "url", ["http://api.massive.com", "https://h?apiKey=marked", "https://h:0", "https://"]
)
def test_the_key_is_sent_nowhere_else(url: str) -> None:
    with pytest.raises(ValueError, match=r"^found "):
        ApiUrl.parse(url)


def test_one_ping_address_serves_all_commands_and_is_not_shown() -> None:
    pings = PingUrls.parse("https://hc.example/marked")
    url = pings.for_command("run-queue")
    assert url is not None
    assert url.reveal() == "https://hc.example/marked"
    assert str(pings) == "https://hc.example/***"
    assert repr(pings) == "PingUrls('https://hc.example/***')"


def test_each_command_may_have_its_own_ping_address() -> None:
    pings = PingUrls.parse({"run-queue": "https://hc.example/marked", "status": "http://u:marked@b:1/c"})
    assert pings.for_command("run-priority") is None
    assert str(pings) == "run-queue https://hc.example/***, status http://b:1/***"


@pytest.mark.parametrize(
    ("url", "is_secret"),
    [
        ("redis://S3cret@host", True),  # the only word of a login of Redis is most often the password
        ("redis://:S3cret@host", True),
        ("unix://S3cret@/run/redis.sock", True),
        ("redis://host:6379/0", False),
        ("redis+sentinel://host/main?sentinel_password=S3cret", True),
        ("postgresql://user@host/name", False),
        ("postgresql://user:S3cret@host/name", True),
        ("postgresql://host/name?password=S3cret", True),
    ],
)
def test_a_secret_in_a_url_is_seen_wherever_it_stands(url: str, is_secret: bool) -> None:
    kind = DatabaseUrl if url.startswith("postgresql") else RedisUrl
    assert kind(url).holds_secret is is_secret
