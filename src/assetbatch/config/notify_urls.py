"""The addresses of the services that are told what cron's mail is told."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Self

from assetbatch.config.wording import kind_of
from assetbatch.secret import HIDDEN, Secret, may_be_quoted

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")


class NotifyUrl(Secret):
    """One address in a form of apprise. It holds a token or a password, so only its service is shown."""

    __slots__ = ()

    @property
    def service(self) -> str:
        """The scheme: `ntfy`, `slack`, `mailtos`; masked if it looks like a token."""
        scheme = self.reveal().partition("://")[0]
        return scheme.lower() if may_be_quoted(scheme) else HIDDEN

    @property
    def fingerprint(self) -> str:
        """A name of this address from which nobody learns it."""
        return hashlib.blake2b(self.reveal().encode(), digest_size=6).hexdigest()


class NotifyUrls:
    """All addresses, in their order.

    Instead of them it may hold a function that returns the text that they are read from. Whoever asks for
    the first address calls it; it may raise ConfigError.
    """

    __slots__ = ("_known", "_source")
    expected: ClassVar[str] = "a URL of apprise, such as ntfy://… or mailtos://…, or a list of such URLs"

    def __init__(self, urls: Sequence[NotifyUrl] | Callable[[], str]) -> None:
        self._source = urls if callable(urls) else None
        self._known = () if callable(urls) else tuple(urls)

    @property
    def is_known(self) -> bool:
        """Return whether nobody has to run a command for the addresses."""
        return self._source is None

    @property
    def _urls(self) -> tuple[NotifyUrl, ...]:
        if self._source:
            self._known, self._source = self.parse(self._source())._known, None
        return self._known

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a list, or a text with one or more URLs; raise ValueError with the place of a wrong one."""
        if isinstance(value, str):
            value = _BETWEEN.split(value.strip().rstrip(","))
        if not isinstance(value, list):
            raise ValueError(f"found {kind_of(value)}, expected {cls.expected}")
        urls = []
        for place, url in enumerate(value, 1):
            of_several = f" (URL {place} of {len(value)})" if len(value) > 1 else ""
            if not isinstance(url, str):
                raise ValueError(f"found {kind_of(url)}, expected {cls.expected}{of_several}")
            if not (_URL.fullmatch(url) and url.isprintable()):
                raise ValueError(f"found a text that is no URL, expected {cls.expected}{of_several}")
            urls.append(NotifyUrl(url))
        return cls(urls)

    def names(self) -> list[str]:
        """Return what each address is called: its service, and its place if there are several."""
        count = len(self._urls)
        return [
            f"{url.service} (URL {place} of {count})" if count > 1 else url.service
            for place, url in enumerate(self._urls, 1)
        ]

    def masked(self) -> str:
        """Return the service of each address, as far as that is known without running a command."""
        if self._source:
            return HIDDEN
        return ", ".join(f"{url.service}://{HIDDEN}" for url in self._urls) or "none"

    def __iter__(self) -> Iterator[NotifyUrl]:
        return iter(self._urls)

    def __len__(self) -> int:
        return len(self._urls)

    def __bool__(self) -> bool:
        return self._source is not None or bool(self._known)

    def __repr__(self) -> str:
        return f"NotifyUrls({self.masked()!r})"

    def __str__(self) -> str:
        return self.masked()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NotifyUrls) and other._urls == self._urls

    def __hash__(self) -> int:
        return hash(self._urls)
