"""What a command sends to Redis, PostgreSQL and the provider, recorded, and the program that sends the same.

`python -m benchmarks.recording FILE COMMAND…` runs `assetbatch COMMAND…` and writes its steps to FILE, for
`SAME_STEPS` to repeat: with the same libraries, and with nothing of ours.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import redis
import redis.client
import requests

Step: TypeAlias = tuple[str, Any]
"""`redis`: a command. `redis pipeline`: whether it is a transaction, and its commands. `sql`: a statement and
its parameters. `sql pipeline`: such pairs. `http`: a URL."""

SAME_STEPS = """
import pickle

import typer

app = typer.Typer()


@app.command()
def cycle(config: str, redis_url: str, database_url: str, steps: str) -> None:
    import psycopg
    import redis
    import requests
    import yaml

    with open(config) as file:
        yaml.load(file, Loader=yaml.CSafeLoader)
    with open(steps, "rb") as file:
        recorded = pickle.load(file)
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    connection = None

    def ask(statement, parameters):
        cursor = connection.execute(statement, parameters)
        while True:
            if cursor.description:
                cursor.fetchall()
            if not cursor.nextset():
                return

    for kind, what in recorded:
        if kind == "redis":
            client.execute_command(*what)
        elif kind == "redis pipeline":
            transaction, commands = what
            pipeline = client.pipeline(transaction=transaction)
            for command in commands:
                pipeline.execute_command(*command)
            pipeline.execute()
        elif kind == "http":
            requests.get(what, headers={"Authorization": "Bearer made-up"}, timeout=10).raise_for_status()
        elif connection is None:
            connection = psycopg.connect(database_url, autocommit=True, prepare_threshold=None)
            ask(*what)
        elif kind == "sql":
            ask(*what)
        else:
            with connection.pipeline():
                cursors = [connection.execute(*each) for each in what]
            for cursor in cursors:
                if cursor.description:
                    cursor.fetchall()
    connection.close()
    client.close()


app()
"""
# The first step of the database opens it, as ours does. The answers are read, and nothing is made of them.


def _plain(value: Any) -> Any:
    """Return a parameter without our own types, which the program must not load."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if type(value).__module__.startswith("assetbatch"):
        raise TypeError(f"a parameter of our own type: {value!r}")
    return value


def record(steps: list[Step]) -> None:
    """Let this process note what it sends from now on, in order."""
    execute_command: Any = redis.Redis.execute_command
    execute = redis.client.Pipeline.execute
    statement, pipeline = psycopg.Cursor.execute, psycopg.Connection.pipeline
    sent = requests.Session.get
    places: list[list[Step]] = [steps]

    def command(self: Any, *arguments: Any, **options: Any) -> Any:
        steps.append(("redis", _plain(arguments)))
        return execute_command(self, *arguments, **options)

    def commands(self: Any, *arguments: Any, **options: Any) -> Any:
        stack = [_plain(arguments) for arguments, _ in self.command_stack]
        steps.append(("redis pipeline", (self.transaction, stack)))
        return execute(self, *arguments, **options)

    def ask(self: Any, query: Any, parameters: Any = None, **options: Any) -> Any:
        if isinstance(self, psycopg.ClientCursor):  # it puts the parameters into the text
            places[-1].append(("sql", (self.mogrify(query, parameters), None)))
        else:
            places[-1].append(("sql", (query, _plain(parameters))))
        return statement(self, query, parameters, **options)

    @contextmanager
    def together(self: Any) -> Iterator[Any]:
        inner: list[Step] = []
        places.append(inner)
        try:
            with pipeline(self) as piped:
                yield piped
        finally:
            places.pop()
            steps.append(("sql pipeline", [what for _, what in inner]))

    def get(self: Any, url: Any, **options: Any) -> Any:
        address = requests.Request("GET", url, params=options.get("params")).prepare().url
        steps.append(("http", address))
        return sent(self, url, **options)

    for owner, name, replacement in (
        (redis.Redis, "execute_command", command),
        (redis.client.Pipeline, "execute", commands),
        (psycopg.Cursor, "execute", ask),
        (psycopg.Connection, "pipeline", together),
        (requests.Session, "get", get),
    ):
        setattr(owner, name, replacement)


def main() -> None:
    """Run the command and write its steps."""
    from assetbatch.cli import main as run

    file, sys.argv[1:] = Path(sys.argv[1]), sys.argv[2:]
    steps: list[Step] = []
    record(steps)
    try:
        run()
    finally:
        file.write_bytes(pickle.dumps(steps))


if __name__ == "__main__":
    main()
