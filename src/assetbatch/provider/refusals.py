"""The refusals of the provider's API: every failure of a call is a `Refusal` of one kind.

The table `_RULES` is the whole classification. Its source are the provider's answers as users meet them
(statuses and texts of 401, 403, 404, 429; error words in a 200; error words of single tickers).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from assetbatch.domain.asset_classes import EXAMPLES
from assetbatch.domain.refusals import RefusalKind
from assetbatch.errors import AssetbatchError, KeyRefusedError, UnreachableError
from assetbatch.secret import Secret

GOOD_WORDS = frozenset({"OK", "SUCCESS", "DELAYED"})
"""The `status` words of a good answer, in capitals."""

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The exceptions of msgspec for bytes that are no JSON, no UTF-8, or nested without end."""

_MESSAGE_CHARS = 300


class Refusal(AssetbatchError):  # noqa: N818 - what a caller meets is a refusal, also as a value
    """The failure of a call, or of one ticker of a call.

    `message` is the provider's own text if there is one, else ours: one printable line without the key.
    `retry_after_seconds` is what the provider asks for (not capped). `sent` is False only if certainly no
    request reached the provider, so that the caller may give its grant back.
    """

    def __init__(
        self,
        kind: RefusalKind,
        message: str,
        *,
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(message, hint=_HINTS.get(kind))
        self.kind = kind
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds
        self.sent = sent
        self.exit_code = _EXIT_CODES.get(kind, AssetbatchError.exit_code)


_EXIT_CODES = {
    RefusalKind.KEY: KeyRefusedError.exit_code,
    RefusalKind.PROVIDER_DOWN: UnreachableError.exit_code,
}

_EXAMPLES = ", ".join(f"{asset_type} is like {ticker}" for asset_type, ticker in EXAMPLES.items())

_HINTS = {
    RefusalKind.KEY: "put a valid key into POLYGON_API_KEY (or POLYGON_API_KEY_FILE)",
    RefusalKind.UNKNOWN_TICKER: f"check polygon_ticker; {_EXAMPLES}",
    RefusalKind.TOO_MANY_CALLS: "see whether another program uses the same key",
    RefusalKind.NONSENSE: "check provider.base_url",
}


class _Rule(NamedTuple):
    statuses: frozenset[int]
    says: re.Pattern[str] | None
    kind: RefusalKind


def _says(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_TOLD = frozenset({200, *range(400, 500)})  # statuses under which the words of the body decide

# The first rule that fits wins: a `says` is looked for in "<status word> <text>" of the JSON body. The
# order matters, since most of the provider's texts end with an invitation to upgrade the plan.
_RULES = (
    _Rule(frozenset({401}), None, RefusalKind.KEY),
    _Rule(frozenset({429}), None, RefusalKind.TOO_MANY_CALLS),
    _Rule(frozenset({408, *range(500, 600)}), None, RefusalKind.PROVIDER_DOWN),
    _Rule(_TOLD, _says(r"before (the )?end of (the )?day|today.s data"), RefusalKind.TODAY_NOT_YET),
    _Rule(_TOLD, _says(r"data timeframe"), RefusalKind.TIMEFRAME),
    _Rule(_TOLD, _says(r"exceeded the maximum requests|too many requests"), RefusalKind.TOO_MANY_CALLS),
    _Rule(
        _TOLD,
        _says(
            r"(unknown|invalid|missing|expired|disabled|revoked) api ?key"
            r"|api ?key (was |is |has been )?(not provided|unknown|invalid|missing|expired|disabled|revoked)"
        ),
        RefusalKind.KEY,
    ),
    _Rule(
        _TOLD,
        _says(r"not[ _]entitled|upgrade your plan|plan (doesn.t|does not) include|^not_authorized"),
        RefusalKind.NOT_IN_PLAN,
    ),
    _Rule(frozenset({200, 404}), _says(r"^not_found|ticker not found"), RefusalKind.UNKNOWN_TICKER),
)


def kind_of(http_status: int, word: str, text: str) -> RefusalKind:
    """Return the kind of a refusal from its HTTP status, its status (or error) word and its text."""
    said = f"{word} {text}".strip()
    for rule in _RULES:
        if http_status in rule.statuses and (rule.says is None or rule.says.search(said)):
            return rule.kind
    return RefusalKind.NONSENSE


class _Envelope(msgspec.Struct):
    status: Any = None
    error: Any = None
    message: Any = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def classify(
    http_status: int, body: bytes | bytearray, headers: Mapping[str, str], key: Secret | None = None
) -> Refusal:
    """Return the refusal of an HTTP answer: any status but 200, or a 200 that is not good.

    The words count only if the body is JSON: the page of a proxy or a firewall that asks to upgrade a
    browser says nothing about the plan. `key` is removed from the message in case the provider echoes it.
    """
    word = text = ""
    try:
        envelope = _ENVELOPE.decode(body)
    except UNDECODABLE:
        shown = bytes(body[:4096]).decode("utf-8", "replace").strip()
        if shown.startswith(("<", "{", "[")):  # a web page or broken JSON is nothing to show
            shown = ""
    else:
        word = envelope.status if isinstance(envelope.status, str) else ""
        texts = (said for said in (envelope.error, envelope.message) if isinstance(said, str) and said)
        shown = text = next(texts, "")
    kind = kind_of(http_status, word, text)
    if http_status == 200 and word.strip().upper() in ("", *GOOD_WORDS):
        ours = "HTTP 200 with no usable answer"
    else:
        ours = f"HTTP {http_status} {word}"
    message = one_line(shown, key) or one_line(ours, key)
    if kind is RefusalKind.PROVIDER_DOWN:  # whose text may blame anything: the status is what counts
        message = one_line(f"the provider answers {http_status}" + (f": {shown}" if shown else ""), key)
    refusal = Refusal(
        kind,
        message,
        http_status=http_status,
        retry_after_seconds=_retry_after(headers),
    )
    if refusal.kind is RefusalKind.KEY and key and key.name:
        refusal.hint = f"put a valid key into {key.name}"
    return refusal


def classify_ticker(error: str, text: str, key: Secret | None = None) -> Refusal:
    """Return the refusal of a single ticker inside a good answer: its `error` word and its `message`."""
    return Refusal(kind_of(200, error, text), one_line(text or error, key), http_status=200)


def one_line(text: str, key: Secret | None = None) -> str:
    """Return `text` as one short line, without control characters and the key, with single white space."""
    line = " ".join("".join(char for char in text if char.isprintable() or char.isspace()).split())
    if key:
        # Before it is shortened, or a piece of the key could stay at the cut.
        line = re.sub(re.escape(key.reveal()), "***", line, flags=re.IGNORECASE)
    return line if len(line) <= _MESSAGE_CHARS else line[: _MESSAGE_CHARS - 1] + "…"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return `Retry-After` in seconds.

    A date counts from the answer's own `Date`, so no clock of ours matters.
    """
    by_name = {name.lower(): value for name, value in headers.items()}
    asked = by_name.get("retry-after", "").strip()
    if not asked:
        return None
    try:
        seconds = float(asked)
    except ValueError:
        # 15 ms of imports that only this rare header needs.
        from email.utils import parsedate_to_datetime

        try:
            until, now = (parsedate_to_datetime(text) for text in (asked, by_name.get("date", "")))
            seconds = (until - now).total_seconds()
        except (ValueError, TypeError, OverflowError):  # no date, or one with a zone and one without
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
