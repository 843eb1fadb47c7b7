"""Report a lasting failure when it begins, when it changes, once a day, and when it is over.

Cron mails what a command prints. Without this, a server that is down for a night fills a mailbox. A small
file of this host keeps what was reported, because Redis or the configuration may be what fails.

What is reported goes to stderr, and to the services of `notify` (`cli/telling.py`).
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from assetbatch.domain.formatting import moment, plural
from assetbatch.errors import (
    NOTICE,
    AssetbatchError,
    DatabaseError,
    DeadlineExceededError,
    KeyRefusedError,
    RedisError,
    UnreachableError,
)
from assetbatch.monitoring.files import replace_file

if TYPE_CHECKING:
    from assetbatch.config import NotifyUrls

FORGET_MS = 3_600_000
"""Time after which a notice that did not come up again is resolved, if no start has proved that before."""

REMIND_MS = 86_400_000
"""Time after which a lasting failure is reported again."""

_NUMBER = re.compile(r"(?<![A-Za-z_\d])\d+(?![A-Za-z_\d])")

Kind = Literal["redis", "database", "api", "start", "warning", "notify"]
"""What a failure shows to be broken. It is resolved when a later start has used it with success; a service of
`notify` that could not be reached, by `arrived` only."""


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


class NoticeLog(logging.Filter):
    """What earlier starts of one command have reported. As a logging filter it holds these lines back.

    With `shows_all` it shows them all the same, and keeps count for the services of `notify` only.
    """

    def __init__(self, paths: Sequence[Path], now_ms: int, *, shows_all: bool = False) -> None:
        super().__init__()
        self._paths = paths
        self._now_ms = now_ms
        self.shows_all = shows_all
        self.urls: NotifyUrls | None = None
        """The services of `notify`, as soon as the configuration is read."""
        self.told: list[Told] = []
        """What this start has reported so far."""
        self._lines: dict[str, Notice] = _read(paths)
        self._seen: set[str] = set()
        self._kind: Kind = "warning"

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be shown: all below a warning, and every warning that is new."""
        if record.levelno < NOTICE or hasattr(record, "is_decided"):
            return True
        text = " ".join(record.getMessage().split())
        is_new = record.levelno == NOTICE or self.record(text, self._kind, getattr(record, "symbols", []))
        if is_new:
            self.told.append(Told(record.levelno, text))
        return is_new or self.shows_all

    def record(self, text: str, kind: Kind, symbols: Sequence[str] = (), *, key: str | None = None) -> bool:
        """Count a line about these assets; return whether it is to be reported."""
        key = key or key_of(text, symbols)
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
        if self._now_ms - known.reported_ms >= REMIND_MS:
            known.reported_ms = self._now_ms
            return True
        return False

    def failed(self, error: AssetbatchError) -> None:
        """Take the lines that follow as those of an error that has ended the start."""
        self._kind = kind_of(error)

    def resolved(self, works: Collection[Kind], unasked: Collection[str] = ()) -> list[str]:
        """Forget the resolved notices, and return a line for each.

        A notice is resolved if this start did not meet it and has used its kind with success (`works`), or
        if it was not met for an hour. A notice about `unasked` assets stays: this start learned nothing of
        them.
        """
        resolved = []
        for key, line in list(self._lines.items()):
            if line.kind == "notify" or key in self._seen or not set(unasked).isdisjoint(line.symbols):
                continue
            if line.kind in works or self._now_ms - line.last_ms > FORGET_MS:
                del self._lines[key]
                resolved.append(_over(line))
        return resolved

    @property
    def now_ms(self) -> int:
        """The time of this start."""
        return self._now_ms

    def service(self, fingerprint: str) -> Notice | None:
        """Return the notice about a service of `notify` that could not be reached, if there is one."""
        return self._lines.get(_of_service(fingerprint))

    def missed(self, fingerprint: str, text: str, unsent: list[str]) -> bool:
        """Note that a service did not get these lines; return whether that is to be reported."""
        key = _of_service(fingerprint)
        is_new = self.record(text, "notify", key=key)
        self._lines[key].unsent = unsent
        return is_new

    def arrived(self, fingerprint: str) -> str | None:
        """Note that a service got everything; return the line that says so if it was reported otherwise."""
        line = self._lines.pop(_of_service(fingerprint), None)
        return _over(line) if line else None

    def forget_services(self, but: Collection[str]) -> None:
        """Forget the services of `notify` that are not configured any more."""
        keep = set(map(_of_service, but))
        for key, line in list(self._lines.items()):
            if line.kind == "notify" and key not in keep:
                del self._lines[key]

    @property
    def has_unsent(self) -> bool:
        """Return whether a service is still to get something."""
        return any(line.kind == "notify" for line in self._lines.values())

    def save(self) -> None:
        """Save the notices for the next start. If that fails, the next start reports everything.

        An error that has ended this start replaces those that have ended earlier ones.
        """
        if self.shows_all and not self.urls:
            return
        if self._kind != "warning":
            for key, line in list(self._lines.items()):
                if key not in self._seen and line.kind not in ("warning", "notify"):
                    del self._lines[key]
        for path in self._paths:
            with suppress(OSError):
                if not self._lines:
                    path.unlink(missing_ok=True)
                elif _own(path.parent):
                    replace_file(path, msgspec.json.encode(self._lines))
                    return


def _over(line: Notice) -> str:
    return f"over: {line.text} ({plural(line.count, 'time')} since {moment(line.first_ms)})"


def _of_service(fingerprint: str) -> str:
    return f"notify {fingerprint}"


def key_of(text: str, symbols: Iterable[str] = ()) -> str:
    """Return what two lines of the same failure share: the text without its numbers.

    A digit in a name stays: `S01`, or one in a symbol with which the line begins.
    """
    names, colon, _ = text.partition(": ")
    numbered = [symbol for symbol in symbols if colon and symbol in names and _NUMBER.search(symbol)]
    return _NUMBER.sub("#", text) + ",".join(numbered)


def kind_of(error: AssetbatchError) -> Kind:
    """Return what an error shows to be broken."""
    if isinstance(error, RedisError):
        return "redis"
    if isinstance(error, DatabaseError):
        return "database"
    if isinstance(error, KeyRefusedError) or (
        isinstance(error, UnreachableError) and not isinstance(error, DeadlineExceededError)
    ):
        return "api"
    return "start"


def _read(paths: Sequence[Path]) -> dict[str, Notice]:
    for path in paths:
        with suppress(OSError, msgspec.DecodeError):
            if path.stat(follow_symlinks=False).st_uid == os.geteuid():
                return msgspec.json.decode(path.read_bytes(), type=dict[str, Notice])
    return {}


def _own(folder: Path) -> bool:
    """Make a folder if it is missing; return whether it belongs to this user. Raise OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.stat(follow_symlinks=False).st_uid == os.geteuid() and not folder.is_symlink()


def places(command: str, installation: str) -> list[Path]:
    """Return the places for the notices of a command. The first that can be written counts.

    These are the user's state folder, and a private folder below the temporary one.
    """
    digest = hashlib.blake2b(installation.encode(), digest_size=4).hexdigest()
    return [folder / f"{command}-{digest}.json" for folder in _folders()]


def _folders() -> list[Path]:
    home = os.environ.get("HOME")
    state = os.environ.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else None)
    temporary = Path(tempfile.gettempdir()) / f"assetbatch-{os.geteuid()}"
    return [*([Path(state) / "assetbatch"] if state and state.startswith("/") else []), temporary]
