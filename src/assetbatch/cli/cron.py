"""`cron install`, `cron show`, `cron remove`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assetbatch.cli.context import Options, current_folder, load_config, log, print_text, reported
from assetbatch.cli.groups import add_group, epilog
from assetbatch.domain.records import Command
from assetbatch.errors import AssetbatchError, ConfigError, UnreachableError
from assetbatch.secret import Secret

if TYPE_CHECKING:
    from assetbatch.config import Config
    from assetbatch.setup.starts import Starter
    from assetbatch.setup.systemd import Units

CODES = (
    "Exit codes: 0 done; 1 nothing is installed, or crontab refuses; 2 usage or configuration; 3 this host "
    "has no cron or no systemd."
)

CRON_PATH = "/usr/bin:/bin"
"""The PATH that cron gives to a command."""

Name = Annotated[
    str, typer.Option("--name", help="Name of the block, for several installations in one crontab.")
]
Systemd = Annotated[
    bool, typer.Option("--systemd", help="Timers of this user's systemd instead of the crontab.")
]
System = Annotated[
    bool,
    typer.Option("--system", help="Timers of the system, run as the owner of config.yml; needs root."),
]


def add_to(app: typer.Typer) -> None:
    """Add the command group."""
    of_install = "assetbatch cron install --dry-run  |  assetbatch cron install --systemd"
    add_group(
        app,
        "cron",
        help="Let cron or systemd start the commands: marked lines in the crontab, and nothing else touched.",
        end=epilog("assetbatch cron install  |  assetbatch cron remove", CODES),
        commands=[
            ("install", install, epilog(of_install, CODES)),
            ("show", show, epilog("assetbatch cron show  |  assetbatch cron show --systemd", CODES)),
            ("remove", remove, epilog("assetbatch cron remove  |  assetbatch cron remove --systemd", CODES)),
        ],
    )


def install(
    context: typer.Context,
    name: Name = "main",
    systemd: Systemd = False,
    system: System = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be installed. Install nothing.")
    ] = False,
) -> None:
    """Install the starts, or replace those that this command has installed before.

    run-priority starts every batch.interval_minutes of config.yml, enqueue-secondary every
    batch.enqueue_interval_minutes, run-queue every minute. All paths in the lines are absolute.
    """
    with reported(context, opens_log=False) as options:
        config = load_config(options)
        log_file = options.log_file and Path(os.path.abspath(current_folder() / options.log_file))
        schedule(config, name, systemd=systemd, system=system, log_file=log_file, dry_run=dry_run)


def show(
    context: typer.Context, name: Name = "main", systemd: Systemd = False, system: System = False
) -> None:
    """Print the lines or the units that are installed."""
    with reported(context):
        from assetbatch.setup import crontab

        check_name(name)
        if systemd or system:
            text = "".join(
                f"# {unit}\n{text}" for unit, text in _units(name, system=system).installed().items()
            )
        else:
            text = "\n".join(crontab.block_of(crontab.read(), name) or ())
        if not text:
            print_text(_nothing(systemd=systemd, system=system))
            raise typer.Exit(1)
        print_text(text.rstrip("\n"))


def remove(
    context: typer.Context, name: Name = "main", systemd: Systemd = False, system: System = False
) -> None:
    """Remove what `cron install` has installed, and nothing else."""
    with reported(context) as options:
        from assetbatch.setup import crontab
        from assetbatch.setup.starts import config_of

        check_name(name)
        here = _file_in_force(options)
        if systemd or system:
            units = _units(name, system=system)
            _refuse_to_remove(units.config(), here, f"timers named {name}")
            removed = bool(units.remove())
        else:
            before = crontab.read()
            _refuse_to_remove(config_of(crontab.block_of(before, name) or ()), here, f"lines named {name}")
            after = crontab.without_block(before, name)
            removed = after != before
            if removed:
                crontab.write(after)
        if not removed:
            print_text(_nothing(systemd=systemd, system=system))
            raise typer.Exit(1)
        print_text(f"removed: the {'timers' if systemd or system else 'lines'} named {name}")


def _starts_every(config: Config) -> dict[Command, int]:
    """Return after how many minutes each command is started again."""
    from assetbatch.domain.units import MINUTE_MS
    from assetbatch.health.jobs import interval_ms

    return {command: interval_ms(command, config) // MINUTE_MS for command in Command}


def schedule(
    config: Config,
    name: str,
    *,
    systemd: bool = False,
    system: bool = False,
    log_file: Path | None = None,
    dry_run: bool = False,
) -> None:
    """Install the starts of an installation, and say what was installed; raise AssetbatchError.

    Without `log_file` the crontab names the usual one.
    """
    check_name(name)
    minutes = _starts_every(config)
    if config.sandbox or config.file is None:
        raise ConfigError("a sandbox is not started by cron", hint="leave out --sandbox")
    if systemd or system:
        _install_timers(config, name, minutes, system=system, log_file=log_file, dry_run=dry_run)
    else:
        _install_lines(config, name, minutes, log_file or log_file_for(name), dry_run=dry_run)


def starter_for(config: Config, log_file: Path | None = None) -> Starter:
    """Return how the installation of this configuration is started."""
    from assetbatch.setup.starts import Starter, environment_for, program_of

    folder = current_folder()
    needed = {
        path: origin
        for path, origin in config.origins.items()
        if any(part.startswith("env ") for part in origin.split(", "))
    }
    if needed and config.file:
        from assetbatch.config import load

        seen = load(config.file, cron_environment(), cwd=folder)
        needed = {path: origin for path, origin in needed.items() if not _is_same(config, seen, path)}
    started = Path(sys.argv[0])
    is_program = (folder / started).is_file() and os.access(folder / started, os.X_OK)
    file = config.file or Path("config.yml")
    return Starter(
        program_of(sys.argv[0], sys.executable, folder, is_program),
        Path(os.path.abspath(folder / file)),
        environment_for(needed, os.environ, folder) | _path_of_servers(config),
        log_file,
    )


def cron_environment() -> dict[str, str]:
    """Return the variables that a start by cron will have."""
    kept = ("HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    return {"PATH": CRON_PATH} | {name: os.environ[name] for name in kept if name in os.environ}


def _is_same(config: Config, seen: Config, path: str) -> bool:
    """Return whether two configurations have one value for a setting. No command is run to know it."""
    found = []
    for one in (config, seen):
        value: object = one
        for step in path.split("."):
            value = getattr(value, step)
        if isinstance(value, Secret) and not value.is_known:
            return False
        found.append(value)
    return found[0] == found[1]


def _path_of_servers(config: Config) -> dict[str, str]:
    """Return the PATH that embedded servers need if cron's own does not lead to their programs."""
    from assetbatch.embedded.binaries import find_postgresql, find_valkey

    finders = [
        finder
        for url, finder in ((config.redis.url, find_valkey), (config.database.url, find_postgresql))
        if url and url.embedded
    ]
    if any(finder(os.environ.get("PATH")) and not finder(CRON_PATH) for finder in finders):
        return {"PATH": os.environ["PATH"]}
    return {}


def log_file_for(name: str) -> Path:
    """Return where the starts of an installation are logged."""
    file = "assetbatch.log" if name == "main" else f"assetbatch-{name}.log"
    if os.geteuid() == 0:
        return Path("/var/log", file)
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local/state") / "assetbatch" / file


def _install_lines(
    config: Config, name: str, minutes: Mapping[Command, int], log_file: Path, *, dry_run: bool
) -> None:
    from assetbatch.setup import crontab
    from assetbatch.setup.starts import config_of, crontab_lines

    starter = starter_for(config, log_file)
    lines = crontab_lines(starter, minutes)
    if dry_run:
        print_text("\n".join([crontab.begin(name), *lines, crontab.end(name)]))
        return
    before = crontab.read()
    _refuse_another(config_of(crontab.block_of(before, name) or ()), starter.config, f"lines named {name}")
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnreachableError(f"{log_file.parent} cannot be made: {error.strerror}") from None
    after = crontab.with_block(before, name, lines)
    if after != before:
        crontab.write(after)
    _warn_of_other_lines(after)
    for system in (False, True):
        _warn_of_timers(starter.config, name, system=system)
    if crontab.daemon_runs() is False:
        log.warning("no cron runs on this host (hint: start it, as in `service cron start`)")
    print_text(f"crontab: {_installed(minutes)}; the log is {log_file}")


def _install_timers(
    config: Config,
    name: str,
    minutes: Mapping[Command, int],
    *,
    system: bool,
    log_file: Path | None,
    dry_run: bool,
) -> None:
    from pwd import getpwuid

    from assetbatch.files import replace_file
    from assetbatch.setup.systemd import lingers, unit_texts

    starter = starter_for(config, log_file)
    units = _units(name, system=system)
    user = getpwuid(starter.config.stat().st_uid if system else os.geteuid()).pw_name
    texts = unit_texts(units, starter, minutes, user=user, max_cycle_seconds=config.batch.max_cycle_seconds)
    if dry_run:
        print_text("\n".join(f"# {units.folder / unit}\n{text}" for unit, text in texts.items()).rstrip())
        return
    if system and os.geteuid() != 0:
        raise ConfigError("--system needs root", hint="use sudo, or --systemd for timers of your own")
    _refuse_another(units.config(), starter.config, f"timers named {name}")
    timers = [units.timer(command) for command in minutes]
    units.install(texts, timers, lambda path, data: replace_file(path, data, mode=0o644, durable=True))
    _warn_of_lines(starter.config)
    _warn_of_timers(starter.config, name, system=not system)
    if not system and not lingers(user):
        log.warning("the timers end when you log out (hint: `loginctl enable-linger` lets them go on)")
    print_text(f"systemd: {_installed(minutes)}; journalctl{'' if system else ' --user'} has the log")


def _file_in_force(options: Options) -> Path | None:
    """Return the configuration that this command would read, or None. It need not be a good one."""
    from assetbatch.config.loading import usual_places

    folder = current_folder()
    if named := options.config or os.environ.get("ASSETBATCH_CONFIG"):
        return Path(os.path.abspath(folder / named))
    return next((place for place in usual_places(os.environ, cwd=folder) if os.path.exists(place)), None)


def _refuse_to_remove(found: Path | None, here: Path | None, what: str) -> None:
    """Raise ConfigError if what is installed starts another installation that is still there."""
    if found and here and found != here and os.path.exists(found):
        raise ConfigError(
            f"the {what} start another installation: {found}",
            hint="choose another --name, or name that file with --config before the command",
        )


def _refuse_another(found: Path | None, config: Path, what: str) -> None:
    """Raise ConfigError if what is installed starts an installation with another configuration."""
    if found and found != config:
        raise ConfigError(
            f"the {what} start another installation: {found}",
            hint="choose another --name, or remove them with assetbatch --config FILE cron remove",
        )


def _warn_of_lines(config: Path) -> None:
    """Warn of each line of this user's crontab that starts what timers start now."""
    from assetbatch.setup import crontab
    from assetbatch.setup.starts import config_of

    try:
        text = crontab.read()
    except AssetbatchError:
        return  # most hosts that use timers have no crontab
    for name in crontab.names(text):
        with suppress(ConfigError):
            if config_of(crontab.block_of(text, name) or ()) == config:
                log.warning(
                    "the lines of the crontab named %s start it too (hint: assetbatch cron remove --name %s)",
                    name,
                    name,
                )
    _warn_of_other_lines(text)


def _warn_of_other_lines(text: bytes) -> None:
    from assetbatch.setup.crontab import other_lines
    from assetbatch.setup.starts import starts_of

    others = other_lines(text)
    for command in Command:
        if starts_of(others, command):
            log.warning(
                "another line of the crontab starts %s too (hint: remove it with crontab -e)", command
            )


def _warn_of_timers(config: Path, name: str, *, system: bool) -> None:
    units = _units(name, system=system)
    if units.installed() and units.config() in (config, None):
        option = "--system" if system else "--systemd"
        log.warning("timers start it too (hint: assetbatch cron remove %s)", option)


def _installed(minutes: Mapping[Command, int]) -> str:
    from assetbatch.setup.starts import rhythm

    return ", ".join(f"{command} {rhythm(every)}" for command, every in minutes.items())


def _nothing(*, systemd: bool, system: bool) -> str:
    where = "timers" if systemd or system else "lines in the crontab"
    return f"no {where} of assetbatch"


def _units(name: str, *, system: bool) -> Units:
    from assetbatch.setup.systemd import Units

    xdg = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    home = xdg if xdg.is_absolute() else Path.home() / ".config"
    return Units(name, system=system, home=home)


def check_name(name: str) -> None:
    """Raise ConfigError if a block or a unit cannot be called so."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", name):
        raise ConfigError("--name is no name", hint="use 1 to 32 letters, digits or . _ -")
