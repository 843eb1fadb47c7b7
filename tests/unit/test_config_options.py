"""The options of redis.url and database.url: what cannot work is told before anybody connects."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from assetbatch.config import load
from assetbatch.config.options import check_options, database_problems, redis_problems
from assetbatch.config.urls import DatabaseUrl, RedisUrl
from assetbatch.errors import ConfigError
from tests.program import BARE

REDIS = [
    ("redis://h/0?socket_timeout=abc", "option socket_timeout: found 'abc', expected seconds"),
    ("redis://h/0?socket_timeout=0", "option socket_timeout: found '0', expected seconds, more than 0"),
    ("redis://h/0?socket_timeout=nan", "option socket_timeout: found 'nan', expected"),
    ("redis://h/0?socket_timeout=1e999", "option socket_timeout: .* not shown|found '1e999', expected"),
    ("redis://h/0?socket_timeout=", "option socket_timeout: found '', expected"),
    ("redis://h/0?socket_timeuot=1", "option socket_timeuot: unknown here, did you mean socket_timeout"),
    ("redis://h/0?decode_responses=false", "option decode_responses: unknown here"),
    ("redis://h/0?encoding=latin-1", "option encoding: unknown here"),
    ("redis://h/0?retry_on_error=X", "option retry_on_error: unknown here"),
    ("redis://h/0?credential_provider=x", "option credential_provider: unknown here"),
    ("redis://h/0?host=other", "option host: unknown here"),
    ("redis://h/0?timeout=5", "option timeout: unknown here"),
    ("redis://h/0?protocol=4", "option protocol: found '4', expected a whole number from 2 to 3"),
    ("redis://h/0?max_connections=-1", "option max_connections: found '-1', expected"),
    ("redis://h/0?db=-1", "option db: found '-1', expected a whole number of 0 or more"),
    ("redis://h/0?db=1", "option db: contradicts the database in the URL's path"),
    ("redis://h/0?db=0&db=0", "option db: is there 2 times, expected once"),
    ("redis://u:p@h?password=q", "option password: contradicts the password before the host"),
    ("redis://h/0?socket_keepalive=maybe", "option socket_keepalive: found 'maybe', expected true or false"),
    ("redis://h/0?client_name=a%20b", "option client_name: found a text that is not shown, expected"),
    ("redis://h/0?ssl_ca_certs=/x", "option ssl_ca_certs: found without TLS, expected it with rediss"),
    ("unix:///s?socket_keepalive=true", "option socket_keepalive: unknown here"),
    ("rediss://h?ssl_ca_certs=/nope", "option ssl_ca_certs: found '/nope', expected the path of a file"),
    ("rediss://h?ssl_ca_certs=/etc/passwd", "option ssl_ca_certs: cannot be used .*certificate"),
    ("rediss://h?ssl_ca_data=xx", "option ssl_ca_data: cannot be used"),
    ("rediss://h?ssl_ciphers=nope", "option ssl_ciphers: cannot be used .*no cipher"),
    ("rediss://h?ssl_cert_reqs=maybe", "option ssl_cert_reqs: found 'maybe', expected one of none, op"),
    ("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=true", "option ssl_check_hostname: contradicts"),
    ("rediss://h?ssl_keyfile=/etc/passwd", "option ssl_keyfile: found without ssl_certfile, expected both"),
    ("rediss://h?ssl_include_verify_flags=NO", "option ssl_include_verify_flags: found 'NO', expected"),
    ("rediss://h?ssl_min_version=99", "option ssl_min_version: found '99', expected 771"),
    ("rediss://h?ssl_validate_ocsp_stapled=true", "option ssl_validate_ocsp_stapled: unknown here"),
    ("redis+cluster://h?db=1", "option db: found another database than 0"),
    ("redis+sentinel://h/m/1?db=2", "option db: contradicts"),
    ("redis+sentinel://h/m?sentinel_username=x", "option sentinel_username: found without sentinel_password"),
    ("redis://h?sentinel_password=hush", "option sentinel_password: unknown here"),
]
POSTGRESQL = [
    ("sslmode=bogus", "option sslmode: found 'bogus', expected one of disable, allow, prefer, require"),
    ("sslmode=", "option sslmode: found '', expected one of"),
    ("sslmode=require&sslmode=disable", "option sslmode: is there 2 times, expected once"),
    ("Sslmode=require", "option Sslmode: unknown here, did you mean sslmode"),
    ("ssl=yes", "option ssl: found 'yes', expected true"),
    ("ssl=true&sslmode=disable", "option sslmode: contradicts ssl=true"),
    ("pool_size=5", "option pool_size: unknown here, expected one of application_name"),
    ("connect_timeout=abc", "option connect_timeout: found 'abc', expected a whole number of 1 or more"),
    ("connect_timeout=0", "option connect_timeout: found '0', expected"),
    ("keepalives=abc", "option keepalives: found 'abc', expected one of 0, 1"),
    ("keepalives_idle=x", "option keepalives_idle: found 'x', expected a whole number"),
    ("target_session_attrs=standby", "option target_session_attrs: found 'standby', expected one of any"),
    ("client_encoding=LATIN1", "option client_encoding: found 'LATIN1', expected UTF8"),
    ("replication=database", "option replication: found 'database', expected"),
    ("require_auth=zz", "option require_auth: found 'zz', expected a value that libpq takes"),
    ("min_protocol_version=z", "option min_protocol_version: found 'z', expected a value that libpq"),
    ("scram_client_key=zz", "option scram_client_key: found a text that is not shown, expected"),
    ("service=nope", "option service: found 'nope', expected a value that libpq takes"),
    ("sslnegotiation=direct", "options that contradict each other: weak sslmode"),
    ("sslmode=require&sslrootcert=system", "options that contradict each other: weak sslmode"),
    (
        "ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
        "options that contradict each other: invalid SSL protocol version range",
    ),
    ("sslrootcert=/nope", "option sslrootcert: found '/nope', expected the path of a file"),
    ("sslkey=/etc/passwd", "option sslkey: found without sslcert, expected both"),
    ("host=other", "option host: contradicts what stands before the ?"),
    ("dbname=other", "option dbname: contradicts what stands before the ?"),
    ("hostaddr=127.0.0.1,127.0.0.2", "option hostaddr: found another number of addresses"),
]
GOOD_REDIS = [
    "redis://h/0?db=0&socket_timeout=1.5&client_name=me&protocol=2&health_check_interval=30",
    "redis://h/0?socket_keepalive=no&max_connections=10&username=u&password=p",
    "unix:///s?db=2&password=x",
    "rediss://h?ssl_cert_reqs=none",
    "rediss://h?ssl_min_version=771&ssl_include_verify_flags=VERIFY_X509_STRICT&ssl_ciphers=HIGH",
    "redis+sentinel://h/m/2?sentinel_username=a&sentinel_password=b&db=2",
    "redis+cluster://h?db=0",
]
GOOD_POSTGRESQL = [
    "postgresql://u@h/n?sslmode=require&application_name=a&connect_timeout=5",
    "postgresql://u@h/n?sslrootcert=system",
    "postgresql://u@h/n?ssl=true",
    "postgresql://u@h/n?sslnegotiation=direct&sslmode=require",
    "postgresql://u@h/n?options=-c%20statement_timeout%3D1&require_auth=scram-sha-256",
    "postgresql://a:1,b:2/n?load_balance_hosts=random&target_session_attrs=read-write",
    "postgresql:///n?host=/tmp&port=5433&user=me&password=p",
    "postgresql://u@h:5432/n?host=h&port=5432",
    "postgresql:///n?host=a,b&port=1,2&client_encoding=utf-8",
]


@pytest.mark.parametrize(("url", "told"), REDIS)
def test_an_odd_option_of_redis_is_one_line(url: str, told: str) -> None:
    lines = redis_problems(RedisUrl.parse(url))
    assert len(lines) == 1, lines
    assert re.search(told, lines[0]), lines
    assert "expected" in lines[0] or "contradicts" in lines[0]


@pytest.mark.parametrize(("query", "told"), POSTGRESQL)
def test_an_odd_option_of_postgresql_is_one_line(query: str, told: str) -> None:
    lines = database_problems(DatabaseUrl.parse(f"postgresql://u@h:5432/n?{query}"))
    assert len(lines) == 1, lines
    assert re.search(told, lines[0]), lines


@pytest.mark.parametrize("url", GOOD_REDIS)
def test_what_redis_takes_is_accepted(url: str) -> None:
    assert redis_problems(RedisUrl.parse(url)) == []


@pytest.mark.parametrize("url", GOOD_POSTGRESQL)
def test_what_libpq_takes_is_accepted(url: str) -> None:
    assert database_problems(DatabaseUrl.parse(url)) == []


def test_the_variables_that_libpq_reads_itself_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLNEGOTIATION", "bogus")
    lines = database_problems(DatabaseUrl.parse("postgresql://h/n?sslmode=require"))
    assert len(lines) == 1
    assert lines[0].startswith("libpq refuses the PG")


@pytest.mark.parametrize("value", ["k3y-m4rk-12345678", "a%3Db", "me%40h", "free%3BKEY", "two%20words"])
def test_no_value_and_no_name_that_may_be_a_secret_is_quoted(value: str) -> None:
    for url in (
        f"redis://h?socket_timeout={value}",
        f"redis://h?{value}=1",
        f"rediss://h?ssl_ciphers={value}",
    ):
        said = " ".join(redis_problems(RedisUrl.parse(url)))
        assert said
        assert value not in said
    for query in (f"sslmode={value}", f"{value}=1", f"service={value}", f"require_auth={value}"):
        said = " ".join(database_problems(DatabaseUrl.parse(f"postgresql://h/n?{query}")))
        assert said
        assert not any(word in said for word in (value, "a=b", "me@h", "free;KEY", "two words"))


def test_each_mistake_names_where_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("redis: {url: 'redis://h?db=x&foo=1'}")
    config = load(None, {"DATABASE_URL": "postgresql://h/n?sslmode=x"}, cwd=tmp_path)
    with pytest.raises(ConfigError) as caught:
        check_options(config)
    assert [line.split(", expected")[0] for line in str(caught.value).splitlines()] == [
        "config.yml redis.url: option foo: unknown here",
        "config.yml redis.url: option db: found 'x'",
        "env DATABASE_URL: option sslmode: found 'x'",
    ]


@pytest.mark.parametrize("command", ["config check", "status", "run-queue", "init"])
def test_no_command_ends_in_a_traceback(tmp_path: Path, command: str) -> None:
    (tmp_path / "config.yml").write_text(
        "redis: {url: 'redis://127.0.0.1:1?retry_on_error=x'}\n"
        "database: {url: 'postgresql://127.0.0.1:1/n?sslmode=x'}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "assetbatch", *command.split()],
        cwd=tmp_path,
        env={**BARE, "HOME": str(tmp_path), "POLYGON_API_KEY": "made-up-key-123"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert all(": option " in line for line in done.stderr.splitlines())
