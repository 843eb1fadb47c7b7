"""Tells the services of `notify` what this start has reported. Only a start that has something loads this."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from pathlib import Path

from assetbatch.cli.context import log
from assetbatch.cli.notices import UNREAD, NoticeLog, Told
from assetbatch.config import NotifyUrls
from assetbatch.errors import NOTICE, AssetbatchError
from assetbatch.monitoring.notify import Letter, Mood, deliver
from assetbatch.secret import masked


def tell(notices: NoticeLog, command: str) -> None:
    """Send each service what was reported, and what it did not get before. Report a failure on stderr."""
    urls = notices.urls or NotifyUrls(())
    try:
        fingerprints = [url.fingerprint for url in urls]
    except AssetbatchError as error:  # of the command that should print them
        notices.hand_over()
        _missed(notices, UNREAD, f"notify: {error}")
        return
    if over := notices.urls_read(fingerprints):
        _say(NOTICE, over)
    notices.hand_over()
    notices.save()  # whatever ends this process now, the next start sends it
    names, letters = [], []
    for name, url in zip(urls.names(), urls, strict=True):
        waiting = notices.service(url.fingerprint)
        if waiting and (notices.told or notices.is_due(waiting)):
            names.append(name)
            letters.append(Letter(url, "\n".join(waiting.unsent)))
    if not letters:
        return
    outcomes = deliver(title_of(command, notices.file), mood_of(notices.told), letters)
    for name, letter, why in zip(names, letters, outcomes, strict=True):
        if why is None:
            if over := notices.arrived(letter.url.fingerprint):
                _say(NOTICE, over)
        else:
            text = f"notify: {name} did not receive the lines above: {why} (hint: try assetbatch notify test)"
            _missed(notices, letter.url.fingerprint, text)


def title_of(command: str, file: Path | None) -> str:
    """Return the title of a message: which command of which installation, by its configuration file."""
    installation = f" ({masked(str(file))})" if file else ""
    return f"assetbatch {command} on {socket.gethostname()}{installation}"


def mood_of(told: Iterable[Told]) -> Mood:
    """Return how bad the worst of these lines is; a warning if there is none."""
    worst = max((line.level for line in told), default=logging.WARNING)
    return "failure" if worst > logging.WARNING else "warning" if worst == logging.WARNING else "success"


def _missed(notices: NoticeLog, fingerprint: str, text: str) -> None:
    if notices.missed(fingerprint, text):
        _say(logging.WARNING, text)


def _say(level: int, text: str) -> None:
    """Log a line that the notices have decided on already."""
    log.log(level, "%s", text, extra={"is_decided": True})
