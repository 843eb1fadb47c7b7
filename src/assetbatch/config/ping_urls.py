"""The addresses of a dead man's switch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Self
from urllib.parse import urlsplit

from assetbatch.config.urls import check_host, masked_parts, split_url
from assetbatch.config.wording import kind_of
from assetbatch.secret import HIDDEN, Secret

PINGED_COMMANDS = ("run-priority", "run-queue", "enqueue-secondary", "status")


class PingUrls:
    """The addresses to which the end of a command is reported: one for all commands, or one for each.

    Whoever knows such an address can report in our name, so it is a secret.
    """

    __slots__ = ("_urls",)
    expected: ClassVar[str] = f"https://… or a mapping of {', '.join(PINGED_COMMANDS)} to such addresses"

    def __init__(self, urls: Mapping[str, Secret]) -> None:
        self._urls = MappingProxyType(dict(urls))

    def for_command(self, command: str) -> Secret | None:
        """Return the address for this command, or None."""
        return self._urls.get(command)

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a text or a mapping; raise ValueError that names the command of a wrong address."""
        if isinstance(value, str):
            url = _ping_url(value, cls.expected)
            return cls(dict.fromkeys(PINGED_COMMANDS, url))
        if not isinstance(value, dict):
            raise ValueError(f"found {kind_of(value)}, expected {cls.expected}")
        urls = {}
        for command, address in value.items():
            if command not in PINGED_COMMANDS:
                raise ValueError(f"found a key that is no command, expected {cls.expected}")
            try:
                urls[str(command)] = _ping_url(address, "https://…")
            except ValueError as error:
                raise ValueError(f"{error} (for {command})") from None
        return cls(urls)

    def masked(self) -> str:
        """Return scheme and host of each address."""
        shown = {command: _masked_ping(url) for command, url in self._urls.items()}
        if len(shown) == len(PINGED_COMMANDS) and len(set(self._urls.values())) == 1:
            return next(iter(shown.values()))
        return ", ".join(f"{command} {url}" for command, url in shown.items())

    def __repr__(self) -> str:
        return f"PingUrls({self.masked()!r})"

    def __str__(self) -> str:
        return self.masked()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PingUrls) and other._urls == self._urls

    def __hash__(self) -> int:
        return hash(frozenset(self._urls.items()))


def _ping_url(value: object, expected: str) -> Secret:
    url, parts = split_url(value, expected, ("https", "http"))
    host = parts.netloc.rpartition("@")[2]
    if not host:
        raise ValueError(f"found a URL without a host, expected {expected}")
    check_host(host, expected)
    return Secret(url)


def _masked_ping(url: Secret) -> str:
    parts = urlsplit(url.reveal())
    return f"{parts.scheme}://{masked_parts(parts.netloc.rpartition('@')[2])}/{HIDDEN}"
