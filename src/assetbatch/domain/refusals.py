"""The kinds of refusal that the provider answers with."""

from __future__ import annotations

from enum import StrEnum


class RefusalKind(StrEnum):
    """Why a call brought nothing; each kind has one consequence."""

    KEY = "key"
    """The key is missing, unknown or switched off: nothing will work."""
    NOT_IN_PLAN = "not_in_plan"
    """The plan lacks this endpoint or this asset class."""
    TODAY_NOT_YET = "today_not_yet"
    """The plan shows a day only after its end."""
    TIMEFRAME = "timeframe"
    """The plan's history does not reach back so far, or has no intraday bars there."""
    UNKNOWN_TICKER = "unknown_ticker"
    """The provider does not know the ticker."""
    TOO_MANY_CALLS = "too_many_calls"
    """The provider's call limit is used up, whoever used it."""
    PROVIDER_DOWN = "vendor_down"
    """No complete answer came: DNS, connection, TLS, deadline, or a 5xx."""
    NONSENSE = "nonsense"
    """An answer came that means nothing to us."""
