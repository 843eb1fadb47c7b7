"""Reports to a dead man's switch: started, ended well, failed.

There are two forms. That of healthchecks.io tells by the end of the path, and has the reason in the body.
That of Uptime Kuma (`…/api/push/TOKEN`) tells by `status`, `msg` and `ping` in the query, and knows no
beginning: whatever reaches it is a heartbeat.

A report never harms the command. A thread of its own sends it, the command waits for it a few seconds at
most, and its failure is a line in the log. The address is a secret: only its host is ever named.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from enum import Enum
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from assetbatch.secret import Secret, masked

log = logging.getLogger("assetbatch")

END_SECONDS = 4.0
"""Maximum time in seconds that a command waits at its end for all of its reports."""

TIMEOUT_SECONDS = 1.5
"""Timeout in seconds for connecting, and for each piece of the response."""

ATTEMPTS = 2
LONGEST = 10_000
LONGEST_MESSAGE = 250
"""Maximum number of characters of a text that goes into a URL."""

_KUMA = re.compile(r"/api/push/[^/]+/?\Z")


class Moment(Enum):
    """What is reported; the value is what healthchecks.io has at the end of the path."""

    BEGAN = "/start"
    ENDED_WELL = ""
    FAILED = "/fail"


class Report(NamedTuple):
    """One request. A GET has no body."""

    method: str
    address: str
    body: bytes | None


class Ping:
    """The reports of one start; none without a URL. `run_id` (a UUID) tells overlapping starts apart."""

    def __init__(self, url: Secret | None, run_id: str) -> None:
        self._url = url
        self._run_id = run_id
        self._made = time.monotonic()
        self._begun: threading.Thread | None = None

    def began(self) -> None:
        """Report that the command has started. Return at once."""
        self._begun = self._send(Moment.BEGAN, "")

    def ended(self, exit_code: int, text: str, *, within_seconds: float = END_SECONDS) -> None:
        """Report that the command has ended, and wait for that at most `within_seconds`.

        `text` says how it ended, without secrets.
        """
        until = time.monotonic() + within_seconds
        if self._begun:  # in their order
            self._begun.join(within_seconds / 2)
        if exit_code:
            text = f"exit code {exit_code}: {text}"
        sent = self._send(Moment.FAILED if exit_code else Moment.ENDED_WELL, text)
        if sent:
            sent.join(max(0.0, until - time.monotonic()))
            if sent.is_alive():
                log.info("ping: %s has not answered in time", self._host)

    @property
    def _host(self) -> str:
        return masked(urlsplit(self._url.reveal()).hostname or "") if self._url else ""

    def _send(self, moment: Moment, text: str) -> threading.Thread | None:
        if self._url is None:
            return None
        lasted_ms = round((time.monotonic() - self._made) * 1000)
        report = report_of(self._url.reveal(), moment, text, self._run_id, lasted_ms)
        if report is None:
            return None
        thread = threading.Thread(target=self._request, args=(report,), daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads for this user
            log.info("ping: %s: %s", self._host, type(error).__name__)
            return None
        return thread

    def _request(self, report: Report) -> None:
        import requests

        why = ""
        for _ in range(ATTEMPTS):
            try:
                with requests.request(
                    report.method,
                    report.address,
                    data=report.body,
                    timeout=TIMEOUT_SECONDS,
                    allow_redirects=False,
                    stream=True,
                ) as answer:  # its body is left unread, however long it is
                    if 200 <= answer.status_code < 300:
                        return
                    why = f"status {answer.status_code}"
            except Exception as error:  # noqa: BLE001 - urllib3's own, too: whatever it is harms nobody
                why = type(error).__name__  # its text has the address
        log.info("ping: %s: %s", self._host, why)


def report_of(url: str, moment: Moment, text: str, run_id: str, lasted_ms: int) -> Report | None:
    """Return the request that reports a moment in the form of the address, or None if there is none for it.

    `lasted_ms` is how long the start has taken so far.
    """
    parts = urlsplit(url)
    if not _KUMA.search(parts.path):
        query = "&".join(filter(None, (parts.query, urlencode({"rid": run_id}))))
        address = urlunsplit(parts._replace(path=parts.path.rstrip("/") + moment.value, query=query))
        return Report("POST", address, text.encode(errors="replace")[:LONGEST])
    if moment is Moment.BEGAN:
        return None
    said = {
        "status": "down" if moment is Moment.FAILED else "up",
        "msg": text.encode(errors="replace").decode()[:LONGEST_MESSAGE] or "OK",
        "ping": str(lasted_ms),
    }
    kept = {name: value for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in said}
    return Report("GET", urlunsplit(parts._replace(query=urlencode(kept | said))), None)
