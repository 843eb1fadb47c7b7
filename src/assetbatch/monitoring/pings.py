"""Reports to a dead man's switch (healthchecks.io and the like): started, ended well, failed.

A report never harms the command. A thread of its own sends it, the command waits for it a few seconds at
most, and its failure is a line in the log. The address is a secret: only its host is ever named.
"""

from __future__ import annotations

import logging
import threading
import time
from urllib.parse import urlencode, urlsplit, urlunsplit

from assetbatch.secret import Secret, masked

log = logging.getLogger("assetbatch")

END_SECONDS = 4.0
"""Maximum time in seconds that a command waits at its end for all of its reports."""

TIMEOUT_SECONDS = 1.5
"""Timeout in seconds for connecting, and for each piece of the response."""

ATTEMPTS = 2
LONGEST = 10_000


class Ping:
    """The reports of one start; none without a URL. `run_id` (a UUID) tells overlapping starts apart."""

    def __init__(self, url: Secret | None, run_id: str) -> None:
        self._url = url
        self._run_id = run_id
        self._begun: threading.Thread | None = None

    def began(self) -> None:
        """Report that the command has started. Return at once."""
        self._begun = self._send("/start", "")

    def ended(self, exit_code: int, text: str, *, within_seconds: float = END_SECONDS) -> None:
        """Report that the command has ended, and wait for that at most `within_seconds`.

        `text` says how it ended, without secrets.
        """
        until = time.monotonic() + within_seconds
        if self._begun:  # in their order
            self._begun.join(within_seconds / 2)
        if exit_code:
            text = f"exit code {exit_code}: {text}"
        sent = self._send("/fail" if exit_code else "", text)
        if sent:
            sent.join(max(0.0, until - time.monotonic()))
            if sent.is_alive():
                log.info("ping: %s has not answered in time", self._host)

    @property
    def _host(self) -> str:
        return masked(urlsplit(self._url.reveal()).hostname or "") if self._url else ""

    def _send(self, path: str, text: str) -> threading.Thread | None:
        if self._url is None:
            return None
        address = address_of(self._url.reveal(), path, self._run_id)
        body = text.encode(errors="replace")[:LONGEST]
        thread = threading.Thread(target=self._post, args=(address, body), daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads for this user
            log.info("ping: %s: %s", self._host, type(error).__name__)
            return None
        return thread

    def _post(self, address: str, body: bytes) -> None:
        import requests

        why = ""
        for _ in range(ATTEMPTS):
            try:
                with requests.post(
                    address, data=body, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
                ) as answer:  # its body is left unread, however long it is
                    if 200 <= answer.status_code < 300:
                        return
                    why = f"status {answer.status_code}"
            except Exception as error:  # noqa: BLE001 - urllib3's own, too: whatever it is harms nobody
                why = type(error).__name__  # its text has the address
        log.info("ping: %s: %s", self._host, why)


def address_of(url: str, path: str, run_id: str) -> str:
    """Return the address of a report: the URL with a path added, and with the id of the run in its query."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode({"rid": run_id}))))
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path, query=query))
