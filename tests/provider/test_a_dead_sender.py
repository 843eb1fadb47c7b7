"""A process that is killed sends nothing more: what the kernel still had of its request is discarded.

The window counts on it: a dead process' call is taken for one that arrives within a second, or not at all.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

REQUEST_BYTES = 8 * 2**20
"""Far more than the buffers of both ends hold, so that most of it is still with the sender when it dies."""

SENDER = f"""
import sys
from assetbatch.secret import Secret
from assetbatch.provider.transport import Transport
transport = Transport(sys.argv[1], Secret("made-up-key-123"), max_body_bytes=1000)
transport.get("/" + "x" * {REQUEST_BYTES}, seconds=30)
"""


def drained(connection: socket.socket) -> int:
    """How many bytes arrive until the connection ends."""
    received = 0
    connection.settimeout(10)
    try:
        while some := connection.recv(2**16):
            received += len(some)
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "alive"])
def test_a_request_that_its_sender_did_not_live_to_send_does_not_arrive(is_killed: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sender = subprocess.Popen([sys.executable, "-c", SENDER, f"http://127.0.0.1:{port}"])
        connection, _ = server.accept()
        with connection:
            before = -1
            while before != (now := len(connection.recv(2**24, socket.MSG_PEEK))):
                before = now  # until nothing more comes, since nobody reads
                time.sleep(0.2)
            if is_killed:
                sender.kill()
                sender.wait()
            received = (
                drained(connection) if is_killed else len(connection.recv(REQUEST_BYTES, socket.MSG_WAITALL))
            )
        sender.kill()
        sender.wait()
    assert before < REQUEST_BYTES / 2, "the buffers hold it all: this test shows nothing"
    if is_killed:
        assert received <= before + 2**16
    else:
        assert received == REQUEST_BYTES
