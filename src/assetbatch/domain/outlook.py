"""What the members of a rule will take: calls, rows, and the time of the first fill."""

from __future__ import annotations

import msgspec

from assetbatch.domain.asset_classes import class_of_type
from assetbatch.domain.assets import Rule
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.calls import GroupedDayCall, shared_call
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.formatting import format_duration, plural
from assetbatch.domain.models import SNAPSHOT_TICKERS
from assetbatch.domain.queueing import CallLimit
from assetbatch.domain.rules import RIGHT_HINT, TICKERS_PER_CALL, expected_calls, queries, symbol_of


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """What the members of a rule will take: calls and rows."""

    rule: str
    members: int
    is_counted: bool
    """Whether the members are known; else the number is what the provider is expected to list."""
    lookup_calls: int
    """Calls that look up the members, once a day."""
    price_calls: int
    """Calls for the prices of all members."""
    is_day_shared: bool
    """Whether one call brings a day of all of them."""
    room: int = 0
    """Maximum number of items in the queue, if there are more prices that take a call each; else 0."""
    is_shared_without_bars: bool = False
    """Whether members that keep no bars would share their calls."""
    days: int = 0
    """Days of the past that are asked for, one call each."""
    seconds: int = 0
    """About how long the first fill takes, at the most calls that the plan allows."""

    @property
    def calls(self) -> int:
        """The calls of the first fill."""
        return self.lookup_calls + self.price_calls + self.days

    @property
    def rows(self) -> int:
        """The rows of prices and days that the first fill stores."""
        return self.members * (1 + self.days + self.is_day_shared)

    @property
    def hint(self) -> str | None:
        """What to change, as the members cannot be kept like this; None if they can."""
        if not self.members:
            return RIGHT_HINT
        if not self.room:
            return None
        few = f"queue.max_size is {self.room:,}, too few for their prices"
        return f"{few}; with `bars: none` one call a day brings all" if self.is_shared_without_bars else few

    @property
    def words(self) -> str:
        """The same for people."""
        about = "" if self.is_counted else "about "
        prices = (
            "1 call a day for all prices"
            if self.is_day_shared
            else f"{plural(self.price_calls, 'call')} for all prices"
        )
        days = f", {plural(self.days, 'call')} for days of the past" if self.days else ""
        hint = f" (hint: {self.hint})" if self.hint else ""
        return (
            f"rule {self.rule}: {about}{plural(self.members, 'member')}, "
            f"{plural(self.lookup_calls, 'call')} a day to look them up, {prices}{days}; "
            f"the first fill is {plural(self.calls, 'call')} and about {plural(self.rows, 'row')}, "
            f"{format_duration(self.seconds * 1000)} or more{hint}"
        )


def outlook(
    rule: Rule,
    members: int | None,
    days: int,
    known: Entitlements,
    limit: CallLimit,
    max_size: int,
    now_ms: int,
) -> Outlook:
    """Return what the members of a rule will take: `members` is their number, if it is known, `days` how many
    days of the past are missing, and `max_size` how many items the queue holds."""
    count = sum(query.expected_tickers for query in queries(rule)) if members is None else members
    example = class_of_type(rule.every).example
    asset = rule.member(symbol_of(example), example)
    shared = shared_call(asset, known, now_ms)
    is_day_shared = shared is not None and shared[0] is GroupedDayCall
    without_bars = shared_call(msgspec.structs.replace(asset, bars=BarSize.NONE), known, now_ms)
    price_calls = 1 if is_day_shared else -(-count // SNAPSHOT_TICKERS) if shared else count
    found = Outlook(
        rule=rule.key,
        members=count,
        is_counted=members is not None,
        lookup_calls=expected_calls(rule) if members is None else max(1, -(-members // TICKERS_PER_CALL)),
        price_calls=price_calls,
        is_day_shared=is_day_shared,
        room=max_size if shared is None and count > max_size else 0,
        is_shared_without_bars=without_bars is not None and without_bars[0] is GroupedDayCall,
        days=days,
    )
    return msgspec.structs.replace(found, seconds=-(-found.calls * limit.window_ms // limit.limit) // 1000)
