"""What the options and the environment of `setup` say, read by the rules of the configuration itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from assetbatch.config import built_in_config, load
from assetbatch.config.environment import SECRETS
from assetbatch.config.loading import Unwritten
from assetbatch.config.reading import ConfigFile
from assetbatch.config.urls import holds_secret
from assetbatch.errors import ConfigError
from assetbatch.setup.files import Answers, assets_of

STDIN = "-"
ALL = "all"

_KEYS = ("POLYGON_API_KEY", "MASSIVE_API_KEY")
_DATABASE = ("DATABASE_URL", "DB_HOST", "DB_PORT", "DB_NAME", "DB_USER")
SETTINGS = {
    "api_key": "api_key",
    "tier": "rate_limiting.tier",
    "database": "database.url",
    "redis": "redis.url",
    "base_url": "provider.base_url",
    "notify": "notify",
}
"""The fields of `Answers` that the environment may answer, each with its setting."""


class Given(NamedTuple):
    """The options. Each `_file` names a file that holds a secret, `-` is stdin."""

    key_file: str | None = None
    plan: str | None = None
    database: str | None = None
    database_file: str | None = None
    redis: str | None = None
    redis_file: str | None = None
    base_url: str | None = None
    priority: str | None = None
    assets: str | None = None


def answers_of(given: Given, env: Mapping[str, str], folder: Path) -> tuple[Answers, list[str]]:
    """Return the answers that need no question, and the variables that no start by cron would see.

    Raise ConfigError for what is wrong, and for a secret on the command line.
    """
    _refuse_secrets(given)
    variables = _variables(given, env)
    commands = {
        name: variables.pop(name) for name in [f"{one}_COMMAND" for one in SECRETS] if variables.get(name)
    }
    nothing = Unwritten(ConfigFile(folder / "config.yml", "config.yml", b""), {})
    if "DATABASE_URL_COMMAND" in commands:
        variables = {name: value for name, value in variables.items() if not name.startswith("DB_PASSWORD")}
    try:
        config = load(None, variables, cwd=folder, unwritten=nothing)
    except ConfigError as error:
        raise ConfigError(_by_options(error.message, given), hint=error.hint) from None
    found = config.origins
    unseen = [origin.rpartition(" ")[2] for path, origin in found.items() if path not in SETTINGS.values()]
    answers = Answers(
        api_key=config.api_key,
        tier=config.rate_limiting.tier if "rate_limiting.tier" in found else None,
        database=config.database.url,
        redis=config.redis.url,
        base_url=str(config.provider.base_url) if "provider.base_url" in found else None,
        priority=None if given.priority is None else split_symbols(given.priority),
        secondary=None if given.assets is None else split_symbols(given.assets),
        notify=config.notify,
        commands=commands,
    )
    return answers, unseen


class Left(NamedTuple):
    """Variables that differ from what is configured, which stays, and how to take them all the same."""

    names: tuple[str, ...]
    hint: str


def without_shell(
    answers: Answers,
    given: Given,
    env: Mapping[str, str],
    configured: Collection[str],
    dotenv: Mapping[str, str],
) -> tuple[Answers, list[Left]]:
    """Return the answers without those of the environment to what is `configured`, and what was left out.

    A shell may have the variables of another program, so only an option changes a setting that is there.
    `answers` are those that differ from it; `dotenv` is the present `.env`.
    """
    commands = dict(answers.commands)
    cleared: dict[str, Any] = {}
    left = []
    for field, (variables, hint, by_option) in _sources(given).items():
        if by_option or SETTINGS[field] not in configured:
            continue
        of_field = [f"{name}_COMMAND" for name in variables if f"{name}_COMMAND" in commands]
        if new := tuple(name for name in of_field if commands[name] != dotenv.get(name)):
            left.append(Left(new, "to take it, write it into the .env beside config.yml"))
        for name in of_field:
            del commands[name]
        if getattr(answers, field) is not None:
            forms = [f"{name}{suffix}" for name in variables for suffix in ("", "_FILE")]
            left.append(Left(tuple(name for name in forms if env.get(name)), hint))
            cleared[field] = None
    return answers._replace(commands=commands, **cleared), left


def _sources(given: Given) -> dict[str, tuple[tuple[str, ...], str, bool]]:
    """Return for each field its variables, how to change it, and whether an option does."""
    return {
        "api_key": (_KEYS, "--key-file takes it", given.key_file is not None),
        "tier": (("POLYGON_TIER",), "--plan takes it", given.plan is not None),
        "database": (
            (*_DATABASE, "DB_PASSWORD"),
            "--database or --database-file takes it",
            (given.database or given.database_file) is not None,
        ),
        "redis": (
            ("REDIS_URL", "REDIS_PASSWORD"),
            "--redis or --redis-file takes it",
            (given.redis or given.redis_file) is not None,
        ),
        "base_url": (("POLYGON_BASE_URL",), "--base-url takes it", given.base_url is not None),
        "notify": (("ASSETBATCH_NOTIFY_URLS",), "change it where it is configured", False),
    }


def split_symbols(text: str) -> tuple[str, ...]:
    """Return the symbols of a list, divided by commas if it has any, else by white space.

    `all` is every secondary asset of the shipped file.
    """
    if text.strip() == ALL:
        return tuple(asset["symbol"] for asset in assets_of(built_in_config().decode(), "secondary_assets"))
    parts = text.split(",") if "," in text else text.split()
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _refuse_secrets(given: Given) -> None:
    for option, value in (("--database", given.database), ("--redis", given.redis)):
        if value and holds_secret(value):
            raise ConfigError(
                f"{option}: found a password on the command line, where every user of this host can read it",
                hint=f"write the URL into a file and name it with {option}-file, or - for stdin",
            )
    if [given.key_file, given.database_file, given.redis_file].count(STDIN) > 1:
        raise ConfigError("only one of the files can be - (stdin)", hint="name files for the others")


def _by_options(message: str, given: Given) -> str:
    """Return a message about variables with the options that gave them."""
    for variable, option, value in (
        ("POLYGON_API_KEY", "--key", given.key_file),
        ("DATABASE_URL", "--database", given.database or given.database_file),
        ("REDIS_URL", "--redis", given.redis or given.redis_file),
        ("POLYGON_BASE_URL", "--base-url", given.base_url),
    ):
        if value is not None:
            message = message.replace(f"env {variable}_FILE:", f"{option}-file:")
            message = message.replace(
                f"env {variable}:", f"{option}-file:" if value == STDIN else f"{option}:"
            )
    return message


def _variables(given: Given, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the options over it, each as the variable that means the same."""
    variables = dict(env)

    def put(names: tuple[str, ...], value: str | None, file: str | None = None) -> None:
        if value is None and file is None:
            return
        for name in names:
            for suffix in ("", "_FILE", "_COMMAND"):
                variables.pop(f"{name}{suffix}", None)
        if value is not None:
            variables[names[0]] = value
        elif file == STDIN:
            variables[names[0]] = sys.stdin.buffer.read(65_536).decode(errors="replace").strip("\r\n")
        elif file is not None:
            variables[f"{names[0]}_FILE"] = os.path.expanduser(file)

    put(_KEYS, None, given.key_file)
    put(_DATABASE, given.database, given.database_file)
    put(("REDIS_URL",), given.redis, given.redis_file)
    put(("POLYGON_TIER",), given.plan)
    put(("POLYGON_BASE_URL",), given.base_url)
    return variables
