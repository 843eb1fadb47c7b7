"""The settings of the environment and of a `.env`, each with the variable that it came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from assetbatch.config.checking import KeyPath
from assetbatch.config.notify_urls import NotifyUrls
from assetbatch.config.urls import DatabaseUrl
from assetbatch.config.wording import shown

_LARGEST_SECRET_FILE = 65_536


class Setting(NamedTuple):
    """A value for the setting at `path`, and its origin."""

    path: KeyPath
    value: object
    origin: str


class Layer(NamedTuple):
    """One set of variables: its name for origins, and the folder its relative paths start from."""

    name: str
    variables: Mapping[str, str]
    folder: Path


class Found(NamedTuple):
    """The value of a variable and its origin."""

    value: str
    origin: str


class Environment:
    """Variables from several layers. The first layer wins; an empty variable is not set."""

    def __init__(self, layers: list[Layer]) -> None:
        self._layers = layers
        self.problems: list[tuple[str, str]] = []
        """Origin and text of what is wrong."""

    def get(self, name: str) -> Found | None:
        """Return the value of a variable in the first layer that has it."""
        for layer in self._layers:
            if value := layer.variables.get(name):
                return Found(value, f"{layer.name} {name}")
        return None

    def get_secret(self, *names: str) -> Found | None:
        """Return a secret that one of the names gives, or the file that NAME_FILE names.

        The first layer that has any of them decides. In that layer they must agree.
        """
        for layer in self._layers:
            found = [one for name in names if (one := self._secret(layer, name))]
            if found:
                if len({value for value, _ in found}) > 1:
                    others = " and ".join(origin for _, origin in found)
                    self.problems.append((others, "differ, expected one of them, or the same value"))
                return found[0]
        return None

    def _secret(self, layer: Layer, name: str) -> Found | None:
        value, file = layer.variables.get(name), layer.variables.get(f"{name}_FILE")
        origin = f"{layer.name} {name}"
        if not file:
            return Found(value, origin) if value else None
        origin += "_FILE"
        if value:
            self.problems.append((origin, f"found besides {name}, expected only one of them"))
            return None
        try:
            with (layer.folder / file).open("rb") as stream:
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


def reason(error: OSError) -> str:
    """Return the system's words for a failure in lower case, such as `no such file or directory`."""
    return (error.strerror or type(error).__name__).lower()


def read_settings(environment: Environment, *, sandbox: bool) -> list[Setting]:
    """Return the settings of the variables. A sandbox takes only those that name no server."""
    settings = [
        Setting(path, read(found.value), found.origin)
        for name, path, read in _VARIABLES
        if not (sandbox and path in _SERVERS) and (found := environment.get(name))
    ]
    if sandbox:
        return settings
    database, redis = (environment.get_secret(name) for name in ("DATABASE_URL", "REDIS_URL"))
    if database:
        settings.append(Setting(("database", "url"), database.value, database.origin))
    else:
        settings.extend(_database_of_parts(environment))
    if redis:
        settings.append(Setting(("redis", "url"), redis.value, redis.origin))
    return settings


def read_api_key(environment: Environment) -> Found | None:
    """Return the API key if it can be sent in a header. Its problems do not repeat it."""
    found = environment.get_secret("POLYGON_API_KEY", "MASSIVE_API_KEY")
    if found and not re.fullmatch(r"[!-~]+", found.value):
        text = (
            "found a space, a control character or a letter beyond ASCII in the key, expected the key alone"
        )
        environment.problems.append((found.origin, text))
    return found


def read_notify_urls(environment: Environment) -> tuple[NotifyUrls, str] | None:
    """Return the addresses of whom to notify, and their origin."""
    if found := environment.get_secret("ASSETBATCH_NOTIFY_URLS"):
        try:
            return NotifyUrls.parse(found.value), found.origin
        except ValueError as error:
            environment.problems.append((found.origin, str(error)))
    return None


def _database_of_parts(environment: Environment) -> list[Setting]:
    """Return `database.url` from DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD, if any is set."""
    host, port, name, user = (environment.get(f"DB_{part}") for part in ("HOST", "PORT", "NAME", "USER"))
    password = environment.get_secret("DB_PASSWORD")
    given = [one for one in (host, port, name, user, password) if one]
    if not given:
        return []
    if not (host and name):
        missing = " and ".join(key for key, one in (("DB_HOST", host), ("DB_NAME", name)) if not one)
        text = f"found without {missing}, expected DB_HOST and DB_NAME too, or DATABASE_URL instead"
        environment.problems.append((", ".join(one.origin for one in given), text))
        return []
    number = _whole(port.value) if port else None
    if port and not (isinstance(number, int) and 1 <= number <= 65535):
        text = f"found {shown(number)}, expected a whole number from 1 to 65535"
        environment.problems.append((port.origin, text))
        return []
    try:
        url = DatabaseUrl.of_parts(
            host=host.value,
            port=number if isinstance(number, int) else None,
            name=name.value,
            user=user.value if user else "",
            password=password.value if password else "",
        )
    except ValueError as error:
        environment.problems.append((host.origin, str(error)))
        return []
    return [Setting(("database", "url"), url, ", ".join(one.origin for one in given))]


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
