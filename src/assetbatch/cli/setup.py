"""`setup`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import unified_diff
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlsplit

import typer

from assetbatch.cli import cron
from assetbatch.cli.context import Options, current_folder, log, print_rich, print_text, reported
from assetbatch.cli.questions import agree, ask, ask_secret, choose
from assetbatch.errors import EXTRAS_HINT, AssetbatchError, ConfigError, UnreachableError
from assetbatch.secret import Secret

if TYPE_CHECKING:
    from assetbatch.config import Config, DatabaseUrl, RedisUrl
    from assetbatch.doctor import Finding
    from assetbatch.setup.files import Answers, Planned, Present
    from assetbatch.setup.given import Given

TRIAL_SECONDS = 180.0
"""Maximum time of trying everything and of `init`, in seconds."""

KEYS_PAGE = "https://massive.com/dashboard/keys"


class PlanName(StrEnum):
    """The plans of the provider."""

    FREE = "free"
    BASIC = "basic"
    STARTER = "starter"
    DEVELOPER = "developer"
    ADVANCED = "advanced"
    BUSINESS = "business"


class Schedule(StrEnum):
    """Who starts the commands."""

    CRONTAB = "crontab"
    SYSTEMD = "systemd"
    SYSTEM = "system"
    NONE = "none"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "setup",
        epilog="Examples: assetbatch setup  |  assetbatch setup --dry-run  |  "
        "assetbatch setup --key-file key.txt --database embedded --redis embedded --schedule crontab  |  "
        "assetbatch setup --assets 'GBPUSD ETHUSD'\n\n"
        "Exit codes: 0 set up; 2 usage, configuration or a missing answer; 3 Redis, PostgreSQL or the API "
        "cannot be used, or this host has no cron; 4 the API refuses the key. A failed try writes no file.",
    )(setup)


KeyFile = Annotated[
    str | None,
    typer.Option(
        help="File that holds the API key, or - for stdin. A new one: else POLYGON_API_KEY, or a question."
    ),
]
Plan = Annotated[PlanName | None, typer.Option(help="Plan of the API key.")]
Database = Annotated[str | None, typer.Option(help="PostgreSQL: embedded, or a URL without a password.")]
Redis = Annotated[str | None, typer.Option(help="Redis: embedded, or a URL without a password.")]
UrlFile = Annotated[
    str | None, typer.Option(help="File that holds the URL with its password, or - for stdin.")
]
BaseUrl = Annotated[str | None, typer.Option(help="Another address of the API, such as that of a sandbox.")]
PriorityAssets = Annotated[
    str | None, typer.Option(help="Symbols of the priority assets. New: XAUUSD EURUSD BTCUSD.")
]
Assets = Annotated[
    str | None,
    typer.Option(
        help="Symbols of more assets: 'GBPUSD ETHUSD', GOLD=C:XAUUSD, AAPL=stocks, or all that config "
        "generate shows."
    ),
]
ScheduleBy = Annotated[
    Schedule | None,
    typer.Option(help="Who starts the commands; system needs root. A script that does not say: none."),
]
Check = Annotated[
    bool, typer.Option("--check/--no-check", help="Try everything and create the tables, or not.")
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Ask nothing: take the defaults for what is not given.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be written and installed. Change nothing.")
]


def setup(
    context: typer.Context,
    key_file: KeyFile = None,
    plan: Plan = None,
    database: Database = None,
    database_file: UrlFile = None,
    redis: Redis = None,
    redis_file: UrlFile = None,
    base_url: BaseUrl = None,
    priority_assets: PriorityAssets = None,
    assets: Assets = None,
    schedule: ScheduleBy = None,
    name: cron.Name = "main",
    check: Check = True,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Set up an installation: key, servers, assets, tables and cron, each tried before it is written.

    It asks on a terminal; a script gives the answers as options. Repeated, it changes only what is asked.
    """
    from assetbatch.setup.given import Given, answers_of

    with reported(context, opens_log=False) as options:
        if options.sandbox:
            raise ConfigError("a sandbox needs no setup", hint="assetbatch --sandbox run-priority")
        cron.check_name(name)
        given = Given(
            key_file, plan, database, database_file, redis, redis_file, base_url, priority_assets, assets
        )
        answers, unseen = answers_of(given, os.environ, current_folder())
        if unseen:
            log.warning("%s: set in this shell only (hint: write it into config.yml)", ", ".join(unseen))
        asks = not yes and sys.stdin is not None and sys.stdin.isatty()
        session = Session(target(options), answers, asks=asks, name=name, log_file=options.log_file)
        session.leave_what_is_configured(given)
        if not dry_run:
            session.refuse_unwritable()
        session.answer()
        if dry_run:
            session.show_all(schedule or Schedule.NONE)
            return
        session.agree_to_it()
        code = session.try_it() if check else 0
        session.write()
        raise typer.Exit(session.start_by(schedule) or code)


def target(options: Options) -> Path:
    """Return the configuration file to write: the one that is in force, or a new one in the usual place.

    The file that came with a clone of the program is nobody's configuration.
    """
    from assetbatch.config import built_in_config
    from assetbatch.config.loading import usual_places

    folder = current_folder()
    if named := options.config or os.environ.get("ASSETBATCH_CONFIG"):
        return Path(os.path.abspath(folder / named))
    here, *places = usual_places(os.environ, cwd=folder)
    if _is_there(here) and here.read_bytes() != built_in_config():
        return here
    new = places[-1] if os.geteuid() == 0 else places[0]
    return next((place for place in places if _is_there(place)), new)


def _is_there(file: Path) -> bool:
    """Return whether this user sees a file, which may lie in a folder of somebody else."""
    try:
        return file.is_file()
    except PermissionError:
        return False


class Session:
    """One setup: what is there, what was answered, and what follows."""

    def __init__(
        self, file: Path, answers: Answers, *, asks: bool, name: str, log_file: Path | None = None
    ) -> None:
        self.file = file
        self.answers = answers
        self.asks = asks
        self._name = name
        self._log_file = log_file and Path(os.path.abspath(current_folder() / log_file))
        self._present = _present(file)
        self._before = self._config_before()
        self.answers = self._without_known()

    def leave_what_is_configured(self, given: Given) -> None:
        """Let the environment answer only what is not configured yet, and name what it says otherwise."""
        from assetbatch.config.dotenv import parse_dotenv
        from assetbatch.setup.given import without_shell

        configured = self._before.origins if self._before else ()
        dotenv = parse_dotenv(self._present.dotenv)
        self.answers, left = without_shell(self.answers, given, os.environ, configured, dotenv)
        for names, hint in left:
            log.warning("%s: not what is configured, which stays (hint: %s)", ", ".join(names), hint)

    def refuse_unwritable(self) -> None:
        """Raise ConfigError where the files could not be written, before anything is asked."""
        folder = next(one for one in self.file.parents if one.exists())
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(f"{folder}: this user may not write there", hint=_ANOTHER_PLACE)

    def _config_before(self) -> Config | None:
        """Return the present configuration as cron sees it, or None without a working one."""
        from assetbatch.config import load

        if self._present.config is None:
            return None
        alone = self._loaded(self._present.config, {})  # a mistake in the file itself is told at once
        try:
            return load(self.file, cron.cron_environment(), cwd=self.file.parent)
        except AssetbatchError:
            return alone  # what is still wrong when all is answered will be said

    def _without_known(self) -> Answers:
        """Return the answers that differ from what is configured: the others change no file."""
        before = self._before
        if before is None:
            return self.answers
        known = {
            "api_key": before.api_key,
            "tier": before.rate_limiting.tier,
            "database": before.database.url,
            "redis": before.redis.url,
            "base_url": str(before.provider.base_url),
            "notify": before.notify,
        }
        same = [
            name
            for name, value in known.items()
            if getattr(value, "is_known", True) and getattr(self.answers, name) == value
        ]
        cleared: dict[str, Any] = dict.fromkeys(same)
        return self.answers._replace(**cleared)

    def answer(self) -> None:
        """Ask for what was not given and is not there; take the defaults if nobody can be asked."""
        if self.asks:
            what = "changes" if self._before else "writes"
            print_text(
                f"This {what} {self.file}\n"
                "Enter takes what stands in [ ]. Ctrl-C stops; nothing is written before all is answered.\n"
            )
        self._answer_key()
        self._answer_plan()
        self._answer_server("database")
        self._answer_server("redis")
        self._answer_assets()

    def _answer_key(self, *, again: bool = False) -> None:
        there = self._before is not None and self._before.api_key is not None and not again
        given = self.answers.api_key is not None or "POLYGON_API_KEY_COMMAND" in self.answers.commands
        if given and not again:
            return
        if not self.asks:
            if there:
                return
            raise ConfigError(
                "no API key: --key-file is missing",
                hint="--key-file FILE (- for stdin), or POLYGON_API_KEY in the environment",
            )

        def read(text: str) -> Secret | None:
            if not text and there:
                return None
            if not text or not text.isascii() or not text.isprintable() or " " in text:
                raise ValueError("expected the key alone, without spaces")
            return Secret(text)

        if not there:
            print_text(f"The API key is at {KEYS_PAGE}. It is not shown while you type.")
        self.answers = self.answers._replace(
            api_key=ask_secret("API key [keep]" if there else "API key", read) or self.answers.api_key
        )

    def _answer_plan(self) -> None:
        if self.answers.tier is not None or not self.asks:
            return
        before = self._before.rate_limiting.tier if self._before else PlanName.FREE.value

        def read(text: str) -> str:
            if text not in list(PlanName):
                raise ValueError(f"one of {', '.join(PlanName)}")
            return text

        answer = ask("Plan: free (basic), starter, developer, advanced or business", before, read)
        self.answers = self.answers._replace(tier=None if answer == before else answer)

    def _answer_server(self, name: str, *, again: bool = False) -> None:
        """Ask for `database` or `redis`."""
        from assetbatch.embedded.binaries import find_postgresql, find_valkey

        command = f"{name.upper()}_URL_COMMAND"
        if (getattr(self.answers, name) is not None or command in self.answers.commands) and not again:
            return
        configured = getattr(self._before, name).url if self._before else None
        before: DatabaseUrl | RedisUrl | None = getattr(self.answers, name) or configured
        finder = find_postgresql if name == "database" else find_valkey
        default = before.masked() if before else "embedded" if finder() else ""
        if not self.asks:
            if before:
                return
            if not default:
                raise ConfigError(f"no server: --{name} is missing", hint=f"a URL, or {EXTRAS_HINT}")
            self._set_server(_url(name, default))
            return
        title, form = _SERVERS[name]

        def read(text: str) -> DatabaseUrl | RedisUrl | None:
            return None if before and text == default else _url(name, text)

        url = ask(f"{title}: embedded, or {form}", default, read)
        if url is not None:
            self._set_server(_with_password(name, url))

    def _set_server(self, url: DatabaseUrl | RedisUrl) -> None:
        from assetbatch.config import DatabaseUrl

        if isinstance(url, DatabaseUrl):
            self.answers = self.answers._replace(database=url)
        else:
            self.answers = self.answers._replace(redis=url)

    def _answer_assets(self) -> None:
        from assetbatch.setup.files import least_of
        from assetbatch.setup.given import split_symbols

        def read(text: str) -> tuple[str, ...]:
            symbols = split_symbols(text)
            try:
                least_of(symbols)
            except ConfigError as error:
                raise ValueError(str(error)) from None
            return symbols

        if not self.asks:
            return
        if self.answers.priority is None and self._present.config is None:
            shipped = " ".join(_DEFAULT_PRIORITY)
            self.answers = self.answers._replace(priority=ask("Priority assets, in order", shipped, read))
        if self.answers.secondary is None:
            if self._before:
                print_text(f"There are {len(self._before.assets)} assets.")
            question = "More assets by symbol, such as GBPUSD ETHUSD, or all (Enter for none)"
            self.answers = self.answers._replace(secondary=ask(question, "", read))

    def planned(self) -> Planned:
        """Return the files that follow from the answers; raise ConfigError."""
        from assetbatch.setup.files import plan

        return plan(self.file, self.answers, self._present)

    def config(self) -> Config:
        """Return what the planned files mean, as cron will see it; raise ConfigError."""
        planned = self.planned()
        return self._loaded(planned.config, planned.variables)

    def _loaded(self, text: str, variables: Mapping[str, str]) -> Config:
        from assetbatch.config import load
        from assetbatch.config.loading import Unwritten
        from assetbatch.config.reading import ConfigFile

        label = "your answers" if self._present.config is None else str(self.file)
        file = ConfigFile(self.file, label, text.encode())
        unwritten = Unwritten(file, variables)
        return load(self.file, cron.cron_environment(), cwd=self.file.parent, unwritten=unwritten)

    def try_it(self) -> int:
        """Try everything and run `init`, until it works or the person has enough; return the exit code."""
        from assetbatch.doctor import exit_code
        from assetbatch.doctor.findings import Level
        from assetbatch.views.terminal.doctor import render

        while True:
            if self.asks:
                print_text("\nTrying it …")
            findings = _trial(self.config())
            code = exit_code(findings)
            if self.asks or code:
                print_rich(render(findings))
            if not code:
                return 0
            wrong = next(finding.check for finding in findings if finding.level is Level.ERROR)
            if not self.asks:
                log.error("no file was written (hint: correct it, or --no-check writes it untried)")
                raise typer.Exit(code)
            if wrong == "postgresql" and (sql := _sql_for(self.config())) and _is_not_admitted(self.config()):
                print_text(f"If they are not there yet, a superuser of PostgreSQL makes them so:\n  {sql}\n")
            is_away = (wrong, code) == ("vendor", UnreachableError.exit_code)
            question = "[c]orrect it, [t]ry again, [w]rite it as it is, [s]top"
            letter = choose(question, ("c", "t", "w", "s"), "t" if is_away else "c")
            if letter == "s":
                raise typer.Exit(code)
            if letter == "w":
                return code
            if letter == "c":
                self._correct(wrong)

    def _correct(self, check: str) -> None:
        """Ask again for what a check of doctor is about."""
        match check:
            case "redis":
                self._answer_server("redis", again=True)
            case "postgresql":
                self._answer_server("database", again=True)
            case _:
                self._answer_key(again=True)

    def agree_to_it(self) -> None:
        """Show the files, and end here if the person does not want them."""
        if self.asks and self.planned().files:
            print_text("\n".join(["", *self._overview()]))
            if not agree("Try this, create the tables and write it?"):
                print_text("nothing was changed")
                raise typer.Exit

    def write(self) -> None:
        """Write the files, the configuration last; Ctrl-C waits for the end."""
        files = self.planned().files
        if not files:
            print_text("nothing to write: everything is as it was answered")
            return
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            for file in files:
                _write(file.path, file.text, file.mode, is_secret=file.is_secret)
        except OSError as error:
            raise ConfigError(
                f"{self.file.parent}: cannot be written: {(error.strerror or 'unknown').lower()}",
                hint=_ANOTHER_PLACE,
            ) from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        self._before, self._present = None, _present(self.file)
        names = ", ".join(os.path.relpath(file.path, self.file.parent) for file in files)
        print_text(f"written to {self.file.parent}: {names}")

    def show_all(self, schedule: Schedule) -> None:
        """Print the files with their texts, secrets left out, and what would start the commands."""
        config = self.config()
        overview = self._overview()
        print_text("\n".join(overview) or "nothing would change: everything is as it was answered")
        for file in self.planned().files:
            if file.path == self.file and self._present.config is None:
                print_text(f"\n{file.text.rstrip()}")
        if schedule is not Schedule.NONE:
            print_text("")
            self._schedule(config, schedule, dry_run=True)

    def _overview(self) -> list[str]:
        """Return a line for each planned file, and the lines of config.yml that change."""
        from assetbatch.config.dotenv import parse_dotenv

        lines = []
        for file in self.planned().files:
            state = "changed" if file.path.exists() else "new"
            lines.append(f"{file.path} ({state}, mode {file.mode:o})")
            if file.path == self.file and self._present.config is not None:
                before, after = self._present.config.splitlines(), file.text.splitlines()
                changes = list(unified_diff(before, after, n=0, lineterm=""))[2:]
                lines += [f"  {_PASSWORD.sub('***', line)}" for line in changes if line[0] in "+-"]
            elif file.path.name == ".env":
                there = parse_dotenv(self._present.dotenv)
                lines += [
                    f"  + {name}={'***' if name.endswith('_COMMAND') else value}"
                    for name, value in parse_dotenv(file.text).items()
                    if there.get(name) != value
                ]
        return lines

    def start_by(self, schedule: Schedule | None) -> int:
        """Install the starts, with consent, and start the first cycle; return the exit code.

        Who cannot start them here is said, and another may be chosen.
        """
        config = self.config()
        code = 0
        while True:
            chosen = schedule or (self._ask_schedule() if self.asks else Schedule.NONE)
            if chosen is Schedule.NONE:
                break
            try:
                self._schedule(config, chosen)
                code = 0
                break
            except AssetbatchError as error:
                log.error("%s", error)
                code = error.exit_code
                if schedule or not self.asks:
                    chosen = Schedule.NONE
                    break
        self._fetch_first(config)
        print_text("\n".join(self._next_steps(cron.starter_for(config).program, chosen)))
        return code

    def _fetch_first(self, config: Config) -> None:
        """Start what cron will start, by the same words."""
        starter = cron.starter_for(config)
        if self.asks and agree("Fetch the first prices now?"):
            subprocess.run(starter.words("run-priority"), check=False)
            if config.has_secondary:
                subprocess.run(starter.words("enqueue-secondary"), check=False)

    def _ask_schedule(self) -> Schedule:
        letters = {"c": Schedule.CRONTAB, "t": Schedule.SYSTEMD, "n": Schedule.NONE}
        question = "Start it from now on by your [c]rontab, by systemd's [t]imers, or [n]ot"
        if os.geteuid() == 0:
            letters["t"] = Schedule.SYSTEM
        return letters[choose(question, tuple(letters), "c" if shutil.which("crontab") else "t")]

    def _schedule(self, config: Config, schedule: Schedule, *, dry_run: bool = False) -> None:
        cron.schedule(
            config,
            self._name,
            systemd=schedule is Schedule.SYSTEMD,
            system=schedule is Schedule.SYSTEM,
            log_file=self._log_file,
            dry_run=dry_run,
        )

    def _next_steps(self, program: Sequence[str], schedule: Schedule) -> list[str]:
        from assetbatch.config.loading import places_in_force

        found = next(
            (one for one in places_in_force(os.environ, cwd=current_folder()) if _is_there(one)), None
        )
        words = shlex.join(program) if shutil.which("assetbatch") != program[0] else "assetbatch"
        if found != self.file:
            words += f" --config {shlex.quote(str(self.file))}"
        lines = [f"{words} status    shows what is fresh", f"{words} doctor    checks everything again"]
        if schedule is Schedule.NONE:
            option = "" if self._name == "main" else f" --name {self._name}"
            lines.append(f"{words} cron install{option}    lets cron start it")
        return lines


_ANOTHER_PLACE = "name another place with --config PATH, before the command"
_PASSWORD = re.compile(r"(?<=://)[^/?\s]*(?=@)|(?<=[?&])\w*passw[^&\s]*")
_DEFAULT_PRIORITY = ("XAUUSD", "EURUSD", "BTCUSD")
_SERVERS = {
    "database": ("PostgreSQL", "postgresql://user@host:5432/name"),
    "redis": ("Redis", "redis://host:6379/0"),
}


def _url(name: str, text: str) -> DatabaseUrl | RedisUrl:
    from assetbatch.config import DatabaseUrl, RedisUrl

    return DatabaseUrl.parse(text) if name == "database" else RedisUrl.parse(text)


def _with_password(name: str, url: DatabaseUrl | RedisUrl) -> DatabaseUrl | RedisUrl:
    """Ask for the password that a URL leaves out, if it names a user or a host that may want one."""
    from assetbatch.config.urls import holds_secret

    if url.embedded or holds_secret(url.reveal()):
        return url
    parts = urlsplit(url.reveal())
    login, _, host = parts.netloc.rpartition("@")
    if not host or (name == "database" and not login):
        return url
    password = ask_secret("Its password (Enter for none)", str)
    if not password:
        return url
    whole = parts._replace(netloc=f"{login}:{quote(password, safe='')}@{host}")
    return _url(name, whole.geturl())


def _sql_for(config: Config) -> str:
    """Return the SQL that makes the role and the database of a URL, or nothing if it names none."""
    url = config.database.url
    if url is None or not url.is_known or url.embedded:
        return ""
    parts = urlsplit(url.reveal())
    user, name = parts.username or "", parts.path.removeprefix("/")
    if not all(re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", one) for one in (user, name)):
        return ""
    return f"CREATE ROLE {user} LOGIN PASSWORD '...'; CREATE DATABASE {name} OWNER {user};"


def _is_not_admitted(config: Config) -> bool:
    """Return whether PostgreSQL is there, but refuses the login or has no such database."""
    from assetbatch.database.failures import NotAdmittedError
    from assetbatch.services import Services

    try:
        with Services(config) as services:
            services.open_store(check_schema=False).close()
    except NotAdmittedError:
        return True
    except AssetbatchError:
        pass
    return False


def _present(file: Path) -> Present:
    """Return the files that are there; raise ConfigError if one cannot be read."""
    from assetbatch.config.dotenv import parse_dotenv
    from assetbatch.setup.files import Present

    texts: list[str | None] = []
    for path in (file, file.parent / ".env"):
        try:
            texts.append(path.read_bytes().decode("utf-8-sig"))
        except (FileNotFoundError, NotADirectoryError):
            texts.append(None)
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"{path}: cannot be read") from None
    try:
        parse_dotenv(texts[1] or "")
    except ValueError as error:
        raise ConfigError(f"{file.parent}/.env: {error}") from None
    return Present(texts[0], texts[1] or "")


def _trial(config: Config) -> list[Finding]:
    """Try the configuration by doctor's own checks, and create the tables between them."""
    from assetbatch.commands.init import initialise
    from assetbatch.deadline import Deadline
    from assetbatch.doctor import examine, examine_config, examine_servers, exit_code
    from assetbatch.doctor.findings import of_error
    from assetbatch.services import Services

    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]  # libpq reads them, and cron does not have them
    findings = list(examine_config(config))
    if exit_code(findings):
        return findings
    with Deadline(TRIAL_SECONDS) as deadline, Services(config, deadline=deadline) as services:
        servers = list(examine_servers(services, deadline))
        if exit_code(servers):
            return [*findings, *servers]
        try:
            report = initialise(services)
        except AssetbatchError as raised:
            return [*findings, *servers, *of_error("postgresql", raised)]
        for concern in report.concerns:
            log.warning("%s", concern)
        findings += [one for one in examine(services, deadline, call=True) if one.check != "cron"]
    if deadline.stopped:
        raise typer.Exit(128 + deadline.stopped)
    return findings


def _write(path: Path, text: str, mode: int, *, is_secret: bool) -> None:
    """Write a file for the owner of its folder. One that was there keeps its place, mode and owner.

    A secret stays readable by the group if that, and not everybody, could read it. A link to a secret in
    another folder is replaced by a file, since the target may be a secret of other programs.
    """
    from assetbatch.files import replace_file
    from assetbatch.setup.files import is_beside

    if path.is_symlink() and path.lstat().st_uid in (0, os.geteuid()):
        target = path.resolve()
        path = target if not is_secret or is_beside(path.parent.resolve(), target) else path
    path.parent.mkdir(parents=True, exist_ok=True)
    there = path.stat() if path.exists() and not path.is_symlink() else None
    if there:
        kept = 0o777 if mode & 0o077 else 0o600 if there.st_mode & 0o004 else 0o640
        mode = there.st_mode & kept or mode
    owner = there or path.parent.stat()
    replace_file(path, text.encode(), mode & 0o707, durable=True)
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    elif there:
        with suppress(OSError):  # a group that this user is not in
            os.chown(path, -1, there.st_gid, follow_symlinks=False)
    if path.lstat().st_gid == owner.st_gid or not there or mode & 0o004:
        os.chmod(path, mode)
