"""The process that sends notifications with apprise: reads an order from stdin, writes outcomes to stdout."""

from __future__ import annotations

import contextvars
import logging
import os
import re
import signal
import sys
import threading
from urllib.parse import quote, unquote, unquote_plus

import msgspec

from assetbatch.errors import EXTRAS_HINT
from assetbatch.monitoring.notify import Order, Outcome
from assetbatch.secret import HIDDEN, masked_prose

NAME = "assetbatch"
LONGEST_REASON = 200
SHORTEST_PART = 4
"""Number of characters from which on a part of an address is hidden within a word too."""

_place: contextvars.ContextVar[int] = contextvars.ContextVar("place", default=-1)


class _Reasons(logging.Handler):
    """Keeps the last warning of apprise about each letter."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.last[_place.get()] = record.getMessage()


def main() -> None:
    """Send what is ordered, all letters at once."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    signal.alarm(round(order.seconds) + 2)  # if nobody is there any more who kills it
    outcomes = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no outcome
    reasons = _Reasons()
    logging.getLogger("apprise").addHandler(reasons)

    def send(place: int) -> None:
        url, body = order.letters[place]
        _place.set(place)
        try:
            said = _send(url, order.title, body, order.mood)
            if said == "":
                said = reasons.last.get(place, "the service did not take it")
        except Exception as error:  # noqa: BLE001 - whatever a service's own code raises
            said = type(error).__name__
        why = None if said is None else reason(said, url)
        os.write(outcomes, msgspec.json.encode(Outcome(place, why)) + b"\n")

    threads = [threading.Thread(target=send, args=(place,)) for place in range(len(order.letters))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)  # a pool of the library may still wait for something


def _send(url: str, title: str, body: str, mood: str) -> str | None:
    """Return None for a letter that was sent, else why not; empty if only the library can say it."""
    try:
        import apprise
    except ImportError:
        return f"apprise is not installed ({EXTRAS_HINT})"
    asset = apprise.AppriseAsset(app_id=NAME, app_desc=NAME, image_url_mask="", image_url_logo="")
    service = apprise.Apprise(asset=asset)
    if not service.add(url):
        return "apprise takes no such URL (assetbatch config check)"
    kind = getattr(apprise.NotifyType, mood.upper())  # an enum, in earlier versions texts
    is_sent = service.notify(body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
    return None if is_sent else ""


def reason(said: str, url: str) -> str:
    """Return the words of a library about an address without anything that the address holds."""
    said = re.sub(r"\berror=([0-9]{3})\b", r"HTTP \1", " ".join(said.split()))
    for part in sorted(_parts(url), key=len, reverse=True):
        pattern = re.escape(part)
        if len(part) < SHORTEST_PART:
            pattern = rf"(?<![^\W_]){pattern}(?![^\W_])"
        said = re.sub(pattern, HIDDEN, said, flags=re.IGNORECASE)
    return masked_prose(said).rstrip(".")[:LONGEST_REASON]


def _parts(url: str) -> set[str]:
    """Return whatever an address may hold a secret in, as it is written and as a service gets it."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    wholes = {*re.split(r"[/:@]", place), *(pair.partition("=")[2] for pair in re.split("[&;]", query))}
    for authority in (place.partition("/")[0], place):  # a password may hold a bare / or @
        login = authority.rpartition("@")[0]
        wholes |= {login, *login.partition(":")[::2]}
    meant = {unquote(part) for part in wholes} | {unquote_plus(part) for part in wholes}
    parts = (
        wholes | meant | {quote(part, safe="") for part in meant} | {" ".join(part.split()) for part in meant}
    )
    for text in (url, unquote(url)):
        parts |= {part for part in re.split(r"[^A-Za-z0-9_.-]+", text) if len(part) >= SHORTEST_PART}
    return parts - {"", scheme}


if __name__ == "__main__":
    main()
