"""The settings of the environment and of a `.env`, each with the variable that it came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from assetbatch.config.checking import KeyPath
from assetbatch.config.notify_urls import NotifyUrls
from assetbatch.config.urls import DatabaseUrl, RedisUrl, ServerUrl, UrlNames
from assetbatch.config.wording import named, shown
from assetbatch.secret import Secret

_LARGEST_SECRET_FILE = 65_536

SECRETS = (
    "POLYGON_API_KEY",
    "MASSIVE_API_KEY",
    "DATABASE_URL",
    "DB_PASSWORD",
    "REDIS_URL",
    "REDIS_PASSWORD",
    "ASSETBATCH_NOTIFY_URLS",
)
"""The variables that hold a secret. Each has NAME_FILE and NAME_COMMAND beside it."""


class Setting(NamedTuple):
    """A value for the setting at `path`, and its origin."""

    path: KeyPath
    value: object
    origin: str


class Layer(NamedTuple):
    """One set of variables: its name for origins, and the folder its relative paths start from.

    `is_ours` is False if others may write it, so that they could make us run any command.
    """

    name: str
    variables: Mapping[str, str]
    folder: Path
    is_ours: bool = True


class Found(NamedTuple):
    """The value of a variable and its origin. The value of a secret may be a function that returns it."""

    value: str | Callable[[], str]
    origin: str


class Environment:
    """Variables from several layers. The first layer wins; an empty variable is not set."""

    def __init__(self, layers: list[Layer]) -> None:
        self._layers = layers
        self.problems: list[tuple[str, str]] = []
        """Origin and text of what is wrong."""

    def get(self, name: str) -> tuple[str, str] | None:
        """Return value and origin of a variable in the first layer that has it."""
        for layer in self._layers:
            if value := layer.variables.get(name):
                return value, f"{layer.name} {name}"
        return None

    def get_secret(self, *names: str, check: Callable[[str], str] = str) -> Found | None:
        """Return a secret that one of the names gives, or the file that NAME_FILE names, or the command
        NAME_COMMAND.

        The first layer that has any of them decides. In that layer they must agree. `check` is for what a
        command prints: it returns the secret, or raises ValueError.
        """
        for layer in self._layers:
            found = [one for name in names if (one := self._secret(layer, name, check))]
            if found:
                values = {value for value, _ in found}
                others = " and ".join(origin for _, origin in found)
                if len(values) > 1 and not all(isinstance(value, str) for value in values):
                    self.problems.append((others, "found beside each other, expected only one of them"))
                elif len(values) > 1:
                    self.problems.append((others, "differ, expected one of them, or the same value"))
                return found[0]
        return None

    def secret_files(self) -> dict[str, Path]:
        """Return the files that hold secrets, each with the origin that names it, used or not."""
        return {
            f"{layer.name} {name}_FILE": layer.folder / file
            for layer in self._layers
            for name in SECRETS
            if (file := layer.variables.get(f"{name}_FILE"))
        }

    def _secret(self, layer: Layer, name: str, check: Callable[[str], str]) -> Found | None:
        written = [key for key in (name, f"{name}_FILE", f"{name}_COMMAND") if layer.variables.get(key)]
        if not written:
            return None
        key = written[-1]
        value, origin = layer.variables[key], f"{layer.name} {key}"
        if len(written) > 1:
            text = f"found besides {written[0]}, expected only one of them"
            self.problems.append((origin, text))
            return None
        if key == name:
            return Found(value, origin)
        if key.endswith("_COMMAND"):
            return self._command(layer, value, origin, check)
        try:
            with (layer.folder / value).open("rb") as stream:
                content = stream.read(_LARGEST_SECRET_FILE + 1)
            text = content.decode().rstrip("\r\n")
        except OSError as error:
            problem = f"cannot be read: {reason(error)}"
        except ValueError:  # not UTF-8, or a NUL in the path
            problem = "is no text file"
        else:
            if text and "\0" not in text and len(content) <= _LARGEST_SECRET_FILE:
                return Found(text, origin)
            problem = "is no text file" if text else "is empty"
        # Its path is not told: where a key was put by mistake, it would be the key.
        self.problems.append((origin, f"the file it names {problem}"))
        return None

    def _command(self, layer: Layer, line: str, origin: str, check: Callable[[str], str]) -> Found | None:
        from assetbatch.config.secret_commands import SecretCommand, words_of  # few have one

        if not layer.is_ours:
            text = f"not run: others may write the {layer.name} that it stands in (chmod 600)"
            self.problems.append((origin, text))
            return None
        try:
            words = words_of(line)
        except ValueError as error:
            self.problems.append((origin, str(error)))
            return None
        return Found(SecretCommand(words, origin, layer.folder, self._layers[0].variables, check), origin)


def reason(error: OSError) -> str:
    """Return the system's words for a failure in lower case, such as `no such file or directory`."""
    return (error.strerror or type(error).__name__).lower()


def read_settings(environment: Environment, *, sandbox: bool) -> list[Setting]:
    """Return the settings of the variables. A sandbox takes only those that name no server."""
    settings = [
        Setting(path, read(found[0]), found[1])
        for name, path, read in _VARIABLES
        if not (sandbox and path in _SERVERS) and (found := environment.get(name))
    ]
    if sandbox:
        return settings
    database, redis = _url(environment, "DATABASE_URL", DatabaseUrl), _url(environment, "REDIS_URL", RedisUrl)
    if database:
        settings.append(Setting(("database", "url"), *database))
    else:
        settings.extend(_database_of_parts(environment))
    if redis:
        settings.append(Setting(("redis", "url"), *redis))
    return settings


def _url(environment: Environment, name: str, kind: type[ServerUrl]) -> tuple[object, str] | None:
    found = environment.get_secret(name, check=lambda text: kind.parse(text).reveal())
    if found is None:
        return None
    value, origin = found
    return value if isinstance(value, str) else kind(value), origin


def read_api_key(environment: Environment) -> Found | None:
    """Return the API key if it can be sent in a header. Its problems do not repeat it."""
    found = environment.get_secret("POLYGON_API_KEY", "MASSIVE_API_KEY", check=_checked_key)
    if found and isinstance(found.value, str):
        try:
            _checked_key(found.value)
        except ValueError as error:
            environment.problems.append((found.origin, str(error)))
    return found


def _checked_key(key: str) -> str:
    if not re.fullmatch(r"[!-~]+", key):
        raise ValueError(
            "found a space, a control character or a letter beyond ASCII in the key, expected the key alone"
        )
    return key


def read_password(environment: Environment, name: str, url: ServerUrl) -> Setting | None:
    """Return the URL with the password of DB_PASSWORD or REDIS_PASSWORD, and the origin of the password.

    A URL that holds a password keeps it. Return None where there is nothing to change.
    """
    if url.embedded_if_known or url.has_password or not (found := environment.get_secret(name)):
        return None
    section = "redis" if isinstance(url, RedisUrl) else "database"
    password = Secret(found.value, named(found.origin))
    return Setting((section, "url"), url.with_password(password), found.origin)


def read_notify_urls(environment: Environment) -> tuple[NotifyUrls, str] | None:
    """Return the addresses of whom to notify, and their origin."""
    found = environment.get_secret("ASSETBATCH_NOTIFY_URLS", check=_checked_urls)
    if found is None:
        return None
    value, origin = found
    if not isinstance(value, str):
        return NotifyUrls(value), origin
    try:
        return NotifyUrls.parse(value), origin
    except ValueError as error:
        environment.problems.append((origin, str(error)))
    return None


def _checked_urls(text: str) -> str:
    NotifyUrls.parse(text)
    return text


def _database_of_parts(environment: Environment) -> list[Setting]:
    """Return `database.url` from DB_HOST, DB_PORT, DB_NAME and DB_USER, if any is set.

    DB_PASSWORD alone goes with whatever URL there is, as `read_password` says.
    """
    host, port, name, user = (environment.get(f"DB_{part}") for part in ("HOST", "PORT", "NAME", "USER"))
    given = [one for one in (host, port, name, user) if one]
    if not given:
        return []
    if not (host and name):
        password = environment.get_secret("DB_PASSWORD")
        missing = " and ".join(key for key, one in (("DB_HOST", host), ("DB_NAME", name)) if not one)
        text = f"found without {missing}, expected DB_HOST and DB_NAME too, or DATABASE_URL instead"
        origins = [one[1] for one in given] + ([password.origin] if password else [])
        environment.problems.append((", ".join(origins), text))
        return []
    number = _whole(port[0]) if port else None
    if port and not (isinstance(number, int) and 1 <= number <= 65535):
        text = f"found {shown(number)}, expected a whole number from 1 to 65535"
        environment.problems.append((port[1], text))
        return []
    try:
        url = DatabaseUrl.of_parts(
            host=host[0],
            port=number if isinstance(number, int) else None,
            name=name[0],
            user=user[0] if user else "",
        )
    except ValueError as error:
        environment.problems.append((host[1], str(error)))
        return []
    names = UrlNames(
        address=" and ".join(named(origin) for _, origin in filter(None, (host, port))),
        database=named(name[1]),
        login=named(user[1]) if user else "DB_USER",
    )
    return [Setting(("database", "url"), url.called(names), ", ".join(one[1] for one in given))]


def _whole(text: str) -> object:
    """Return the whole number in a text, or else the text, which the type check then refuses."""
    return int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text, re.ASCII) else text


def _calls(text: str) -> object:
    return None if text.strip().lower() in ("unlimited", "null") else _whole(text)


def _truth(text: str) -> object:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    return words.get(text.strip().lower(), text)


_VARIABLES: tuple[tuple[str, KeyPath, Callable[[str], object]], ...] = (
    ("POLYGON_BASE_URL", ("provider", "base_url"), str),
    ("POLYGON_RATE_LIMIT", ("rate_limiting", "calls_per_minute"), _calls),
    ("POLYGON_TIER", ("rate_limiting", "tier"), str),
    ("BATCH_INTERVAL_MINUTES", ("batch", "interval_minutes"), _whole),
    ("PRIORITY_ASSETS_ENABLED", ("batch", "priority_assets_enabled"), _truth),
    ("QUEUE_MAX_SIZE", ("queue", "max_size"), _whole),
)
_SERVERS = {("provider", "base_url")}
