"""A client that was there before assetbatch, and asks it for a slot before each request.

All that it takes is `SlotAdapter`, mounted into the session that the client has. It asks `assetbatch serve
--slots` where ASSETBATCH_SLOTS_URL names it (http://127.0.0.1:8787), else the command `assetbatch slot`.

    ASSETBATCH_CONFIG=… POLYGON_API_KEY=… python examples/existing_client.py C:EURUSD X:BTCUSD

ASSETBATCH_CONFIG names the configuration of the cycles: another one may have another Redis, and so another
window. The command `assetbatch` must be on the PATH.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import requests
from requests.adapters import HTTPAdapter

BASE_URL = os.environ.get("POLYGON_BASE_URL", "https://api.massive.com")
NO_SLOT = 75  # exit code of `assetbatch slot take` where no slot is free
TIMEOUTS = (3, 5)  # seconds to connect and to wait for the answer: together less than a slot is held


class Slot(NamedTuple):
    """Permission for one request."""

    id: str
    expires_at: datetime

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Slot:
        """Return the slot that an answer grants."""
        return cls(answer["slot"], datetime.fromisoformat(answer["expires_at"]))

    @property
    def seconds_left(self) -> float:
        """Seconds within which its request must begin and end."""
        return (self.expires_at - datetime.now(UTC)).total_seconds()


class Slots(Protocol):
    """Where slots come from."""

    def take(self) -> Slot:
        """Return a slot, waiting until one is free."""

    def done(self, slot: Slot) -> None:
        """Say that the request has been answered."""


class HttpSlots:
    """Slots of `assetbatch serve --slots`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def take(self) -> Slot:
        """Return a slot, waiting until one is free."""
        while True:
            answer = requests.post(f"{self._url}/slot", json={"name": "queue", "wait": 6}, timeout=9)
            if answer.ok:
                return Slot.of(answer.json())
            if answer.status_code != requests.codes.too_many_requests:
                answer.raise_for_status()
            time.sleep(min(answer.json()["retry_after_seconds"], 5))

    def done(self, slot: Slot) -> None:
        """Say that the request has been answered."""
        requests.delete(f"{self._url}/slot/{slot.id}", timeout=9)


class CommandSlots:
    """Slots of the command `assetbatch slot`, which needs no server."""

    def take(self) -> Slot:
        """Return a slot, waiting until one is free."""
        while True:
            ran = subprocess.run(
                ["assetbatch", "slot", "take", "--queue", "--wait", "300"],
                stdout=subprocess.PIPE,
                check=False,
            )
            if ran.returncode not in (0, NO_SLOT):
                raise RuntimeError(f"assetbatch slot take: exit code {ran.returncode}")
            answer = json.loads(ran.stdout)
            if answer["granted"]:
                return Slot.of(answer)
            time.sleep(min(answer["retry_after_seconds"], 60))

    def done(self, slot: Slot) -> None:
        """Say that the request has been answered."""
        subprocess.run(["assetbatch", "slot", "done", slot.id], stdout=subprocess.DEVNULL, check=False)


class SlotAdapter(HTTPAdapter):
    """Takes a slot for each request that a session sends, redirects too."""

    def __init__(self, slots: Slots) -> None:
        super().__init__(max_retries=0)  # a retry would be a second request
        self._slots = slots

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send one request with a slot of its own."""
        slot = self._slots.take()
        while slot.seconds_left < sum(TIMEOUTS):  # this machine stood still; the slot ends by itself
            slot = self._slots.take()
        options["timeout"] = TIMEOUTS
        response = super().send(request, *args, **options)  # if this fails, the slot ends by itself
        self._slots.done(slot)
        return response


def main(tickers: list[str]) -> int:
    """Print the previous day's close of each ticker, as the client did before."""
    url = os.environ.get("ASSETBATCH_SLOTS_URL")
    session = requests.Session()
    session.mount(BASE_URL, SlotAdapter(HttpSlots(url) if url else CommandSlots()))
    session.headers["Authorization"] = f"Bearer {os.environ['POLYGON_API_KEY']}"
    for ticker in tickers:
        answer = session.get(f"{BASE_URL}/v2/aggs/ticker/{ticker}/prev")
        answer.raise_for_status()
        results = answer.json().get("results") or [{}]
        sys.stdout.write(f"{ticker} {results[0].get('c')}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
