"""Report a lasting failure when it begins, when it changes, once a day, and when it is over.

Cron mails what a command prints. Without this, a server that is down for a night fills a mailbox. A small
file of this host keeps what was reported, because Redis or the configuration may be what fails.

What is reported goes to stderr, and to the services of `notify` (`cli/telling.py`).
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from assetbatch.domain.formatting import moment, plural
from assetbatch.domain.units import MINUTE_MS
from assetbatch.errors import (
    NOTICE,
    AssetbatchError,
    ConfigError,
    DatabaseError,
    DeadlineExceededError,
    KeyRefusedError,
    RedisError,
    UnreachableError,
)
from assetbatch.files import replace_file

if TYPE_CHECKING:
    from assetbatch.config import NotifyUrls

FORGET_MS = 3_600_000
"""Time after which a notice that did not come up again is resolved, if no start has proved that before."""

FORGET_NAMED_MS = 86_400_000
"""The same for a notice that names assets, in a command that looks at other assets each time."""

SAID_SLACK_MS = 60_000
"""How far the clocks of Redis and of this host may be apart."""

REMIND_MS = 86_400_000
"""Time after which a lasting failure is reported again."""

_NUMBER = re.compile(r"(?<![A-Za-z_\d])\d+(?![A-Za-z_\d])")

_HINT = re.compile(r" \(hint: |(?P<after>; )hint: ")

Kind = Literal[
    "config", "redis", "database", "api", "key", "calls", "queue", "start", "died", "warning", "notify"
]
"""What a failure shows to be broken. It is resolved when a later start has used it with success.

`api` is the way to the provider, `key` its consent to the API key, `calls` to one more call; `queue` is room
in the queue, `start` a start that ends in time, `died` one that is not killed. `notify` is a service that
could not be reached, or whose address could not be read: `arrived` and `urls_read` alone resolve it.
"""


class Notice(msgspec.Struct, kw_only=True):
    """One reported line: when it first and last came up, how often, and the assets that it is about."""

    text: str
    kind: Kind
    first_ms: int
    last_ms: int
    reported_ms: int = msgspec.field(name="said_ms")
    count: int = 1
    symbols: list[str] = []
    unsent: list[str] = []
    """What a service of `notify` is still to get, if this is about that service."""


class Told(NamedTuple):
    """A line that this start has reported, with its level."""

    level: int
    text: str


AGAIN_MS = 10 * MINUTE_MS
"""Pause until a service that could not be reached is tried again, if nothing new is to be told before."""

UNREAD = "urls"
"""Stands for the services of `notify` as long as a command has not printed their addresses."""

MOST_KEPT = 50
"""Maximum number of lines that are kept for a service of `notify` that cannot be reached: the latest."""


def rendered(line: Told) -> str:
    """Return a line as a service gets it. News that asks for nothing has no level before it."""
    return line.text if line.level == NOTICE else f"{logging.getLevelName(line.level).lower()}: {line.text}"


class NoticeLog(logging.Filter):
    """What earlier starts of one command have reported. As a logging filter it holds these lines back.

    A record may carry, by `extra`:

    - `symbols`: the assets, or the ids of the queue, that it is about;
    - `kind`: what it shows to be broken, else it is a warning;
    - `key`: what it shares with other lines of the same failure, if the text has more than that;
    - `is_new`: it is reported each time that it comes up, such as a death;
    - `is_event`: the same, and it is never over, since it does not last;
    - `unless_said_since_ms`: the start of that moment may have reported its end itself;
    - `at_once`: it is saved at once, since what it is about may befall this start too.

    With `shows_all` it shows them all the same, and keeps count for the services of `notify` only.
    """

    def __init__(self, paths: Sequence[Path], now_ms: int, *, shows_all: bool = False) -> None:
        super().__init__()
        self._paths = paths
        self._now_ms = now_ms
        self.shows_all = shows_all
        self.urls: NotifyUrls | None = None
        """The services of `notify`; None as long as nobody knows."""
        self.file: Path | None = None
        """The configuration file of this start, if one was found."""
        self.told: list[Told] = []
        """What this start has reported so far."""
        self._lines: dict[str, Notice] = _read(paths)
        self._seen: set[str] = set()
        self._handed_over = 0
        self._kind: Kind = "warning"

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be shown: all below a warning, and every warning that is new."""
        if record.levelno < NOTICE or hasattr(record, "is_decided"):
            return True
        text = " ".join(record.getMessage().split())
        since_ms: int | None = getattr(record, "unless_said_since_ms", None)
        if since_ms is not None and self._has_ended_since(since_ms):
            is_new = False
        elif record.levelno == NOTICE or getattr(record, "is_event", False):
            is_new = True
        else:
            kind: Kind = getattr(record, "kind", self._kind)
            symbol = getattr(record, "symbol", None)
            symbols = getattr(record, "symbols", [] if symbol is None else [symbol])
            is_new = self.record(text, kind, symbols, getattr(record, "key", None))
            is_new = is_new or getattr(record, "is_new", False)
        if is_new:
            self.told.append(Told(record.levelno, text))
        if getattr(record, "at_once", False):
            self.hand_over()
            self.save()
        return is_new or self.shows_all

    def _has_ended_since(self, at_ms: int) -> bool:
        """Return whether a start since this moment has reported what ended it."""
        ended = (line for line in self._lines.values() if line.kind in ENDING)
        return any(line.last_ms >= at_ms - SAID_SLACK_MS for line in ended)

    def record(self, text: str, kind: Kind, symbols: Sequence[str] = (), shared: str | None = None) -> bool:
        """Count a line about these assets; return whether it is to be reported. `shared` is what other lines
        of the same failure have in common with it, if it is not the text."""
        key = key_of(text, symbols) if shared is None else key_of(shared)
        first_time_now = key not in self._seen
        self._seen.add(key)
        known = self._lines.get(key)
        if known is None:
            now_ms = self._now_ms
            self._lines[key] = Notice(
                text=text,
                kind=kind,
                first_ms=now_ms,
                last_ms=now_ms,
                reported_ms=now_ms,
                symbols=list(symbols),
            )
            return True
        if not first_time_now:  # several lines alike in one start: as the first
            return known.reported_ms == self._now_ms
        known.count += 1
        known.last_ms = self._now_ms
        known.symbols = list(dict.fromkeys([*known.symbols, *symbols]))
        if self._now_ms - known.reported_ms >= REMIND_MS:
            known.reported_ms = self._now_ms
            return True
        return False

    def failed(self, error: AssetbatchError) -> None:
        """Take the lines that follow as those of an error that has ended the start."""
        self._kind = kind_of(error)

    def resolved(
        self, works: Collection[Kind], well: Collection[str] = (), unasked: Collection[str] | None = ()
    ) -> list[str]:
        """Forget the notices that this start has proved to be over, and return a line for each.

        It did not meet them, and has used their kind with success (`works`). One that names assets is over
        once each of them was `well` in some start. One that was not met for long is over as well, unless it
        names assets that are `unasked`, so that nobody can have met it (None: nobody knows which).
        """
        resolved = []
        for key, line in list(self._lines.items()):
            if line.kind == "notify" or key in self._seen:
                continue
            if line.symbols:
                line.symbols = [symbol for symbol in line.symbols if symbol not in well]
                is_over = not line.symbols
            else:
                is_over = line.kind in works
            waits_for = set(line.symbols if unasked is None else unasked).intersection(line.symbols)
            forget_ms = FORGET_MS if not waits_for else FORGET_NAMED_MS if unasked is None else math.inf
            if is_over or self._now_ms - line.last_ms > forget_ms:
                resolved.append(self._over(key))
        return resolved

    def proved(self, error: AssetbatchError) -> list[str]:
        """Forget the notices that a start has proved to be over although this error has ended it. Return a
        line for each."""
        works = works_despite(error)
        over = [key for key, line in self._lines.items() if line.kind in works and key not in self._seen]
        return [self._over(key) for key in over]

    def _over(self, key: str) -> str:
        line = self._lines.pop(key)
        return f"over: {without_hint(line.text)} ({plural(line.count, 'time')} since {moment(line.first_ms)})"

    def service(self, fingerprint: str) -> Notice | None:
        """Return what a service of `notify` is still to get. Its count is 0 if that was not tried yet."""
        return self._lines.get(_of_service(fingerprint))

    def hand_over(self) -> None:
        """Keep what this start has reported for each service, until it has `arrived` there. No command is run
        for their addresses: until somebody has read them, one place keeps it for all."""
        lines = self.told[self._handed_over :]
        if self.urls and lines:
            services = [url.fingerprint for url in self.urls] if self.urls.is_known else [UNREAD]
            self._keep(services, [rendered(line) for line in lines])
            self._handed_over = len(self.told)

    def _keep(self, services: Iterable[str], lines: Sequence[str]) -> None:
        for fingerprint in services:
            line = self._waiting(fingerprint)
            line.unsent = [*line.unsent, *lines][-MOST_KEPT:]

    def _waiting(self, fingerprint: str) -> Notice:
        untried = Notice(text="", kind="notify", first_ms=0, last_ms=0, reported_ms=0, count=0)
        return self._lines.setdefault(_of_service(fingerprint), untried)

    def urls_read(self, fingerprints: Sequence[str]) -> str | None:
        """Note that the addresses of these services, all there are, could be read.

        Forget the services that are not configured any more. Return the line that says so if it was reported
        that no address could be read.
        """
        waiting = self.service(UNREAD)
        over = self.arrived(UNREAD) if waiting else None
        keep = set(map(_of_service, fingerprints))
        for key, line in list(self._lines.items()):
            if line.kind == "notify" and key not in keep:
                del self._lines[key]
        if waiting:
            self._keep(fingerprints, waiting.unsent)
        return over

    def missed(self, fingerprint: str, text: str) -> bool:
        """Note that a service (or `UNREAD`) did not get what it should; return whether to report that."""
        key = _of_service(fingerprint)
        line = self._waiting(fingerprint)
        if line.count:
            return self.record(line.text, "notify", shared=key)
        line.text, line.count = text, 1
        line.first_ms = line.last_ms = line.reported_ms = self._now_ms
        return True

    def arrived(self, fingerprint: str) -> str | None:
        """Note that a service got everything; return the line that says so if it was reported otherwise."""
        key = _of_service(fingerprint)
        if self._lines[key].count:
            return self._over(key)
        del self._lines[key]
        return None

    @property
    def is_to_be_sent(self) -> bool:
        """Return whether there is something for the services: news, or what is due to be tried again."""
        if self.told and self.urls:
            return True
        unread = self.service(UNREAD)
        waiting = [unread] if unread else [line for line in self._lines.values() if line.kind == "notify"]
        return any(map(self.is_due, waiting))

    def is_due(self, line: Notice) -> bool:
        """Return whether it is time to send this again, even if there is no news."""
        return self._now_ms - line.last_ms >= AGAIN_MS

    def save(self) -> None:
        """Save the notices for the next start. If that fails, the next start reports everything."""
        if self.shows_all and not self.urls:
            return
        if not self._lines:
            for path in self._paths:
                with suppress(OSError):
                    path.unlink()
            if not any(map(_saved_ns, self._paths)):
                return
        for path in self._paths:
            with suppress(OSError):
                if _own(path.parent):
                    replace_file(path, msgspec.json.encode(self._lines))
                    return


def _of_service(fingerprint: str) -> str:
    return f"notify_{fingerprint}"


def without_hint(text: str) -> str:
    """Return what a line says, without what is to be done: of a failure that is over, nothing is."""
    hint = _HINT.search(text)
    return f"{text[: hint.start()]}{')' if hint['after'] else ''}" if hint else text


def key_of(text: str, symbols: Iterable[str] = ()) -> str:
    """Return what two lines of the same failure share: the text without its numbers.

    A digit in a name stays: `S01`, or one in a symbol with which the line begins.
    """
    names, colon, _ = text.partition(": ")
    numbered = [symbol for symbol in symbols if colon and symbol in names and _NUMBER.search(symbol)]
    return _NUMBER.sub("#", text) + ",".join(numbered)


def kind_of(error: AssetbatchError) -> Kind:
    """Return what an error shows to be broken."""
    return next((kind for cause, kind in _KINDS if isinstance(error, cause)), "start")


_KINDS: tuple[tuple[type[AssetbatchError], Kind], ...] = (
    (ConfigError, "config"),
    (RedisError, "redis"),
    (DatabaseError, "database"),
    (KeyRefusedError, "key"),
    (DeadlineExceededError, "start"),
    (UnreachableError, "api"),
)

ENDING: frozenset[Kind] = frozenset({"redis", "database", "api", "key", "start"})
"""The kinds of what ends a start that has begun its work."""

_USED_BEFORE: Mapping[Kind, frozenset[Kind]] = {
    "redis": frozenset({"config"}),
    "database": frozenset({"config", "redis"}),
    "api": frozenset({"config", "redis", "database"}),
    "key": frozenset({"config", "redis", "database", "api"}),
    "start": frozenset({"config"}),
}
"""What a start has used with success before it can fail so: it asks for its lock, then for what is stored,
then the provider, which answers before it refuses a key."""


def works_despite(error: AssetbatchError) -> frozenset[Kind]:
    """Return what a start has used with success that an error has ended."""
    return _USED_BEFORE.get(kind_of(error), frozenset())


def _read(paths: Sequence[Path]) -> dict[str, Notice]:
    """Return what the last start has saved: an older file may lie in a place that cannot be written now."""
    for path in sorted(filter(_saved_ns, paths), key=_saved_ns, reverse=True):
        with suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Notice])
    return {}


def _saved_ns(path: Path) -> int:
    """Return when a file of this user was written, in Unix nanoseconds; 0 if there is none."""
    with suppress(OSError):
        status = path.stat(follow_symlinks=False)
        return status.st_mtime_ns if status.st_uid == os.geteuid() else 0
    return 0


def _own(folder: Path) -> bool:
    """Make a folder if it is missing; return whether it belongs to this user. Raise OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.stat(follow_symlinks=False).st_uid == os.geteuid() and not folder.is_symlink()


def places(command: str, installation: str) -> list[Path]:
    """Return the places for the notices of a command. The first that can be written is written, the file that
    was written last is read.

    These are the user's state folder, and a private folder below the temporary one.
    """
    digest = hashlib.blake2b(installation.encode(), digest_size=4).hexdigest()
    return [folder / f"{command}-{digest}.json" for folder in _folders()]


def _folders() -> list[Path]:
    home = os.environ.get("HOME")
    state = os.environ.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else None)
    temporary = Path(tempfile.gettempdir()) / f"assetbatch-{os.geteuid()}"
    return [*([Path(state) / "assetbatch"] if state and state.startswith("/") else []), temporary]
