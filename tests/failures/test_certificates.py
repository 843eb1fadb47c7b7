"""A certificate that is not trusted is told as one, with what to do: by Redis over TLS and by PostgreSQL."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from assetbatch.certificates import certificate_problem
from assetbatch.database.session import Target
from assetbatch.errors import RedisError
from assetbatch.secret import Secret
from assetbatch.state.connection import connect, redis_errors
from tests.documented import shows
from tests.program import BARE
from tests.provider.servers import make_certificate, server_tls


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on loopback that gives each connection to `answer`; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, suppress(OSError):
                        answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def redis_error(url: str) -> RedisError:
    client = connect(Secret(url))
    with pytest.raises(RedisError) as caught, redis_errors():
        client.ping()
    client.close()
    return caught.value


def test_redis_with_a_certificate_of_nobody(pem: Path) -> None:
    with listening(lambda wire: server_tls(pem).wrap_socket(wire, server_side=True).close()) as port:
        error = redis_error(f"rediss://127.0.0.1:{port}")
    assert error.message == "redis: the certificate is refused: self-signed certificate"
    shows(error.message, "redis: the certificate is refused: …")
    assert "ssl_ca_certs" in (error.hint or "")


def test_redis_with_a_certificate_for_another_name(pem: Path) -> None:
    with listening(lambda wire: server_tls(pem).wrap_socket(wire, server_side=True).close()) as port:
        error = redis_error(f"rediss://localhost:{port}?ssl_ca_certs={pem}")
    assert error.message.startswith("redis: the certificate is refused: Hostname mismatch")


def test_a_server_that_wants_our_certificate() -> None:
    refused = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]")
    refused.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert certificate_problem(ConnectionError(refused)) == "certificate required"


def test_redis_without_tls_is_told_apart(pem: Path) -> None:
    with listening(lambda wire: wire.sendall(b"-ERR protocol\r\n")) as port:
        error = redis_error(f"rediss://127.0.0.1:{port}")
    shows(error.message, "redis: no TLS connection: …")
    assert "rediss://" in (error.hint or "")


def postgresql(pem: Path) -> Callable[[socket.socket], None]:
    def answer(wire: socket.socket) -> None:
        wire.recv(8)  # SSLRequest
        wire.sendall(b"S")
        server_tls(pem).wrap_socket(wire, server_side=True).close()

    return answer


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=system"),
        ("localhost", "sslmode=verify-full&sslrootcert={pem}"),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert=/nowhere/root.pem"),
    ],
)
def test_postgresql_with_a_certificate_that_cannot_be_trusted(pem: Path, host: str, options: str) -> None:
    with listening(postgresql(pem)) as port:
        url = f"postgresql://me@{host}:{port}/n?gssencmode=disable&{options.format(pem=pem)}"
        target = Target(url, connect_seconds=3)
        with pytest.raises(psycopg.OperationalError) as caught:
            target.connect(5)
    error = target.explain(caught.value, "connecting")
    shows(error.message, "connecting at …: a certificate is refused…")
    assert "sslrootcert=FILE" in (error.hint or "")


def test_postgresql_without_tls_is_told_apart() -> None:
    def answer(wire: socket.socket) -> None:
        wire.recv(8)  # SSLRequest
        wire.sendall(b"N")

    with listening(answer) as port:
        target = Target(f"postgresql://me@127.0.0.1:{port}/n?sslmode=require", connect_seconds=3)
        with pytest.raises(psycopg.OperationalError) as caught:
            target.connect(5)
    assert "the server speaks no TLS" in target.explain(caught.value, "connecting").message


def test_the_provider_with_a_certificate_of_nobody(pem: Path, tmp_path: Path) -> None:
    with listening(lambda wire: server_tls(pem).wrap_socket(wire, server_side=True).close()) as port:
        (tmp_path / "config.yml").write_text(
            "priority_assets: [{symbol: BTCUSD, polygon_ticker: 'X:BTCUSD', asset_type: crypto}]\n"
            "database: {url: embedded}\nredis: {url: embedded}\n"
            f"provider: {{base_url: 'https://127.0.0.1:{port}'}}\n"
        )
        env = {**BARE, "HOME": str(tmp_path), "POLYGON_API_KEY": "made-up-key-123"}
        for command in ("init", "run-priority"):
            done = subprocess.run(
                [sys.executable, "-m", "assetbatch", command],
                cwd=tmp_path,
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
    assert done.returncode == 3
    shows(done.stderr, "the API cannot be reached: … the certificate is refused: …")
