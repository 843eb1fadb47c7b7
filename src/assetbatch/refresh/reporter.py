"""Report what a cycle does: one log line for each event, and a live line on a terminal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from assetbatch.domain.due import Verdict
from assetbatch.domain.endings import WAITS_FOR, wait_in_words
from assetbatch.domain.entitlements import KnownRestriction, restriction_in_words
from assetbatch.domain.formatting import plural
from assetbatch.domain.metrics import CallMade
from assetbatch.domain.queueing import Denied
from assetbatch.domain.work import Work
from assetbatch.refresh.progress import Progress
from assetbatch.state.history import History
from assetbatch.state.process_id import new_id

log = logging.getLogger("assetbatch")


class Reporter:
    """Logs events and counts waits; `progress` shows them to a person who waits."""

    def __init__(self, history: History, now_ms: Callable[[], int], progress: Progress) -> None:
        self._history = history
        self._now_ms = now_ms
        self._progress = progress
        self.waits = 0
        self.calls: list[CallMade] = []

    def assessed(self, judged: Sequence[tuple[Work, Verdict]]) -> None:
        """Log which work is due."""
        if not log.isEnabledFor(logging.DEBUG):  # thousands of texts would be made for nobody
            return
        for item, verdict in judged:
            log.debug("%s: %s, %s", item.id, "due" if verdict.due else "fresh", verdict.why.text)

    def waiting(self, refused: Denied, *, first: bool) -> None:
        """Log that a call waits for its slot; count it once for each call."""
        if first:
            self.waits += 1
            self._history.waited(self._now_ms(), new_id())
        text = f"waiting {wait_in_words(refused)} for a free call: {WAITS_FOR[refused.reason]}"
        log.log(logging.INFO if first else logging.DEBUG, text)
        self._progress.say(text)

    def calling(self, what: str) -> None:
        """Show that a call goes out."""
        self._progress.say(what)

    def called(self, what: str, call: CallMade) -> None:
        """Log a call that has ended, with an answer or not."""
        duration_ms = round(call.seconds * 1000)
        self.calls.append(call)
        log.info("%s: %s (%d ms)", what, call.outcome, duration_ms, extra={"duration_ms": duration_ms})

    def odd_bars(self, symbol: str, refused: Mapping[str, int], unordered: int) -> None:
        """Log that an answer had bars that cannot be true, or not in their order."""
        if refused:
            words = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
            count = plural(sum(refused.values()), "bar")
            log.warning("%s: %s of the answer not stored: %s", symbol, count, words, extra={"symbol": symbol})
        if unordered:
            bars = plural(unordered, "bar")
            log.info("%s: %s of the answer put in order", symbol, bars, extra={"symbol": symbol})

    def odd_prices(self, refused: Mapping[str, int]) -> None:
        """Log that an answer had prices that cannot be true, or that nobody asked for."""
        words = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
        log.warning("%s of the answer not stored: %s", plural(sum(refused.values()), "price"), words)

    def learned(self, refusal: KnownRestriction, *, expected: bool) -> None:
        """Log that the plan lacks something. Nobody is woken for what is `expected`: known before, or what
        the tier says."""
        level = logging.INFO if expected else logging.WARNING
        log.log(level, "%s", restriction_in_words(refusal), extra={"is_event": True})

    def too_many_calls(self, message: str, *, hint: str) -> None:
        """Log that the provider has refused a call because there were too many; the cycle survives it."""
        log.warning("%s (hint: %s)", message, hint, extra={"kind": "calls"})
