"""Addresses of servers, checked without the libraries that will use them.

A database or Redis URL may hold a password, and a ping URL is one. So they are secrets: printing them
shows a mask. Every parser raises ValueError with `found …, expected …`, and never repeats an address in
it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import ClassVar, NamedTuple, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

from assetbatch.config.wording import kind_of, shown
from assetbatch.secret import HIDDEN, Secret, masked, may_be_quoted

EMBEDDED = "embedded"

_PRINTABLE = re.compile(r"[!-~]+")
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9]+)?\]|%2[Ff][^\[\]]+")
# What a URL's query may say in the open; every other value is masked.
_OPEN_PARAMETERS = frozenset(
    ("application_name", "connect_timeout", "db", "dbname", "host", "hostaddr", "port", "sslmode", "user")
)


class UrlNames(NamedTuple):
    """Where the parts of a URL are configured, for hints: `DB_HOST and DB_PORT`, `DATABASE_URL in .env`."""

    address: str = "the URL"
    login: str = "the URL"
    database: str = "the URL"


class ServerUrl(Secret):
    """The URL of a server, or the word `embedded`. It is shown without its password.

    The URL, or its password alone, may come from a command. Then `reveal()` runs it, and nothing else here
    does, except that somebody must know whether an unknown URL is `embedded`, or is that of a group.
    """

    __slots__ = ("_shape", "names")
    schemes: ClassVar[tuple[str, ...]]
    expected: ClassVar[str]

    @classmethod
    def parse(cls, value: object) -> Self:
        """Check a URL; raise ValueError without the URL."""
        raise NotImplementedError

    def __init__(
        self,
        value: str | Callable[[], str],
        *,
        shape: str = "",
        names: UrlNames = UrlNames(),  # noqa: B008 - immutable
    ) -> None:
        """Take a URL, or a function that returns it; `shape` is what is known of it before."""
        super().__init__(value)
        self._shape = shape
        self.names = names

    @property
    def known(self) -> str:
        """The URL as far as it is known without running a command, with some password; else empty."""
        return self.reveal() if self.is_known else self._shape

    @property
    def embedded(self) -> bool:
        """Return whether assetbatch starts the server itself."""
        return (self.known or self.reveal()) == EMBEDDED

    @property
    def embedded_if_known(self) -> bool:
        """Return whether assetbatch surely starts the server itself."""
        return self.known == EMBEDDED

    @property
    def has_password(self) -> bool:
        """Return whether the URL, as far as it is known, holds a password."""
        parts = urlsplit(self.known)
        login = parts.netloc.rpartition("@")[0]
        return bool(login.partition(":")[2]) or re.search(r"(^|&)password=.", parts.query) is not None

    @property
    def holds_secret(self) -> bool:
        """Return whether the URL, as far as it is known, holds any secret, a Sentinel's password too."""
        return holds_secret(self.known)

    def called(self, names: UrlNames) -> Self:
        """Return the same URL with these names for its parts."""
        return type(self)(self._value, shape=self._shape, names=names)

    def with_password(self, password: Secret) -> Self:
        """Return the URL with a password, unless it turns out to be `embedded` or to hold one."""

        def url() -> str:
            base = type(self)(self.reveal())
            return base.reveal() if base.embedded or base.has_password else base._with(password.reveal())

        names = self.names._replace(login=f"{self.names.login} and {password.name}")
        shape = self._with(HIDDEN) if self.known else ""
        return type(self)(url() if self.is_known and password.is_known else url, shape=shape, names=names)

    def _with(self, password: str) -> str:
        scheme, _, rest = self.known.partition("://")
        cut = min((at for at in map(rest.find, "/?") if at >= 0), default=len(rest))
        login, _, host = rest[:cut].rpartition("@")
        return f"{scheme}://{login.partition(':')[0]}:{_quote(password)}@{host}{rest[cut:]}"

    def masked(self) -> str:
        """Return the URL with `***` for the password and for every query value that might be one."""
        if not self.known:
            return HIDDEN
        if self.embedded:
            return EMBEDDED
        parts = urlsplit(self.known)
        login, at, host = parts.netloc.rpartition("@")
        query = "&".join(_masked_parameter(pair) for pair in parts.query.split("&") if pair)
        shown = (
            f"{parts.scheme}://{self._masked_login(login)}{at}{masked_parts(host)}{masked_parts(parts.path)}"
        )
        return f"{shown}?{query}" if query else shown

    @staticmethod
    def _masked_login(login: str) -> str:
        user, colon, _ = login.partition(":")
        return f"{masked_parts(user)}{colon}{HIDDEN if colon else ''}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.masked()!r})"

    def __str__(self) -> str:
        return self.masked()


def holds_secret(url: str) -> bool:
    """Return whether a URL of a server holds a password: in its login or its options.

    The only word in a login of Redis is most often the password.
    """
    scheme, _, rest = url.partition("://")
    login, at, _ = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")
    return (bool(at) and (":" in login or scheme.startswith(("redis", "unix")))) or bool(
        re.search(r"[?&]\w*passw", rest)
    )


def _masked_parameter(pair: str) -> str:
    name, equals, value = pair.partition("=")
    shown = masked_parts(value) if name in _OPEN_PARAMETERS else HIDDEN
    return f"{masked_parts(name)}{equals}{shown if equals else ''}"


def masked_parts(text: str) -> str:
    """Return a part of a URL as it may be shown. What its percent signs hide counts too."""
    return "/".join(
        part if masked(plain := unquote(part)) == plain else masked(plain) for part in text.split("/")
    )


def split_url(value: object, expected: str, schemes: tuple[str, ...]) -> tuple[str, SplitResult]:
    """Return a URL and its parts; raise ValueError if anything in it can be read in two ways."""
    if not isinstance(value, str):
        raise ValueError(f"found {kind_of(value)}, expected {expected}")
    if not _PRINTABLE.fullmatch(value):
        problem = (
            "an empty text" if not value else "a space, a control character or a letter beyond ASCII in it"
        )
        raise ValueError(f"found {problem}, expected {expected}")
    scheme, separator, rest = value.partition("://")
    if not separator:
        raise ValueError(f"found a text that is no URL, expected {expected}")
    if scheme not in schemes:
        found = repr(f"{scheme}://") if may_be_quoted(scheme) and scheme else "another scheme"
        raise ValueError(f"found {found}, expected {expected}")
    if _BROKEN_PERCENT.search(value):
        raise ValueError("found a % that is not followed by two hex digits, expected %25 for a % itself")
    try:
        unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(
            "found percent-encoded bytes that are no UTF-8, expected UTF-8 (é is %C3%A9, not %E9)"
        ) from None
    if "#" in rest or rest.count("@") > 1 or ("@" in rest and re.search(r"[/?]", rest.partition("@")[0])):
        raise ValueError(
            "found a URL that can be read in two ways, expected its user and password percent-encoded "
            "(@ is %40, : is %3A, / is %2F, ? is %3F, # is %23)"
        )
    try:
        return value, urlsplit(value)
    except ValueError:  # unbalanced brackets of an IPv6 address
        raise ValueError(f"found a host that is no name and no address, expected {expected}") from None


def check_host(host_and_port: str, expected: str) -> None:
    """Raise ValueError if this is no host, or no host with a port."""
    host, colon, port = host_and_port, "", ""
    if not re.fullmatch(r"\[[^\]]*\]", host_and_port):
        host, colon, port = host_and_port.rpartition(":")
        if not colon:
            host, port = port, ""
    if host and not _HOST.fullmatch(host):
        raise ValueError(f"found a host that is no name and no address, expected {expected}")
    if colon and not (port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError("found a port that is no port, expected a whole number from 1 to 65535")


class DatabaseUrl(ServerUrl):
    """`postgresql://user:password@host:port/name?options`, as libpq reads it, or `embedded`."""

    __slots__ = ()
    schemes = ("postgresql", "postgres")
    expected = "embedded, postgresql://… or postgres://…"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Check scheme, hosts, ports and percent-encoding; raise ValueError without the URL."""
        if value == EMBEDDED:
            return cls(EMBEDDED)
        url, parts = split_url(value, cls.expected, cls.schemes)
        for host in parts.netloc.rpartition("@")[2].split(","):  # libpq takes several
            check_host(host, cls.expected)
        return cls(url)

    @classmethod
    def of_parts(cls, *, host: str, name: str, port: int | None = None, user: str = "") -> Self:
        """Return the URL of DB_HOST, DB_NAME, …; `host` may be the folder of a socket.

        Raise ValueError if the host is none.
        """
        place = f"[{host}]" if ":" in host else _quote(host) if host.startswith("/") else host
        if not _HOST.fullmatch(place):
            raise ValueError(f"found {shown(host)}, expected a host name, an IP address or a socket's folder")
        login = f"{_quote(user)}@" if user else ""
        colon = f":{port}" if port else ""
        return cls(f"postgresql://{login}{place}{colon}/{_quote(name)}")


def _quote(text: str) -> str:
    """Percent-encode a text. Bytes that were no UTF-8 in the environment stay as they were."""
    return quote(text.encode("utf-8", "surrogateescape"), safe="")


_GROUPS = ("sentinel", "cluster")


class RedisUrl(ServerUrl):
    """`redis://`, `rediss://` (TLS) or `unix://`, as redis-py reads them, or `embedded`.

    Or servers that replace one another: `redis+sentinel://sentinel1,sentinel2:26379/master-name`,
    `redis+cluster://node1,node2:6379`, each `rediss+…` with TLS.
    """

    __slots__ = ()
    schemes = ("redis", "rediss", "unix", *(f"redis{s}+{kind}" for s in ("", "s") for kind in _GROUPS))
    expected = "embedded, redis://…, rediss://…, unix://…, redis+sentinel://… or redis+cluster://…"

    @property
    def group(self) -> str:
        """`sentinel` or `cluster` for servers that replace one another, else empty."""
        return (self.known or self.reveal()).partition("://")[0].partition("+")[2]

    @staticmethod
    def _masked_login(login: str) -> str:
        user, colon, _ = login.partition(":")
        return (
            f"{masked_parts(user)}:{HIDDEN}" if colon else HIDDEN if login else ""
        )  # a lone word is most often the password

    @classmethod
    def parse(cls, value: object) -> Self:
        """Check scheme, hosts, ports, path and percent-encoding; raise ValueError without the URL."""
        if value == EMBEDDED:
            return cls(EMBEDDED)
        url, parts = split_url(value, cls.expected, cls.schemes)
        host = parts.netloc.rpartition("@")[2]
        if parts.scheme == "unix":
            if host or len(parts.path) < 2:
                raise ValueError("found a unix:// URL without a path, expected unix:///path/of/the/socket")
            return cls(url)
        if not host:
            raise ValueError(f"found a URL without a host, expected {cls.expected}")
        group = parts.scheme.partition("+")[2]
        for place in host.split(",") if group else (host,):
            check_host(place, cls.expected)
            if not place:
                raise ValueError(f"found an empty host between commas, expected {cls.expected}")
        _check_redis_path(group, parts.path)
        return cls(url)


def _check_redis_path(group: str, path: str) -> None:
    if group == "sentinel" and not re.fullmatch(r"/[A-Za-z0-9._%-]+(?:/[0-9]{1,5})?", path):
        raise ValueError(
            "found no name of a master, expected it behind the sentinels, as in /mymaster or /mymaster/0"
        )
    if group == "cluster" and path not in ("", "/", "/0"):
        raise ValueError("found a path, expected none: a cluster has no numbered databases")
    if not group and not re.fullmatch(r"/?|/[0-9]{1,5}", path):  # redis-py would take database 0
        raise ValueError("found a path that is no number, expected the number of a database, as in /0")


class HttpUrl(str):
    """A web address without login and fragment. Its trailing slashes are removed."""

    __slots__ = ()
    expected: ClassVar[str] = "https://…"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Check scheme, host and port; raise ValueError."""
        url, parts = split_url(value, cls.expected, ("https", "http"))
        if "@" in parts.netloc:
            raise ValueError(f"found a user or password in the URL, expected none: {cls.expected}")
        if not parts.netloc:
            raise ValueError(f"found a URL without a host, expected {cls.expected}")
        check_host(parts.netloc, cls.expected)
        return cls(url.rstrip("/"))

    def masked(self) -> str:
        """Return the address with `***` for each part that may be a secret, and for its whole query."""
        parts = urlsplit(self)
        query = f"?{HIDDEN}" if parts.query else ""
        return f"{parts.scheme}://{masked_parts(parts.netloc)}{masked_parts(parts.path)}{query}"


class ApiUrl(HttpUrl):
    """The base of the provider's API. The key is sent there, so plain HTTP is for near hosts only."""

    __slots__ = ()
    expected = "https://… (http:// only to an IP address or a host name without a dot)"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Check what HttpUrl checks, and that the key stays secret; raise ValueError."""
        url = super().parse(value)
        parts = urlsplit(url)
        if parts.query:
            raise ValueError(f"found a URL with a query, expected {cls.expected}")
        if parts.scheme == "http" and "." in (host := parts.hostname or ""):
            try:
                ip_address(host)
            except ValueError:
                raise ValueError(
                    f"found http:// to a host of the internet, expected {cls.expected}"
                ) from None
        return url
