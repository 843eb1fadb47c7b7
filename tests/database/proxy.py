"""A wire between a client and PostgreSQL that counts the turns of the talk and can be cut."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from types import TracebackType

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Proxy:
    """Listens on 127.0.0.1 and passes everything on; a context manager.

    `turns` counts how often the client spoke after the server had: the round trips. With `cut_at` set,
    the next message that contains it is passed on and the server's answer awaited, but instead of
    handing it over both connections are closed. From the first message on that contains `freeze_at`,
    nothing is passed on any more, in no connection: as if the server were frozen.
    """

    def __init__(self, url: str) -> None:
        given = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
        self._host, self._port = given["host"], given.get("port", "5432")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = make_conninfo(
            **{**given, "host": "127.0.0.1", "port": str(self._listener.getsockname()[1])},
            sslmode="disable",
            gssencmode="disable",
        )
        self.turns = 0
        self.cuts = 0
        self.cut_at: bytes | None = None
        self.freeze_at: bytes | None = None
        self._flows = threading.Event()
        self._flows.set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Proxy:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        for thread in self._threads:
            thread.join(5)

    def freeze(self) -> None:
        """Pass nothing on from now on."""
        self._flows.clear()

    def thaw(self) -> None:
        """Pass on what has come meanwhile, and go on."""
        self.freeze_at = None
        self._flows.set()

    def close(self) -> None:
        """Take no further connections."""
        self.thaw()
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type] # any callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._pass_on, client, self._dial())

    def _dial(self) -> socket.socket:
        if self._host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{self._host}/.s.PGSQL.{self._port}")
            return server
        return socket.create_connection((self._host, int(self._port)))

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        speaker = None
        with suppress(BrokenPipeError), client, server, selectors.DefaultSelector() as both:
            both.register(client, selectors.EVENT_READ, server)
            both.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in both.select():
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data:
                        return
                    if self.freeze_at is not None and self.freeze_at in data:
                        self._flows.clear()
                    self._flows.wait()
                    if source is client and speaker is not client:
                        self.turns += 1
                    speaker = source
                    target.sendall(data)
                    if source is client and self.cut_at and self.cut_at in data:
                        self.cut_at = None
                        self.cuts += 1
                        server.settimeout(0.3)  # in a pipeline there may be no answer yet
                        with suppress(TimeoutError):
                            server.recv(1)
                        return
