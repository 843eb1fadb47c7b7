"""Finds config.yml, lays the environment over it, and reports all problems at once."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from assetbatch.config.checking import convert, dotted, validation_errors
from assetbatch.config.environment import (
    Environment,
    Layer,
    Setting,
    read_api_key,
    read_notify_urls,
    read_password,
    read_settings,
    reason,
)
from assetbatch.config.reading import ConfigFile, read_config
from assetbatch.config.settings import SECTIONS, Config
from assetbatch.config.tables import TableMappings
from assetbatch.config.urls import EMBEDDED, ServerUrl, UrlNames
from assetbatch.config.wording import named, shown
from assetbatch.errors import ConfigError
from assetbatch.secret import Secret, masked

SANDBOX_KEY = Secret("made-up-key-of-the-sandbox")
"""The API key of every sandbox. It opens nothing."""

_MOST_TOLD = 20


class Unwritten(NamedTuple):
    """A configuration that is tried before it is written: its file, and the variables of its `.env`."""

    file: ConfigFile
    dotenv: Mapping[str, str]


def load(
    path: Path | None,
    env: Mapping[str, str],
    *,
    cwd: Path,
    sandbox: bool = False,
    unwritten: Unwritten | None = None,
) -> Config:
    """Return the configuration from the environment, `.env`, config.yml and the defaults.

    The first of these that has a value wins. `path` is the value of `--config`, `env` the environment,
    `cwd` the current folder. Raise ConfigError with one line for each problem.

    With `unwritten` no file is read, neither config.yml nor `.env`, but for those that hold secrets.

    A sandbox has embedded servers and a made-up key, whatever else is configured, and reports to no
    monitor. Without a config.yml it takes the one that came with the program.
    """
    home = _home(env)
    try:
        file = unwritten.file if unwritten else _find(path, env, cwd=cwd, sandbox=sandbox)
    except ConfigError as error:
        if notify := read_notify_urls(Environment([Layer("env", env, cwd)])):
            error.notify, _ = notify
        raise
    wrong: list[str] = []
    config = read_config(file, home, wrong)
    layers = [Layer("env", env, cwd)]
    if unwritten:
        layers.append(Layer(".env", unwritten.dotenv, file.path.parent if file.path else cwd))
    elif file.path:
        folder = file.path.parent
        layers.append(Layer(".env", _read_dotenv(folder, wrong), folder, _is_ours(folder / ".env")))
    environment = Environment(layers)
    config = _apply(config, read_settings(environment, sandbox=sandbox), wrong)
    if sandbox:
        config = _enter_sandbox(config)
    else:
        config = _with_passwords(config, environment, wrong)
        config = _with_secrets(config, environment)
    wrong += [f"{origin}: {text}" for origin, text in environment.problems]
    config = _fit_alert_to_queue(config, wrong)
    _refuse(wrong, config)
    return msgspec.structs.replace(config, sandbox=sandbox, data_home=_data_home(env, home))


def _apply(config: Config, settings: Iterable[Setting], wrong: list[str]) -> Config:
    """Return the configuration with these settings; add those that do not fit to `wrong`."""
    sections: dict[str, Any] = {}
    origins = dict(config.origins)
    for path, value, origin in settings:
        section, key = map(str, path)
        kind = next(field.type for field in msgspec.structs.fields(SECTIONS[section]) if field.name == key)
        if unfit := validation_errors(value, kind, path):
            wrong += [f"{origin}: {problem.text}" for problem in unfit]
            continue
        before = sections.get(section, getattr(config, section))
        converted = convert(value, kind)
        if isinstance(converted, ServerUrl) and converted.names == UrlNames():
            converted = converted.called(UrlNames(*[named(origin)] * 3))
        sections[section] = msgspec.structs.replace(before, **{key: converted})
        origins[dotted(path)] = origin
    return msgspec.structs.replace(config, **sections, origins=MappingProxyType(origins))


def _with_secrets(config: Config, environment: Environment) -> Config:
    """Return the configuration with the secrets of the environment that are no part of a section."""
    found: dict[str, Any] = {}
    origins = dict(config.origins)
    if key := read_api_key(environment):
        found["api_key"], origins["api_key"] = Secret(key.value, named(key.origin)), key.origin
    if notify := read_notify_urls(environment):
        found["notify"], origins["notify"] = notify
    return msgspec.structs.replace(config, **found, origins=origins, secret_files=environment.secret_files())


def _fit_alert_to_queue(config: Config, wrong: list[str]) -> Config:
    """Return the configuration with an alert that a smaller queue can reach: half of its size, if nothing is
    written. An alert that is written beyond the size would never come: it is added to `wrong`."""
    path, most = "alerts.queue_size_max", config.queue.max_size
    found, origin = config.alerts.queue_size_max, config.origins.get(path)
    if origin is None:
        alerts = msgspec.structs.replace(config.alerts, queue_size_max=min(found, most // 2))
        return msgspec.structs.replace(config, alerts=alerts)
    if found > most:
        size = config.origins.get("queue.max_size", "default")
        where = origin.replace(f" {path}", f": {path}")
        wrong.append(
            f"{where}: found {shown(found)}, expected at most {most}, which is queue.max_size ({size}): "
            "the queue never has more"
        )
    return config


def _with_passwords(config: Config, environment: Environment, wrong: list[str]) -> Config:
    """Return the configuration with the passwords that are given beside the URLs."""
    for name, section in (("DB_PASSWORD", config.database), ("REDIS_PASSWORD", config.redis)):
        if section.url is None:
            if name == "DB_PASSWORD" and not wrong and not environment.problems:
                _refuse_lone_password(environment)
        elif setting := read_password(environment, name, section.url):
            path = dotted(setting.path)
            if "passw" not in section.url.known:  # the lone word of its login is a user, then
                left = tuple(one for one in config.secrets_in_file if one != path)
                config = msgspec.structs.replace(config, secrets_in_file=left)
            origin = f"{config.origins[path]}, {setting.origin}"
            config = _apply(config, [setting._replace(origin=origin)], wrong)
    return config


def _refuse_lone_password(environment: Environment) -> None:
    if found := environment.get_secret("DB_PASSWORD"):
        text = "found without a database, expected database.url, DATABASE_URL, or DB_HOST and DB_NAME too"
        environment.problems.append((found.origin, text))


def _is_ours(file: Path) -> bool:
    """Return whether nobody but this user and root may write a file."""
    try:
        status = file.stat()
    except OSError:
        return True
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o022


def _enter_sandbox(config: Config) -> Config:
    """Remove everything that reaches outside: servers, key, monitor."""
    own = "--sandbox"
    servers = [
        Setting(("database", "url"), EMBEDDED, own),
        Setting(("database", "tables"), TableMappings(), own),
        Setting(("redis", "url"), EMBEDDED, own),
        Setting(("metrics", "prometheus_file"), None, own),
    ]
    config = _apply(config, servers, [])
    origins = MappingProxyType({**config.origins, "api_key": own, "ping_url": own, "notify": own})
    return msgspec.structs.replace(config, api_key=SANDBOX_KEY, ping_url=None, notify=None, origins=origins)


def _refuse(wrong: list[str], config: Config) -> None:
    if len(wrong) > _MOST_TOLD:
        wrong = [*wrong[:_MOST_TOLD], f"and {len(wrong) - _MOST_TOLD} more mistakes"]
    if wrong:
        error = ConfigError("\n".join(wrong))
        error.notify, error.file = config.notify, config.file
        raise error


def usual_places(env: Mapping[str, str], *, cwd: Path) -> list[Path]:
    """Return where a configuration file is looked for if none is named, the first place first."""
    xdg, home = Path(env.get("XDG_CONFIG_HOME", "")), _home(env)
    user = xdg if xdg.is_absolute() else home and home / ".config"
    own = [user / "assetbatch/config.yml"] if user else []
    return [cwd / "config.yml", *own, Path("/etc/assetbatch/config.yml")]


def places_in_force(env: Mapping[str, str], *, cwd: Path) -> list[Path]:
    """Return the usual places without a file that hides another: the one of a clone of the program.

    An unchanged copy of the shipped config.yml in the current folder, without a `.env` beside it, is nobody's
    configuration where there is another one.
    """
    here, *others = usual_places(env, cwd=cwd)
    try:
        if here.read_bytes() != built_in_config() or (cwd / ".env").exists():
            return [here, *others]
    except OSError:  # missing, or told when it is read
        return [here, *others]
    return others if any(map(_is_there, others)) else [here, *others]


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except PermissionError:
        return False


def _find(path: Path | None, env: Mapping[str, str], *, cwd: Path, sandbox: bool) -> ConfigFile:
    """Return the named file, or the first of the usual places; raise ConfigError."""
    named = [(path, "--config")] if path else []
    if not path and (variable := env.get("ASSETBATCH_CONFIG")):
        named = [(Path(variable), "env ASSETBATCH_CONFIG")]
    for place, origin in named:
        try:
            return ConfigFile(cwd / place, masked(str(place)), (cwd / place).read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{origin}: {masked(str(place))!r} cannot be read: {_why(error)}") from None

    places = usual_places(env, cwd=cwd) if sandbox else places_in_force(env, cwd=cwd)
    for place in places:
        label = "config.yml" if place.parent == cwd else masked(str(place))
        try:
            return ConfigFile(place, label, place.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # it is there, so to go on without it would surprise
            raise ConfigError(f"{label}: cannot be read: {_why(error)}") from None
    if sandbox:
        return ConfigFile(None, "built-in config.yml", built_in_config())
    raise ConfigError(
        f"no configuration found: looked for {', '.join(masked(str(place)) for place in places)}",
        hint="assetbatch setup makes one; --config or ASSETBATCH_CONFIG names one; --sandbox needs none",
    )


def _why(error: OSError | ValueError) -> str:
    return reason(error) if isinstance(error, OSError) else "not a path"  # a NUL in it


def built_in_config() -> bytes:
    """Return the repository's config.yml: the copy in a wheel, else the file of the source tree."""
    package = Path(__file__).parent.parent
    installed = package / "default_config.yml"
    return (installed if installed.exists() else package.parent.parent / "config.yml").read_bytes()


def schema_file() -> Path:
    """Return the JSON Schema of config.yml that came with the program."""
    return Path(__file__).parent.parent / "config.schema.json"


def _home(env: Mapping[str, str]) -> Path | None:
    if home := env.get("HOME"):
        return Path(home)
    try:  # some schedulers start without HOME
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # a container's user without a name
        return None


def _data_home(env: Mapping[str, str], home: Path | None) -> Path | None:
    xdg = Path(env.get("XDG_DATA_HOME", ""))
    if xdg.is_absolute():
        return xdg
    return home and home / ".local/share"


def _read_dotenv(folder: Path, wrong: list[str]) -> dict[str, str]:
    try:
        text = (folder / ".env").read_bytes().decode("utf-8-sig")
        from assetbatch.config.dotenv import parse_dotenv  # most starts find none

        return parse_dotenv(text)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):  # a folder: some virtual environment
        return {}
    except OSError as error:
        wrong.append(f".env: cannot be read: {reason(error)}")
    except UnicodeDecodeError:
        wrong.append(".env: not UTF-8")
    except ValueError as error:
        wrong.append(f".env: {error}")
    return {}
