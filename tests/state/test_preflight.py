"""What Redis would refuse is found out without doing it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from assetbatch.errors import RedisError
from assetbatch.state.preflight import preflight_errors
from tests.own_redis import OwnServer, own_server

__all__ = ["own_server"]

WRITE = ("HSET", "{mine}:key", "field", "value")
PUBLISH = ("PUBLISH", "asset:update:XAUUSD", "")


@pytest.fixture
def server(own_server: Callable[..., OwnServer]) -> OwnServer:
    return own_server()


def words(found: list[RedisError | None]) -> list[str]:
    return ["" if refusal is None else refusal.message for refusal in found]


class TestNothingIsDone:
    def test_neither_written_nor_published(self, server: OwnServer) -> None:
        client = server.client()
        listener = client.pubsub()
        listener.subscribe("asset:update:XAUUSD")
        assert listener.get_message(timeout=5)["type"] == "subscribe"
        assert preflight_errors(client, WRITE, PUBLISH) == [None, None]
        client.publish("asset:update:XAUUSD", "the first that is heard")
        assert listener.get_message(timeout=5)["data"] == "the first that is heard"
        assert client.keys() == []
        listener.close()

    def test_nor_is_the_connection_left_in_a_transaction(self, server: OwnServer) -> None:
        client = server.client()
        client.ping()
        preflight_errors(client, WRITE)
        assert client.set("{mine}:key", "1") is True
        assert client.info("clients")["connected_clients"] == 1

    def test_nor_by_a_user_who_may_not_begin_a_transaction(self, server: OwnServer) -> None:
        server.client().execute_command("ACL", "SETUSER", "me", "on", ">pw", "+@all", "-multi", "~*", "&*")
        client = server.client("me:pw")
        with pytest.raises(RedisError, match="redis denies a command"):
            preflight_errors(client, WRITE)
        assert client.keys() == []


class TestIsRefused:
    def test_what_needs_memory_that_is_not_there(self, server: OwnServer) -> None:
        server.client().config_set("maxmemory", 1)
        assert words(preflight_errors(server.client(), WRITE))[0] == "redis is full (maxmemory is reached)"

    def test_a_write_to_a_replica(self, server: OwnServer) -> None:
        server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
        assert words(preflight_errors(server.client(), WRITE, PUBLISH)) == [
            "redis is a read-only replica",
            "",
        ]

    def test_a_write_where_snapshots_fail(self, own_server: Callable[..., OwnServer]) -> None:
        server = own_server("--save", "3600 1", "--appendonly", "yes")
        (server.folder / "dump.rdb").mkdir()  # which cannot be replaced by a snapshot
        client = server.client()
        client.set("key", "value")
        client.bgsave()
        while client.info("persistence")["rdb_bgsave_in_progress"]:
            time.sleep(0.01)
        assert words(preflight_errors(client, WRITE))[0].startswith("redis takes no writes: MISCONF")

    def test_a_key_and_a_channel_that_are_not_allowed(self, server: OwnServer) -> None:
        server.client().execute_command("ACL", "SETUSER", "me", "on", ">pw", "+@all", "~{other}:*")
        found = words(preflight_errors(server.client("me:pw"), WRITE, PUBLISH))
        assert "key" in found[0]
        assert "channel" in found[1]


def test_a_server_that_is_gone_is_an_error_by_itself(server: OwnServer) -> None:
    client = server.client()
    client.ping()
    server.kill()
    with pytest.raises(RedisError, match="redis cannot be reached"):
        preflight_errors(client, WRITE)
