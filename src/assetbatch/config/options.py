"""Checks addresses with the libraries that will read them: the options behind the `?` of database.url and
redis.url, and the URLs of notify.

Loading these libraries takes time. So only a command that is about to connect, or `config check`, looks
here. No server is asked. What needs a server (a login, a certificate's authority) is not checked.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from assetbatch.config.wording import shown
from assetbatch.errors import EXTRAS_HINT, ConfigError
from assetbatch.secret import HIDDEN, masked_prose, may_be_quoted

if TYPE_CHECKING:
    from assetbatch.config.notify_urls import NotifyUrls
    from assetbatch.config.settings import Config
    from assetbatch.config.urls import DatabaseUrl, RedisUrl, ServerUrl


def check_options(config: Config) -> None:
    """Raise ConfigError with one line for each option that cannot work."""
    lines = []
    if config.redis.url and config.redis.url.known:
        lines += [f"{_origin(config, 'redis.url')}: {text}" for text in redis_problems(config.redis.url)]
    if config.database.url and config.database.url.known:
        lines += [
            f"{_origin(config, 'database.url')}: {text}" for text in database_problems(config.database.url)
        ]
    if config.notify and config.notify.is_known:
        lines += [f"{_origin(config, 'notify')}: {text}" for text in notify_problems(config.notify)]
    if lines:
        raise ConfigError("\n".join(lines))


def check_redis_options(config: Config) -> None:
    """Check the options of redis.url alone."""
    check_options(_without(config, "database"))


def check_database_options(config: Config) -> None:
    """Check the options of database.url alone."""
    check_options(_without(config, "redis"))


def _without(config: Config, other: str) -> Config:
    """Return the configuration without the other server and without the addresses of `notify`."""
    import msgspec

    section = msgspec.structs.replace(getattr(config, other), url=None)
    return msgspec.structs.replace(config, notify=None, **{other: section})


def _origin(config: Config, path: str) -> str:
    return config.origins.get(path, path)


class _Option(NamedTuple):
    """The values that an option takes, in words, and a test of a value that the library has read."""

    expected: str
    fits: Callable[[Any], object]


def _one_of(*words: str) -> _Option:
    expected = f"one of {', '.join(words)}" if len(words) > 1 else words[0]
    return _Option(expected, lambda value: value in words)


def _whole(low: int, high: int | None = None) -> _Option:
    words = f" of {low} or more" if high is None else f" from {low} to {high}"
    return _Option(
        f"a whole number{words}",
        lambda value: (
            re.fullmatch(r"-?[0-9]{1,9}", str(value), re.ASCII) is not None
            and low <= int(value) <= (int(value) if high is None else high)
        ),
    )


_TEXT = _Option("a text", bool)
_TRUTH = _Option("true or false", lambda value: isinstance(value, bool))
_SECONDS = _Option("seconds, more than 0 and up to 60", lambda value: 0 < value <= 60)
_FILE = _Option("the path of a file that can be read", lambda value: os.access(value, os.R_OK))
_FOLDER = _Option("the path of a folder", lambda value: Path(value).is_dir())


class _Query:
    """The options of a URL, each once, and what is wrong with how they are written."""

    def __init__(self, url: ServerUrl, *, plus_is_space: bool) -> None:
        self.parts = urlsplit(url.known)
        query = self.parts.query if plus_is_space else self.parts.query.replace("+", "%2B")
        pairs = parse_qsl(query, keep_blank_values=True)
        self.values = dict(pairs)
        self.written = [
            f"option {_named(name)}: is there {times} times, expected once"
            for name, times in Counter(name for name, _ in pairs).items()
            if times > 1
        ]
        if any("=" not in pair for pair in self.parts.query.split("&") if pair):
            self.written.append("found an option without a value, expected NAME=VALUE")

    def unknown(self, names: Sequence[str]) -> Iterator[str]:
        """Yield a line for each name that is not among these."""
        from difflib import get_close_matches

        for name in self.values:
            if name in names:
                continue
            near = get_close_matches(name, names, 1)
            advice = f"did you mean {near[0]}? " if near else ""
            yield f"option {_named(name)}: unknown here, {advice}expected one of {', '.join(names)}"


def _named(name: str) -> str:
    return name if may_be_quoted(name) or re.fullmatch(r"[a-z]+(_[a-z]+)+", name) else HIDDEN


def _option_error(name: str, value: str, expected: str) -> str:
    secret = value and re.search("key$|password|secret|token", name)
    return (
        f"option {name}: found {'a text that is not shown' if secret else shown(value)}, expected {expected}"
    )


# --- Redis -------------------------------------------------------------------------------------------------

_REDIS = {
    "client_name": _Option("a text without white space", re.compile(r"[!-~]+").fullmatch),
    "db": _whole(0),
    "health_check_interval": _whole(0),
    "max_connections": _whole(2),  # one tells listeners beside the other
    "password": _TEXT,
    "protocol": _whole(2, 3),
    "retry_on_timeout": _TRUTH,
    "socket_connect_timeout": _SECONDS,
    "socket_read_size": _whole(1),
    "socket_timeout": _SECONDS,
    "username": _TEXT,
}
_REDIS_TCP = {"socket_keepalive": _TRUTH}
_REDIS_TLS = {
    "ssl_ca_certs": _FILE,
    "ssl_ca_data": _TEXT,
    "ssl_ca_path": _FOLDER,
    "ssl_cert_reqs": _one_of("none", "optional", "required"),
    "ssl_certfile": _FILE,
    "ssl_check_hostname": _TRUTH,
    "ssl_ciphers": _TEXT,
    "ssl_exclude_verify_flags": _Option("names of ssl.VerifyFlags", bool),
    "ssl_include_verify_flags": _Option("names of ssl.VerifyFlags", bool),
    "ssl_keyfile": _FILE,
    "ssl_min_version": _Option(
        "771 (TLS 1.2) or 772 (TLS 1.3)", lambda value: value in (ssl.TLSVersion.TLSv1_2, 772)
    ),
    "ssl_password": _TEXT,
}
_SENTINEL = {"sentinel_password": _TEXT, "sentinel_username": _TEXT}
_TRUTHS = ("true", "false", "yes", "no", "1", "0")


def redis_problems(url: RedisUrl) -> list[str]:
    """Return a line for each wrong option of redis.url."""
    if url.embedded or not urlsplit(url.known).query:
        return []
    query = _Query(url, plus_is_space=True)
    tls = query.parts.scheme.startswith("rediss")
    options = dict(_REDIS)
    if query.parts.scheme != "unix":
        options |= _REDIS_TCP
    if tls:
        options |= _REDIS_TLS
    if url.group == "sentinel":
        options |= _SENTINEL
    given = query.values
    needless = [name for name in given if name in _REDIS_TLS and not tls]
    lines = query.written
    lines += [f"option {name}: found without TLS, expected it with rediss:// only" for name in needless]
    lines += query.unknown(sorted({*options, *needless}))
    fitting = {}
    for name, value in given.items():
        if name in options:
            if _fits_redis(name, value, options[name]):
                fitting[name] = value
            else:
                lines.append(_option_error(name, value, options[name].expected))
    lines += _redis_contradictions(url, fitting)
    return lines or _refused_by_redis_py(url, fitting)


def _fits_redis(name: str, value: str, option: _Option) -> bool:
    from redis.connection import URL_QUERY_ARGUMENT_PARSERS

    if option is _TRUTH and value.lower() not in _TRUTHS:  # the library takes any word for true
        return False
    parser: Any = URL_QUERY_ARGUMENT_PARSERS.get(name, str)
    try:
        return bool(option.fits(parser(value)))
    except (ValueError, TypeError, OverflowError):
        return False


def _redis_contradictions(url: RedisUrl, given: Mapping[str, str]) -> Iterator[str]:
    parts = urlsplit(url.known)
    path = parts.path.strip("/")
    number = path.partition("/")[2] if url.group == "sentinel" else "" if parts.scheme == "unix" else path
    if "db" in given and url.group == "cluster" and int(given["db"]) != 0:
        yield "option db: found another database than 0, expected none: a cluster has no numbered databases"
    elif "db" in given and number and int(given["db"]) != int(number):
        yield "option db: contradicts the database in the URL's path, expected only one of them"
    for name, value in (("username", parts.username), ("password", parts.password)):
        if name in given and value is not None and unquote(value) != given[name]:
            yield f"option {name}: contradicts the {name} before the host, expected only one of them"
    for name, other in (
        ("ssl_keyfile", "ssl_certfile"),
        ("ssl_password", "ssl_keyfile"),
        ("sentinel_username", "sentinel_password"),
    ):
        if name in given and other not in given:
            yield f"option {name}: found without {other}, expected both"
    if given.get("ssl_cert_reqs") == "none" and given.get("ssl_check_hostname", "").lower() in _TRUTHS[::2]:
        yield "option ssl_check_hostname: contradicts ssl_cert_reqs=none, which checks no certificate"


def _refused_by_redis_py(url: RedisUrl, given: Mapping[str, str]) -> list[str]:
    """Return what only the library's own connection finds: certificates and keys that are none, ciphers."""
    from redis.connection import URL_QUERY_ARGUMENT_PARSERS, SSLConnection
    from redis.exceptions import RedisError

    if not url.known.startswith("rediss"):
        return []
    parsers: Any = URL_QUERY_ARGUMENT_PARSERS
    tls = {name: parsers.get(name, str)(value) for name, value in given.items() if name.startswith("ssl_")}
    pair = ("ssl_certfile", "ssl_keyfile", "ssl_password")
    groups = [pair, *((name,) for name in tls if name not in pair)]
    lines = []
    for group in groups:
        some = {name: tls[name] for name in group if name in tls}
        if not some:
            continue
        if "ssl_keyfile" in some:
            some.setdefault("ssl_password", "")  # or OpenSSL asks the terminal for it
        connection: Any = SSLConnection(**some)
        try:
            with socket.socket() as unconnected:
                connection._wrap_socket_with_ssl(unconnected).close()
        except (OSError, ValueError, TypeError, RedisError) as error:
            said = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            names = ", ".join(name for name in group if name in given)
            text = masked_prose(str(said).lower().replace("_", " "))
            lines.append(f"option {names}: cannot be used ({text}), expected what TLS can use")
    return lines


# --- PostgreSQL --------------------------------------------------------------------------------------------

_LIBPQ = "a value that libpq takes (see its connection parameters)"
_ZERO_OR_ONE = _one_of("0", "1")
_TLS_VERSIONS = _one_of("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_LIBPQ_FILE = _Option(
    _FILE.expected, lambda value: value in ("", "system") or os.access(value, os.R_OK) or ":" in value
)
# Words for what libpq's documentation allows. libpq judges every option, those that are not here too.
_POSTGRESQL = {
    "channel_binding": _one_of("disable", "prefer", "require"),
    "client_encoding": _Option("UTF8, which assetbatch speaks", re.compile("(?i)utf-?8").fullmatch),
    "connect_timeout": _whole(1),
    "gssencmode": _one_of("disable", "prefer", "require"),
    "keepalives": _ZERO_OR_ONE,
    "keepalives_count": _whole(0),
    "keepalives_idle": _whole(0),
    "keepalives_interval": _whole(0),
    "load_balance_hosts": _one_of("disable", "random"),
    "replication": _one_of("false", "off", "no", "0"),
    "ssl": _one_of("true"),
    "ssl_max_protocol_version": _TLS_VERSIONS,
    "ssl_min_protocol_version": _TLS_VERSIONS,
    "sslcert": _LIBPQ_FILE,
    "sslcertmode": _one_of("disable", "allow", "require"),
    "sslcompression": _ZERO_OR_ONE,
    "sslkey": _LIBPQ_FILE,
    "sslmode": _one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": _one_of("postgres", "direct"),
    "sslrootcert": _LIBPQ_FILE,
    "sslsni": _ZERO_OR_ONE,
    "target_session_attrs": _one_of("any", "read-write", "primary"),
    "tcp_user_timeout": _whole(0),
}
_UNWANTED = {"sslkeylogfile"}  # it writes the keys of the connection into a file
_PLACES = ("host", "hostaddr", "port", "dbname", "user", "password")


def database_problems(url: DatabaseUrl) -> list[str]:
    """Return a line for each wrong option of database.url."""
    if url.embedded or not urlsplit(url.known).query:
        return []
    from psycopg import pq

    query = _Query(url, plus_is_space=False)
    names = sorted({option.keyword.decode() for option in pq.Conninfo.get_defaults()} | {"ssl"} - _UNWANTED)
    lines = [*query.written, *query.unknown(names)]
    fitting = {}
    for name, value in query.values.items():
        option = _POSTGRESQL.get(name, _TEXT)
        if name not in names:
            continue
        try:
            fits = option.fits(value)
        except ValueError:  # a NUL in a path
            fits = False
        if fits:
            fitting[name] = value
        else:
            lines.append(_option_error(name, value, option.expected))
    lines += _database_contradictions(query, fitting)
    if fitting.pop("ssl", None):
        fitting.setdefault("sslmode", "require")
    return lines or _refused_by_libpq({k: v for k, v in fitting.items() if k not in _PLACES})


def _database_contradictions(query: _Query, given: Mapping[str, str]) -> Iterator[str]:
    parts = query.parts
    login, _, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    hosts, ports = _hosts_and_ports(place)
    body = {
        "host": ",".join(hosts),
        "port": ",".join(ports) if any(ports) else "",
        "dbname": parts.path[1:],
        "user": user,
        "password": password,
    }
    for name, value in body.items():
        if name in given and value and unquote(value) != given[name]:
            yield f"option {name}: contradicts what stands before the ?, expected only one of them"
    counts = {
        "host": len((given.get("host") or body["host"]).split(",")),
        "hostaddr": len(given["hostaddr"].split(",")) if "hostaddr" in given else 0,
    }
    if "port" in given:
        numbers = given["port"].split(",")
        if not all(re.fullmatch(r"[0-9]{1,5}", one, re.ASCII) and 1 <= int(one) <= 65535 for one in numbers):
            yield _option_error("port", given["port"], "a whole number from 1 to 65535, or one for each host")
        elif len(numbers) not in (1, max(counts.values())):
            yield "option port: found another number of ports than of hosts, expected one, or one for each"
    if counts["hostaddr"] and (given.get("host") or body["host"]) and counts["host"] != counts["hostaddr"]:
        yield "option hostaddr: found another number of addresses than of hosts, expected one for each"
    for name, other in (("sslkey", "sslcert"), ("sslpassword", "sslkey")):
        if name in given and other not in given:
            yield f"option {name}: found without {other}, expected both"
    if "ssl" in given and given.get("sslmode") in ("disable", "allow", "prefer"):
        yield "option sslmode: contradicts ssl=true, expected only one of them"


def _hosts_and_ports(place: str) -> tuple[list[str], list[str]]:
    found = [re.fullmatch(r"(\[.*\]|[^:]*)(?::(.*))?", one) for one in place.split(",")]
    return [m[1].strip("[]") for m in found if m], [m[2] or "" for m in found if m]


def _refused_by_libpq(given: Mapping[str, str]) -> list[str]:
    """Return what libpq itself refuses: it is asked for a connection to a port that never answers."""
    from psycopg import Error, pq
    from psycopg.conninfo import make_conninfo

    try:
        listener = socket.create_server(("127.0.0.1", 0))
    except OSError:  # a host without a loopback: libpq will say it when it connects
        return []
    with listener:
        base = {"host": "127.0.0.1", "hostaddr": "127.0.0.1", "port": listener.getsockname()[1]}

        def refusal(options: Mapping[str, str]) -> str | None:
            try:
                conninfo = make_conninfo(**{**base, "user": "x", "dbname": "x", **options})
                connection = pq.PGconn.connect_start(conninfo.encode())
            except (Error, UnicodeError) as error:
                return str(error)
            try:
                bad = connection.status == pq.ConnStatus.BAD
                return connection.error_message.decode(errors="replace") if bad else None
            finally:
                connection.finish()

        together = refusal(given)
        if together is None:
            return []
        if (alone := refusal({})) is not None:  # PGSSLMODE and the like
            return [f"libpq refuses the PG… variables of the environment: {_one_line(alone)}"]
        single = [
            name for name in given if name not in _POSTGRESQL and refusal({name: given[name]}) is not None
        ]
        if single:
            return [_option_error(name, given[name], _LIBPQ) for name in single]
        return [f"options that contradict each other: {_one_line(together)}"]


def _one_line(text: str) -> str:
    return masked_prose(" ".join(text.replace("=", " ").split()))


# --- apprise -----------------------------------------------------------------------------------------------


def notify_problems(urls: NotifyUrls) -> list[str]:
    """Return a line for each URL that apprise does not take."""
    try:
        import apprise
    except ImportError:
        return [f"apprise is not installed, expected it beside assetbatch ({EXTRAS_HINT})"]
    return [
        f"{name}: apprise takes no such URL, expected one of its forms (appriseit.com/services)"
        for name, url in zip(urls.names(), urls, strict=True)
        if apprise.Apprise.instantiate(url.reveal()) is None
    ]
