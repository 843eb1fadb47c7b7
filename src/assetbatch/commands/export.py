"""Copy stored bars into files, in constant memory: a month of a symbol at a time."""

from __future__ import annotations

import fcntl
import glob
import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

from assetbatch.commands.export_formats import Writer, writer_of
from assetbatch.config.symbols import did_you_mean
from assetbatch.database import Store
from assetbatch.domain.exporting import (
    EARLIEST_MS,
    LATEST_MS,
    MANIFEST,
    MANIFEST_VERSION,
    ExportFormat,
    ExportSize,
    Manifest,
    Piece,
    Written,
    file_of,
    is_current,
    pieces,
)
from assetbatch.errors import AssetbatchError, ConfigError
from assetbatch.files import READABLE, UNFINISHED, replacing, unwritable
from assetbatch.secret import masked
from assetbatch.services import Services

log = logging.getLogger("assetbatch")

READ_SECONDS = 120.0
"""Maximum time in seconds of one transaction, which reads a month of a symbol."""

_LOCK = ".assetbatch-export.lock"


class Wanted(NamedTuple):
    """What is exported: the bars of these symbols that begin within `[start_ms, end_ms)`."""

    symbols: Sequence[str]
    size: ExportSize
    written_as: ExportFormat
    start_ms: int = EARLIEST_MS
    end_ms: int = LATEST_MS


class Watcher(Protocol):
    """Hears how far an export is, and may stop it after each month."""

    def has_months(self, count: int) -> None:
        """Say how many months there are in all."""

    def goes_on(self, symbol: str, month: str, /) -> bool:
        """Say which month is next; return False to stop."""


class Exported(msgspec.Struct, kw_only=True):
    """What an export has done.

    `bars` is how many bars it has read for the files that it has written; of the symbols `without`, no bar of
    the size is stored in the range.
    """

    files: int = 0
    unchanged: int = 0
    bars: int = 0
    stopped: bool = False
    without: list[str] = []


class _Month(NamedTuple):
    symbol: str
    piece: Piece


def chosen(services: Services, symbols: Sequence[str], size: ExportSize) -> list[str]:
    """Return the symbols, each once, or all that are configured if none is named: of the members of rules
    those that keep bars, or all for bars of a day. Raise ConfigError for one that is not configured."""
    services.load_members()
    configured = services.config.configured_symbols
    for symbol in symbols:
        if symbol not in configured:
            meant = did_you_mean(symbol, configured)
            raise ConfigError(
                f"{symbol} is no configured symbol",
                hint=f"{meant} assetbatch config show lists the assets".lstrip(),
            )
    without = {one.symbol for one in services.config.members if not one.bars and size is not ExportSize.DAY}
    return list(dict.fromkeys(symbols or (one for one in configured if one not in without)))


def export_to_file(services: Services, wanted: Wanted, file: BinaryIO, watcher: Watcher) -> Exported:
    """Write the bars of all symbols into one file. Raise OSError, or what the store raises.

    Stopped, it has written a part of them.
    """
    begin = writer_of(wanted.written_as, wanted.size)
    done = Exported()
    with services.open_store(within_seconds=READ_SECONDS) as store:
        writer = begin(file)
        for month in _months(store, wanted, watcher, done, whole=False):
            if not watcher.goes_on(month.symbol, month.piece.month):
                done.stopped = True
                return done
            lines = store.export_bars(month.symbol, wanted.size, month.piece)
            writer.write(lines)
            done.bars += lines.count(b"\n")
        writer.close()
    done.files = 1
    return done


def export_in_place(services: Services, wanted: Wanted, path: Path, watcher: Watcher) -> Exported:
    """Write the bars of all symbols into a file that takes the place of another when it is whole. Stopped, it
    leaves everything as it was.

    Raise AssetbatchError.
    """
    try:
        with _replacing(path.resolve()) as file:
            done = export_to_file(services, wanted, file, watcher)
            if done.stopped:
                raise _StoppedError
    except OSError as error:
        raise unwritable(path, error) from None
    except _StoppedError:
        return Exported(stopped=True)
    return done


class _StoppedError(Exception):
    """The file is not whole."""


def export_to_folder(services: Services, wanted: Wanted, folder: Path, watcher: Watcher) -> Exported:
    """Write each month of each symbol into a file of its own, if the bars have changed since it was written.

    Months are whole, wherever the range begins and ends: a file never loses what an earlier export wrote for
    lack of a wider range. A month of which nothing is stored any more keeps its file. Raise AssetbatchError.
    """
    begin = writer_of(wanted.written_as, wanted.size)
    done = Exported()
    manifest: _Manifest | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder), services.open_store(within_seconds=READ_SECONDS) as store:
            for month in _months(store, wanted, watcher, done, whole=True):
                if not watcher.goes_on(month.symbol, month.piece.month):
                    done.stopped = True
                    break
                file = folder / file_of(month.symbol, wanted.size, month.piece.month, wanted.written_as)
                if manifest is None or manifest.folder != file.parent:
                    manifest = _Manifest(file.parent)
                _export_month(store, wanted, month, file, manifest, begin, done)
    except OSError as error:
        raise unwritable(Path(error.filename or folder), error) from None
    return done


def _export_month(
    store: Store,
    wanted: Wanted,
    month: _Month,
    file: Path,
    manifest: _Manifest,
    begin: Callable[[BinaryIO], Writer],
    done: Exported,
) -> None:
    # Before the bars are read: what changes in between is written again by the next export.
    content = store.export_content(month.symbol, wanted.size, month.piece)
    if content.bars == 0:
        return
    if is_current(manifest.files.get(file.name), content, _size_of(file)):
        done.unchanged += 1
        return
    buffer = io.BytesIO()
    writer = begin(buffer)
    lines = store.export_bars(month.symbol, wanted.size, month.piece)
    writer.write(lines)
    writer.close()
    file.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(file) as replaced:
        replaced.write(buffer.getbuffer())
    manifest.add(file.name, Written(content.bars, content.digest, buffer.tell()))
    done.files += 1
    done.bars += lines.count(b"\n")


def _months(
    store: Store, wanted: Wanted, watcher: Watcher, done: Exported, *, whole: bool
) -> Iterator[_Month]:
    """Yield the months of which something is stored, symbol by symbol. Note the symbols without any."""
    # The ranges and not the months: those of 10,000 symbols would take 50 MB.
    found: list[tuple[str, int, int]] = []
    for symbol in wanted.symbols:
        span = store.export_range(symbol, wanted.size, Piece(wanted.start_ms, wanted.end_ms))
        if span is None:
            done.without.append(symbol)
            continue
        # The whole range of a bar that is made of others: it may begin before the first of them.
        width_ms = wanted.size.derived.ms if wanted.size.derived else 1
        start_ms = max(wanted.start_ms, span[0] - span[0] % width_ms)
        found.append((symbol, start_ms, min(wanted.end_ms, span[1] + 1)))
    watcher.has_months(sum(1 for _, start_ms, end_ms in found for _ in pieces(start_ms, end_ms, whole=whole)))
    for symbol, start_ms, end_ms in found:
        for piece in pieces(start_ms, end_ms, whole=whole):
            yield _Month(symbol, piece)


class _Manifest:
    """What is noted of the files of a folder, from the disk and back with each file that is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept = _read_manifest(folder / MANIFEST)
        self.files: Mapping[str, Written] = self._kept.files

    def add(self, name: str, written: Written) -> None:
        """Note a file. Raise OSError."""
        self._kept.files[name] = written
        with _replacing(self.folder / MANIFEST) as file:
            file.write(msgspec.json.encode(self._kept))


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of another when it is whole; raise OSError.

    What exports that were killed have left of it is removed first.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{UNFINISHED}"):
        with suppress(OSError):  # another's, or locked by an export that goes on
            handle = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(handle, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
    with ExitStack() as until_replaced, replacing(path, READABLE) as file:
        handle = os.dup(file.fileno())  # the lock outlives the file that is closed
        until_replaced.callback(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield file


def _size_of(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None


def _read_manifest(file: Path) -> Manifest:
    """Return what the files hold. One that cannot be read counts as none: all is written again."""
    try:
        manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return Manifest()
    except (msgspec.DecodeError, UnicodeDecodeError):
        log.warning("%s cannot be read: every file is written again", masked(str(file)))
        return Manifest()
    return manifest if manifest.version == MANIFEST_VERSION else Manifest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep another export out of the folder: its files and what is noted of them would not fit together."""
    with open(folder / _LOCK, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AssetbatchError(
                f"another export writes into {masked(str(folder))}", hint="wait until it has ended"
            ) from None
        yield


def is_folder(path: str) -> bool:
    """Return whether an output means a folder: one that is there, or a name that ends in a slash."""
    return path.endswith((os.sep, "/")) or Path(path).is_dir()


def format_of(path: str, given: ExportFormat | None) -> ExportFormat:
    """Return the format that is given, else that of the name's ending, else CSV."""
    if given:
        return given
    return ExportFormat.PARQUET if PurePath(path).suffix.lower() == ".parquet" else ExportFormat.CSV
