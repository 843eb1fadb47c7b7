"""Ask Redis whether it would take a command, without running it."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from assetbatch.errors import RedisError
from assetbatch.state.connection import RedisClient, redis_errors

Command = tuple[str, ...]


def preflight_errors(client: RedisClient, *commands: Command) -> list[RedisError | None]:
    """Return for each command the error that it would raise (no right, no memory, no writes at all), or None.

    The commands are queued in a transaction that is discarded: Redis denies what it would deny, and runs
    nothing. Raise RedisError where it cannot be asked, or takes no transactions.
    """
    with redis_errors():
        pool = client.connection_pool
        connection = pool.get_connection()
        try:
            # Not by the client: it would repeat a command on a new connection, outside of the transaction.
            _reply(connection, ("MULTI",))
            found = [_preflight_error(connection, command) for command in commands]
            _reply(connection, ("DISCARD",))
        except BaseException:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
    return found


def _preflight_error(connection: Any, command: Command) -> RedisError | None:
    try:
        try:
            _reply(connection, command)
        except ResponseError:
            with redis_errors():
                raise
    except RedisError as error:
        return error
    return None


def _reply(connection: Any, command: Command) -> None:
    connection.send_command(*command, check_health=False)
    connection.read_response()
