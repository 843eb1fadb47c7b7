"""PURE: the files of an installation, from what is there and what was answered.

Secrets lie in files of their own beside config.yml, and the `.env` there names them. Starts by cron and by
hand find them the same way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import yaml

from assetbatch.config import DatabaseUrl, RedisUrl, built_in_config
from assetbatch.config.documents import parse_yaml
from assetbatch.config.dotenv import parse_dotenv
from assetbatch.config.editing import add_assets, keep_assets, set_setting
from assetbatch.config.loading import schema_file
from assetbatch.config.notify_urls import NotifyUrls
from assetbatch.config.symbols import derive
from assetbatch.config.urls import holds_secret
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.formatting import together
from assetbatch.errors import ConfigError
from assetbatch.secret import Secret, masked_name

SECRET_MODE = 0o600
CONFIG_MODE = 0o644

_LISTS = ("priority_assets", "secondary_assets")
_DATABASE_PARTS = ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD")


class Answers(NamedTuple):
    """What was answered; None leaves a setting as it is."""

    api_key: Secret | None = None
    tier: str | None = None
    database: DatabaseUrl | None = None
    redis: RedisUrl | None = None
    base_url: str | None = None
    priority: tuple[str, ...] | None = None
    """Symbols, as `SYMBOL` or `SYMBOL=TICKER`. A new file gets these alone, any other gets them too."""
    secondary: tuple[str, ...] | None = None
    notify: NotifyUrls | None = None
    commands: Mapping[str, str] = {}
    """Commands that print secrets, by their variables such as POLYGON_API_KEY_COMMAND."""


class Present(NamedTuple):
    """The files that are there. `config` is None if there is no configuration yet."""

    config: str | None = None
    dotenv: str = ""


class PlannedFile(NamedTuple):
    """A file to write."""

    path: Path
    text: str
    mode: int
    is_secret: bool = False
    """Whether the text must not be shown."""


class Planned(NamedTuple):
    """All files to write, the configuration last, and what they will mean."""

    files: tuple[PlannedFile, ...]
    config: str
    variables: Mapping[str, str]
    """The `.env` with the secrets themselves in the place of the names of their files."""


def plan(config: Path, answers: Answers, present: Present) -> Planned:
    """Return what the answers change. Raise ConfigError if a text cannot be changed safely."""
    text = _config_text(answers, present.config)
    variables, secrets = _variables(answers, present.dotenv, config.parent)
    dotenv = with_variables(present.dotenv, variables)
    files = [
        PlannedFile(config.parent / file, f"{value}\n", SECRET_MODE, is_secret=True)
        for file, value in secrets.values()
    ]
    if dotenv != present.dotenv:
        files.append(PlannedFile(config.parent / ".env", dotenv, SECRET_MODE))
    if text != present.config:
        files.append(PlannedFile(config, text, CONFIG_MODE))
    meant = parse_dotenv(dotenv)
    for name, (_, value) in secrets.items():
        meant.pop(f"{name}_FILE", None)
        meant[name] = value
    return Planned(tuple(files), text, meant)


def built_in_text() -> str:
    """Return the commented file of this version, with its schema where this installation has it."""
    text = built_in_config().decode()
    return re.sub(r"(?m)(?<=\$schema=)\S+$", lambda _: str(schema_file()), text, count=1)


def least_of(texts: Iterable[str]) -> list[dict[str, str]]:
    """Return the least that must be written of these assets. Raise ConfigError that names all whose ticker is
    not known."""
    read = {text: _least_of(text) for text in texts}
    if unknown := [text for text, asset in read.items() if asset is None]:
        names = together([repr(masked_name(text)) for text in unknown])
        raise ConfigError(
            f"{names} {'is no pair' if len(unknown) == 1 else 'are no pairs'} of known names",
            hint="write the provider's name behind it, as in GOLD=C:XAUUSD, or the type, as in AAPL=stocks",
        )
    return [asset for asset in read.values() if asset]


def _least_of(text: str) -> dict[str, str] | None:
    match = re.fullmatch(r"(.+)=([A-Z]:\S+)", text)
    if match:
        return {"symbol": match[1], "polygon_ticker": match[2]}
    match = re.fullmatch(rf"(.+)=({'|'.join(AssetType)})", text)
    if match and derive(match[1], AssetType(match[2])):
        return {"symbol": match[1], "asset_type": match[2]}
    return None if text not in _known() and derive(text) is None else {"symbol": text}


def _config_text(answers: Answers, present: str | None) -> str:
    least_of([*(answers.priority or ()), *(answers.secondary or ())])  # what is wrong in both is told at once
    text = present
    if text is None:
        text = built_in_text()
        for name, wanted in zip(_LISTS, (answers.priority, answers.secondary), strict=True):
            if name == "secondary_assets" or wanted is not None:
                symbols = [one["symbol"] for one in least_of(wanted or ())]
                there = [asset["symbol"] for asset in assets_of(text, name) if asset["symbol"] in symbols]
                in_order = there == symbols[: len(there)] or name != "priority_assets"
                text = keep_assets(text, name, symbols if in_order else [])
    text = _with_assets(text, answers)
    for section, key, value in (
        ("rate_limiting", "tier", answers.tier),
        ("provider", "base_url", answers.base_url),
    ):
        if value is not None and _setting(text, section, key) != value:
            text = set_setting(text, section, key, value)
    for section, url in (("database", answers.database), ("redis", answers.redis)):
        if url is not None:
            value = divide(url.reveal()).url
            if _setting(text, section, "url") != value:
                text = set_setting(text, section, "url", value)
    return text


def _with_assets(text: str, answers: Answers) -> str:
    """Return the text with all assets that were answered. Known ones come with their names."""
    there = {asset.get("symbol") for name in _LISTS for asset in assets_of(text, name)}
    for name, wanted in zip(_LISTS, (answers.priority, answers.secondary), strict=True):
        new = []
        for asset in least_of(wanted or ()):
            if asset["symbol"] not in there:
                there.add(asset["symbol"])
                new.append(_fit(_known().get(asset["symbol"], {}) | asset, name))
        text = add_assets(text, name, new)
    return text


def _fit(asset: dict[str, Any], name: str) -> dict[str, Any]:
    """Leave out the priority of a secondary asset where the other list has numbers instead."""
    return {key: value for key, value in asset.items() if name != _LISTS[0] or key != "priority"}


def _known() -> dict[str, dict[str, Any]]:
    """Return the assets of the shipped file by their symbols."""
    text = built_in_config().decode()
    return {asset["symbol"]: asset for name in _LISTS for asset in assets_of(text, name)}


def assets_of(text: str, name: str) -> Sequence[dict[str, Any]]:
    """Return the assets of a list as the text of a configuration has them."""
    document = _document(text)
    batch = document.get("batch")
    found = document.get(name) or (batch.get(name) if isinstance(batch, dict) else None) or []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _setting(text: str, section: str, key: str) -> object:
    found = _document(text).get(section)
    return found.get(key) if isinstance(found, dict) else None


def _document(text: str) -> dict[str, Any]:
    try:
        document, _ = parse_yaml(text.encode())
    except (ValueError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}


class Divided(NamedTuple):
    """A URL without its password (None: it holds a secret elsewhere), and the password."""

    url: str | None
    password: str = ""


def divide(url: str) -> Divided:
    """Return what of a URL config.yml may hold, and its password if that can stand apart."""
    if not holds_secret(url):
        return Divided(url)
    scheme, separator, rest = url.partition("://")
    end = next((at for at, letter in enumerate(rest) if letter in "/?"), len(rest))
    login, _, host = rest[:end].rpartition("@")
    user, colon, password = login.partition(":")
    open_url = f"{scheme}{separator}{user}{'@' if user else ''}{host}{rest[end:]}"
    if not (colon and password) or holds_secret(open_url):
        return Divided(None)
    return Divided(open_url, unquote(password))


class _Secret(NamedTuple):
    file: str
    value: str


def is_beside(folder: Path, file: Path | str) -> bool:
    """Return whether a file lies in this folder or below it, as the paths have it."""
    return Path(os.path.normpath(folder / file)).is_relative_to(os.path.normpath(folder))


def _variables(
    answers: Answers, dotenv: str, folder: Path
) -> tuple[dict[str, str | None], dict[str, _Secret]]:
    """Return what the `.env` must say (None: nothing), and the secrets with their files, by variable.

    A file of a secret elsewhere may be that of other programs too: it is left, and gets one here instead.
    """
    there = parse_dotenv(dotenv)
    variables: dict[str, str | None] = {}
    secrets: dict[str, _Secret] = {}

    def keep(name: str, file: str, value: str) -> None:
        named = there.get(f"{name}_FILE")
        file = named if named and is_beside(folder, named) else file
        variables.update({name: None, f"{name}_COMMAND": None, f"{name}_FILE": file})
        secrets[name] = _Secret(file, value)

    def forget(*names: str) -> None:
        for name in names:
            variables.update({name: None, f"{name}_FILE": None, f"{name}_COMMAND": None})

    if answers.api_key is not None:
        forget("MASSIVE_API_KEY")
        keep("POLYGON_API_KEY", "api_key", answers.api_key.reveal())
    if answers.tier is not None:
        variables["POLYGON_TIER"] = None
    if answers.base_url is not None:
        variables["POLYGON_BASE_URL"] = None
    for url, kind, others in (
        (answers.database, "DB", ("DATABASE_URL", *_DATABASE_PARTS)),
        (answers.redis, "REDIS", ("REDIS_URL", "REDIS_PASSWORD")),
    ):
        if url is None:
            continue
        forget(*others)
        divided = divide(url.reveal())
        if divided.password:
            keep(f"{kind}_PASSWORD", f"{kind.lower()}_password", divided.password)
        elif divided.url is None:
            keep(others[0], others[0].lower(), url.reveal())
    if answers.notify is not None:
        urls = "\n".join(url.reveal() for url in answers.notify)
        keep("ASSETBATCH_NOTIFY_URLS", "notify_urls", urls)
    for name, command in answers.commands.items():
        forget(name.removesuffix("_COMMAND"))
        variables[name] = command
    return variables, secrets


def with_variables(dotenv: str, variables: Mapping[str, str | None]) -> str:
    """Return a `.env` with these variables set, or removed if None; other lines stay as they are.

    Raise ConfigError if the text cannot be changed safely.
    """
    before = parse_dotenv(dotenv)
    expected = {name: value for name, value in before.items() if name not in variables}
    expected |= {name: value for name, value in variables.items() if value is not None}
    if before == expected:
        return dotenv
    names = "|".join(re.escape(name) for name in variables if before.get(name) != variables[name])
    text = re.sub(rf"(?m)^[ \t]*(?:export[ \t]+)?(?:{names})[ \t]*=[^\n]*(?:\n|\Z)", "", dotenv)
    if text and not text.endswith("\n"):
        text += "\n"
    text += "".join(
        f"{name}={_quoted(value)}\n"
        for name, value in variables.items()
        if value is not None and before.get(name) != value
    )
    if parse_dotenv(text) != expected:
        wrong = " and ".join(name for name, value in variables.items() if before.get(name) != value)
        raise ConfigError(
            "this .env is written in a way that setup does not change by itself",
            hint=f"remove {wrong} from it by hand, then run setup again",
        )
    return text


def _quoted(value: str) -> str:
    if re.fullmatch(r"[\w./:@-]+", value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
