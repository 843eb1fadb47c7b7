"""One HTTP request at a time that ends on time: `requests` with a deadline that holds.

A timeout of `requests` starts anew with each byte, so a server that drips keeps a call alive for ever.
Here every wait of a call (name lookup, each address, TLS, headers, body) gets what is left of the call's
seconds: the sockets themselves ask for it. They also count the bytes that they receive, and the decoded
body is counted as it is read. So neither a flood nor a compressed bomb fills the memory.

A request is made once: no retries, no redirects, no second try on a kept connection that the server has
just dropped. Each arrival at the provider needs a grant of its own.
"""

from __future__ import annotations

import ipaddress
import os
import queue
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
import urllib3  # requests stands on it; its connection classes are where the sockets are made
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, DecodeError, HTTPError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from assetbatch import __version__
from assetbatch.certificates import certificate_problem
from assetbatch.deadline import monotonic
from assetbatch.domain.refusals import RefusalKind
from assetbatch.errors import ConfigError
from assetbatch.provider.refusals import Refusal, one_line
from assetbatch.secret import HIDDEN, Secret, masked, masked_prose, may_be_quoted

_CHUNK_BYTES = 65_536
_DISCARD = struct.pack("ii", 1, 0)  # linger for 0 seconds
_HEADERS_BYTES = 2**20  # what status line, headers and chunk sizes may take beside the body
_ENCODINGS = frozenset({"", "identity", "gzip"})
# ValueError: http.client and urllib3 raise it bare for some malformed chunk sizes and headers.
_FAULTS = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


_CERTIFICATE_HINT = (
    "is a proxy in between that shows a certificate of its own? name its authority by SSL_CERT_FILE; is this "
    "host's clock right?"
)


class Response(NamedTuple):
    """A complete HTTP response: status, headers, decoded body."""

    status: int
    headers: Mapping[str, str]
    body: bytes | bytearray


class _TooLargeError(Exception):
    """More bytes came than a call may bring."""


class _Call:
    """The time and the bytes that are left of the call of this thread.

    The boot clock counts: a grant's hold runs on while the machine sleeps, and a call that went on after
    the sleep would send late.
    """

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self._ends_at = monotonic() + seconds
        self._bytes_left = max_bytes
        self.sent = False

    @property
    def is_over(self) -> bool:
        return monotonic() >= self._ends_at

    def remaining(self) -> float:
        """Return the seconds until the deadline, more than 0; raise TimeoutError after it."""
        left = self._ends_at - monotonic()
        if left <= 0:
            raise TimeoutError("the call's deadline has passed")
        return left

    def count(self, received: int) -> None:
        """Raise _TooLargeError if more was received than the call may bring."""
        self._bytes_left -= received
        if self._bytes_left < 0:
            raise _TooLargeError


# A connection outlives the call that opened it, and a session serves several threads: the sockets
# look here for the call they work for.
_CALL: ContextVar[_Call] = ContextVar("assetbatch_provider_call")


class _BoundedSocket(socket.socket):
    """A socket that waits no longer than the current call may."""

    @contextmanager
    def _in_time(self) -> Iterator[_Call]:
        call = _CALL.get()
        self.settimeout(call.remaining())
        yield call

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        with self._in_time() as call:
            data = super().recv(*args, **kwargs)
        call.count(len(data))
        return data

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        with self._in_time() as call:
            received = super().recv_into(*args, **kwargs)
        call.count(received)
        return received

    def send(self, *args: Any, **kwargs: Any) -> int:
        with self._in_time():
            return super().send(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        with self._in_time():
            super().sendall(*args, **kwargs)


class _BoundedTLSSocket(_BoundedSocket, ssl.SSLSocket):
    """The same above TLS. OpenSSL's own loops keep the timeout as a total (CPython's _ssl.c)."""

    def do_handshake(self, block: bool = False) -> None:
        with self._in_time():
            super().do_handshake(block)


def _resolve(host: str, port: int) -> list[tuple[Any, ...]]:
    """Call `getaddrinfo` within the call's time. It cannot be stopped, so its thread is left behind."""
    outcome: queue.SimpleQueue[list[tuple[Any, ...]] | OSError | UnicodeError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            outcome.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            outcome.put(error)

    threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
    try:
        found = outcome.get(timeout=_CALL.get().remaining())
    except queue.Empty:
        raise TimeoutError(f"{host} was not resolved in time") from None
    if isinstance(found, Exception):
        raise found
    return found


def _connect(addresses: list[tuple[Any, ...]], options: Any) -> socket.socket:
    """Connect to the first address that answers. Each may take its share of the time left."""
    failure: OSError = OSError("the name has no address")
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        share = _CALL.get().remaining() / (len(addresses) - tried)
        connection = _BoundedSocket(family, kind, protocol)
        # Closing discards what the kernel has not delivered yet, also when this process is killed: a request
        # that it went on sending would arrive after its slot in the call window has been given up.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
        try:
            for option in options or ():
                connection.setsockopt(*option)
            connection.settimeout(share)
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


class _BoundedHTTPConnection(HTTPConnection):
    """Resolves, connects and sends within the call's time, and notes that a request has left."""

    def _new_conn(self) -> socket.socket:
        try:
            return _connect(_resolve(self.host.strip("[]"), self.port), self.socket_options)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no connection in time") from error
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, f"no connection: {error}") from error

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        _CALL.get().remaining()  # not a byte of a request leaves after the deadline
        _CALL.get().sent = True
        super().request(*args, **kwargs)


class _BoundedHTTPSConnection(_BoundedHTTPConnection, HTTPSConnection):
    """A pool of connections with TLS."""


class _BoundedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _BoundedHTTPConnection


class _BoundedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedHTTPSConnection


class _BoundedAdapter(HTTPAdapter):
    """Makes urllib3 use the classes above, directly and through a proxy."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._tls)
        self._bind(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        contexts = {"ssl_context": self._tls, "proxy_ssl_context": self._tls}
        manager = super().proxy_manager_for(proxy, **kwargs, **contexts)
        self._bind(manager)
        return manager

    def cert_verify(self, conn: Any, *_: Any) -> None:
        # The trusted certificates are in the context since it was made; requests would load them
        # again for each connection, from several threads into one context.
        conn.cert_reqs = "CERT_REQUIRED"

    def _bind(self, manager: urllib3.PoolManager) -> None:
        manager.pool_classes_by_scheme = {"http": _BoundedHTTPPool, "https": _BoundedHTTPSPool}


class _Session(requests.Session):
    """A session that does not look at redirects."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - as requests calls it
        # Even with allow_redirects=False requests reads the whole body of a redirect, without deadline.
        return None


class _Bearer(requests.auth.AuthBase):
    """The key as a header. An `auth` object, so that it stands in no session's repr."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return r


class Transport:
    """GET requests to one origin with the key in the `Authorization` header. Threads may share it.

    `base_url` is `https://host[:port]`, or `http://` for a loopback address. HTTPS_PROXY and NO_PROXY are
    followed as `requests` does, and read once; a .netrc is not read. REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE,
    SSL_CERT_FILE and SSL_CERT_DIR name the trusted authorities (see `_trusted`). Raises ConfigError for a
    base URL, a key, a certificate bundle or a proxy that cannot be used.
    """

    def __init__(
        self, base_url: str, key: Secret, *, max_body_bytes: int, url_name: str = "provider.base_url"
    ) -> None:
        self.origin, loopback = _checked_origin(base_url)
        self._host = masked(urlsplit(self.origin).netloc)
        self._key = _checked_key(key)
        self._max_body_bytes = max_body_bytes
        self._url_name = url_name
        self._session = _Session()
        self._session.trust_env = False  # it would put a .netrc login in the place of our header
        self._session.auth = _Bearer(key)
        self._session.headers = requests.structures.CaseInsensitiveDict(
            {
                "User-Agent": f"assetbatch/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "Connection": "keep-alive",
            }
        )
        if not loopback:
            self._session.proxies = _proxies(self.origin)
        tls = _tls_context() if self.origin.startswith("https:") else None
        for scheme in ("http://", "https://"):  # the session's own adapters keep no deadline
            self._session.mount(scheme, _BoundedAdapter(tls))

    def get(self, target: str, *, seconds: float) -> Response:
        """Return the response of whatever status to one GET of `target` (path and query), within `seconds`.

        Raise Refusal: PROVIDER_DOWN without a complete response in time, NONSENSE for one that is too
        large or encoded in a way that was not asked for. If only the body of a response other than 200
        fails, the status counts, with what has come of the body.
        """
        if seconds <= 0:
            raise Refusal(RefusalKind.PROVIDER_DOWN, "no time was left for the call", sent=False)
        call = _Call(seconds, self._max_body_bytes + _HEADERS_BYTES)
        token = _CALL.set(call)
        try:
            return self._exchange(target, seconds)
        except _TooLargeError:
            message = f"the answer is larger than {self._max_body_bytes} bytes"
            raise Refusal(RefusalKind.NONSENSE, message) from None
        except DecodeError:
            raise Refusal(RefusalKind.NONSENSE, "the answer's compression is broken") from None
        except _FAULTS as error:
            refusal = Refusal(RefusalKind.PROVIDER_DOWN, self._reason(error, call, seconds), sent=call.sent)
            is_refused = not call.is_over and certificate_problem(error)
            refusal.hint = (
                _CERTIFICATE_HINT if is_refused else f"is the network up, and {self._url_name} right?"
            )
            raise refusal from None
        finally:
            _CALL.reset(token)

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()

    def _exchange(self, target: str, seconds: float) -> Response:
        with self._session.get(
            self.origin + target, stream=True, allow_redirects=False, timeout=seconds
        ) as response:
            body = bytearray()
            try:
                self._read(response, body)
            except (_TooLargeError, *_FAULTS):
                if response.status_code == 200:
                    raise
            return Response(response.status_code, response.headers, body)

    def _read(self, response: requests.Response, body: bytearray) -> None:
        if response.headers.get("Content-Encoding", "").strip().lower() not in _ENCODINGS:
            raise DecodeError("an encoding that was not asked for")
        if (response.raw.length_remaining or 0) > self._max_body_bytes:
            raise _TooLargeError
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > self._max_body_bytes:
                raise _TooLargeError

    def _reason(self, error: BaseException, call: _Call, seconds: float) -> str:
        if call.is_over:
            what = "no complete answer" if call.sent else "no connection"
            return f"{self._host}: {what} within {seconds:.3g} s"
        cause = _innermost(error)
        text = getattr(cause, "strerror", "") or str(cause)
        if problem := certificate_problem(error):
            text = f"the certificate is refused: {problem}"
        through = " through the proxy" if isinstance(error, requests.exceptions.ProxyError) else ""
        return masked_prose(one_line(f"{self._host}{through}: {text or type(cause).__name__}", self._key))


def _innermost(error: BaseException) -> BaseException:
    """Return the error that requests and urllib3 wrapped: the one with the system's own words."""
    for _ in range(10):
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, BaseException) else error.__cause__
        if inner is None:
            inner = next((arg for arg in reversed(error.args) if isinstance(arg, BaseException)), None)
        if inner is None:
            break
        error = inner
    return error


def _checked_origin(base_url: str) -> tuple[str, bool]:
    """Return `scheme://host[:port]` of the base URL, and whether it is on this machine."""
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or not host.isascii():
        raise ConfigError(
            "provider.base_url is not a web address", hint="it looks like https://api.massive.com"
        )
    if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(
            f"provider.base_url has more than a host: {parts.scheme}://{masked(host)}",
            hint="write only https://HOST or https://HOST:PORT; the key goes into POLYGON_API_KEY",
        )
    loopback = _is_loopback(host)
    if parts.scheme == "http" and not loopback:
        raise ConfigError(
            f"provider.base_url http://{masked(host)} would send the API key unencrypted",
            hint="use https; http is allowed for this machine only (127.0.0.1, localhost)",
        )
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else ""), loopback


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_key(key: Secret) -> Secret:
    value = key.reveal()
    # requests would show the whole header in its error.
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(
            "the API key is empty or has characters that no key has",
            hint=f"check {key.name or 'POLYGON_API_KEY'} for spaces and line ends",
        )
    return key


def _proxies(origin: str) -> dict[str, str]:
    proxies = get_environ_proxies(origin)
    chosen = select_proxy(origin, proxies) or ""
    kind = chosen.partition(":")[0]
    shown = kind if may_be_quoted(kind) else HIDDEN
    if "://" in chosen and not chosen.lower().startswith(("http://", "https://")):
        raise ConfigError(
            f"the proxy of the environment is of a kind that is not supported: {shown}",
            hint="set HTTPS_PROXY to an http:// or https:// proxy, or NO_PROXY to the API's host",
        )
    return proxies


def _trusted() -> list[tuple[str, str]]:
    """Return files and folders of the trusted authorities, each with the variable that names it.

    REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE replaces everything. Otherwise, as for OpenSSL, SSL_CERT_FILE
    replaces the usual authorities, and the folders of SSL_CERT_DIR are trusted besides.
    """
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if bundle := os.environ.get(name):
            return [(bundle, name)]
    file = os.environ.get("SSL_CERT_FILE")
    folders = os.environ.get("SSL_CERT_DIR", "").split(os.pathsep)
    usual = (file, "SSL_CERT_FILE") if file else (DEFAULT_CA_BUNDLE_PATH, "the installation")
    return [usual, *((folder, "SSL_CERT_DIR") for folder in folders if folder)]


def _tls_context() -> ssl.SSLContext:
    context = create_urllib3_context()
    context.sslsocket_class = _BoundedTLSSocket
    for place, name in _trusted():
        _trust(context, place, name)
    return context


def _trust(context: ssl.SSLContext, place: str, name: str) -> None:
    try:
        if os.path.isdir(place):
            context.load_verify_locations(capath=place)
        else:
            context.load_verify_locations(cafile=place)
    except OSError as error:  # ssl.SSLError is one
        problem = error.strerror or masked_prose(str(error))
        raise ConfigError(
            f"the certificates in {masked(place)} cannot be used: {problem}",
            hint=f"{name} names them; unset it to trust the usual authorities",
        ) from None
