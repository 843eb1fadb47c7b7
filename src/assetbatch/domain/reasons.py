"""Why work is due or not, and why an asset is in its state: reasons as values, and their texts for people."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from assetbatch.domain.formatting import format_duration, moment


class Reason(StrEnum):
    """Why something is due, is not due, or is in its state."""

    # Work that failed before pauses.
    REJECTED = "rejected"
    NOT_IN_PLAN = "not_in_plan"
    UNKNOWN_TICKER = "unknown_ticker"
    NO_DATA = "no_data"
    # Nothing comes under the ticker any more.
    DELISTED = "delisted"
    RENAMED = "renamed"
    # Nothing ever came under it.
    UNLISTED = "unlisted"
    # A price.
    NEVER_FETCHED = "never_fetched"
    CLOCK_SET_BACK = "clock_set_back"
    COMPLETE = "complete"
    REFRESHED = "refreshed"
    NEWLY_VISIBLE = "newly_visible"
    NOT_TRADED = "not_traded"
    CLOSED = "closed"
    END_MISSING = "end_missing"
    NOTHING_NEWER = "nothing_newer"
    # Bars.
    BARS_LAG = "bars_lag"
    BARS_UP_TO_DATE = "bars_up_to_date"
    NO_BARS_KEPT = "no_bars_kept"
    NO_BARS_IN_PLAN = "no_bars_in_plan"
    TOO_OLD = "too_old"
    ANSWERED = "answered"
    BARS_MISSING = "bars_missing"
    VERIFIED = "verified"
    NOTHING_TO_VERIFY = "nothing_to_verify"
    # The state of an asset.
    NOT_REGISTERED = "not_registered"
    NOT_STORED = "not_stored"
    NOT_MOVING = "not_moving"
    QUIET = "quiet"
    HALTED_OR_THIN = "halted_or_thin"


TEXTS = {
    Reason.REJECTED: "the database refuses it; asked again after {duration}, or after init",
    Reason.NOT_IN_PLAN: "not in the plan; asked again once a day",
    Reason.UNKNOWN_TICKER: "the provider does not know this ticker; asked again after {duration}",
    Reason.NO_DATA: "the provider had nothing; asked again after {duration}",
    Reason.DELISTED: "delisted since {about}; nothing is asked for any more",
    Reason.RENAMED: "renamed to {about}; nothing is asked for any more",
    Reason.UNLISTED: "the provider lists no stock {about}",
    Reason.NEVER_FETCHED: "never fetched",
    Reason.CLOCK_SET_BACK: "refreshed in the future: the clock was set back",
    Reason.COMPLETE: "complete up to {moment}",
    Reason.REFRESHED: "refreshed {duration} ago",
    Reason.NEWLY_VISIBLE: "data up to {moment} can be seen now",
    Reason.NOT_TRADED: "not traded on the last day that was published",
    Reason.CLOSED: "closed since {moment}, nothing newer was there afterwards",
    Reason.END_MISSING: "the end before {moment} was missing; asked again",
    Reason.NOTHING_NEWER: "nothing newer than {moment} was there; asked again later",
    Reason.BARS_LAG: "bars behind",
    Reason.BARS_UP_TO_DATE: "bars up to date",
    Reason.NO_BARS_KEPT: "keeps no bars",
    Reason.NO_BARS_IN_PLAN: "the plan has no 5-minute bars of it",
    Reason.TOO_OLD: "older than the plan's history",
    Reason.ANSWERED: "asked already",
    Reason.BARS_MISSING: "bars of the past are missing",
    Reason.VERIFIED: "asked for again, to compare",
    Reason.NOTHING_TO_VERIFY: "nothing of it was answered yet",
    Reason.NOT_REGISTERED: "not registered: run assetbatch init",
    Reason.NOT_STORED: "the last refresh succeeded, and no price is stored",
    Reason.NOT_MOVING: "the provider answers, but its price has not moved since {moment}",
    Reason.QUIET: "quiet since {moment}: its bars were asked for, and there are none",
    Reason.HALTED_OR_THIN: "no trade since {moment}: halted, or seldom traded",
}


class Explanation(msgspec.Struct, frozen=True, gc=False):
    """A reason, with the moment, the duration or the name that belongs to it."""

    reason: Reason
    at_ms: int | None = None
    duration_ms: int | None = None
    about: str = ""

    @property
    def text(self) -> str:
        """The explanation for people."""
        return TEXTS[self.reason].format(
            moment="" if self.at_ms is None else moment(self.at_ms),
            duration="" if self.duration_ms is None else format_duration(self.duration_ms),
            about=self.about,
        )
