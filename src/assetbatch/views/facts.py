"""The health document in words: the table, the page and the monitors' line say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from assetbatch.domain.asset_classes import AssetType, Product, product_of
from assetbatch.domain.endings import pause_in_words
from assetbatch.domain.formatting import format_duration, moment, plural, together
from assetbatch.domain.market_hours import to_ms
from assetbatch.domain.queueing import DenialReason, Lane
from assetbatch.domain.records import Command
from assetbatch.domain.status import AssetState
from assetbatch.domain.units import MINUTE_MS, SECOND_MS
from assetbatch.health import AssetHealth, FailureShown, Health, Metric, Problem, Verification
from assetbatch.health.problems import gravest_first

NOW_MS = MINUTE_MS
"""Maximum age of data that are up to now."""

CAUSES_IN_HINT = 2
"""Maximum number of failures that the hint of an alert names."""


def problems(health: Health) -> list[Problem]:
    """Return what is wrong, the alerts too, the gravest first, each with what to do."""
    alerts = [
        Problem(
            f"{alert.metric} is {alert.value:g}, its threshold is {alert.threshold:g}",
            _cause(alert.metric, health),
            alert.severity,
        )
        for alert in health.alerts
    ]
    return gravest_first([*health.problems, *alerts])


def fresh(assets: Sequence[AssetHealth]) -> str:
    """Return how many assets are fresh, as `3 of 20 assets fresh, 17 not fetched yet`, and how many are
    without data or delisted."""
    states = Counter(asset.state for asset in assets)
    words = [f"{sum(asset.state.is_fresh for asset in assets):,} of {plural(len(assets), 'asset')} fresh"]
    words += [
        f"{states[state]:,} {label}"
        for state, label in (
            (AssetState.NEVER, "not fetched yet"),
            (AssetState.NO_DATA, "without data"),
            (AssetState.DELISTED, "delisted"),
        )
        if states[state]
    ]
    return ", ".join(words)


def products(assets: Iterable[AssetHealth]) -> dict[Product, list[AssetHealth]]:
    """Return the assets of each product that has some, in the order of the products."""
    found: dict[Product, list[AssetHealth]] = {product: [] for product in Product}
    for asset in assets:
        found[product_of(AssetType(asset.asset_type))].append(asset)
    return {product: members for product, members in found.items() if members}


def fresh_by_product(assets: Sequence[AssetHealth]) -> str:
    """Return the same of each product, as `currencies 3 of 3, stocks 4 of 5`; nothing if there is only
    one."""
    by_product = products(assets)
    if len(by_product) < 2:
        return ""
    return ", ".join(
        f"{product} {sum(asset.state.is_fresh for asset in members):,} of {len(members):,}"
        for product, members in by_product.items()
    )


def _cause(metric: Metric, health: Health) -> str | None:
    """Return what has brought a metric beyond its threshold, as far as is known, and what to do about it."""
    match metric:
        case Metric.SUCCESS_RATE:
            of_priority = [one for one in health.failures if one.command is Command.RUN_PRIORITY]
            shown = "; ".join(failure(one) for one in of_priority[:CAUSES_IN_HINT])
            return f"of the last hour; the last failures: {shown}" if shown else "of the last hour"
        case Metric.LATENCY:
            return _time_of_last_cycle(health)
        case Metric.QUEUE_SIZE:
            return "run-queue does not keep up: a larger plan, longer frequencies or fewer assets"
        case Metric.WAITS:
            return (
                "waits of priority cycles in the last hour: another program uses the key, "
                "or the priority assets need more calls than the plan has"
            )
        case _:
            return None


def failure(one: FailureShown) -> str:
    """Return a failure as `XAUUSD, EURUSD: HTTP 503 (12:05 UTC, 3 times since 11:55)`."""
    words = f"{one.names}: {one.error}" if one.names else one.error
    times = f", {one.cycles} times since {_clock(one.first)}" if one.cycles > 1 else ""
    return f"{words} ({_clock(one.last)} UTC{times})"


def _time_of_last_cycle(health: Health) -> str | None:
    """Return where the last priority cycle has spent its time."""
    last = next((one for one in health.cycles if one["command"] is Command.RUN_PRIORITY), None)
    if last is None:
        return None
    took = format_duration(last.get("calling_ms", 0))
    words = f"the provider took {took} for {plural(last['calls'], 'call')}"
    if waits := last.get("waits"):
        return f"{words}, and {plural(waits, 'call')} waited for a slot"
    return words


def _clock(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%H:%M")


def plan(health: Health) -> str:
    """Return the plan as `free, forex and crypto up to 2026-11-27 05:00 UTC`. Plans that differ have the
    names of their products."""
    checked_ms = _ms(health.checked_at)
    by_moment: dict[str, list[str]] = {}
    for kind, until in health.plan["data_up_to"].items():
        at_ms = _ms(until)
        by_moment.setdefault("now" if checked_ms - at_ms < NOW_MS else moment(at_ms), []).append(kind)
    shown = [f"{together(kinds)} up to {until}" for until, kinds in by_moment.items()]
    plans: dict[str, str] = health.plan["plans"]
    if len(set(plans.values())) > 1:
        return "; ".join([", ".join(f"{product} {name}" for product, name in plans.items()), *shown])
    return ", ".join([*dict.fromkeys(plans.values()), *shown])


def window(health: Health) -> str:
    """Return the window as `3 of 5 used in 60 s, 2 left`, and why no call is made at all."""
    words = f"{health.window['used']} of {health.plan['limit']} used in {health.plan['window_seconds']:g} s"
    if health.window["reserved_for_priority"]:
        words += f", {health.window['reserved_for_priority']} kept for the next priority cycle"
    wait_ms = round(health.next_slot_in_seconds * SECOND_MS)
    if reason := health.window["pause"]:
        return f"{words}, {pause_in_words(DenialReason(reason), wait_ms, begun=health.window['pause_begun'])}"
    if health.api_calls_remaining:
        return f"{words}, {health.api_calls_remaining} left"
    return f"{words}, next slot in {health.next_slot_in_seconds:.0f} s"


def queue(health: Health) -> str:
    """Return the queue as `12 of at most 1,000, waiting 10 LOW, 2 BARS, the oldest for 3 min, 12 calls ahead,
    done in about 3 min`."""
    queue = health.queue
    waiting = ", ".join(f"{count:,} {lane}" for lane, count in lanes(health).items() if count)
    words = [f"{queue['total_items']:,} of at most {queue['max_size']:,}"]
    words += [f"waiting {waiting}"] if waiting else []
    words += [f"{queue[name]} {name}" for name in ("leased", "delayed", "dead") if queue[name]]
    if queue["oldest_item_age_seconds"] is not None:
        words.append(f"the oldest for {_seconds(queue['oldest_item_age_seconds'])}")
    if queue["done_in_seconds"] is not None:
        words.append(f"{plural(queue['calls_ahead'], 'call')} ahead")
        words.append(f"done in about {_seconds(queue['done_in_seconds'])}")
    return ", ".join(words)


def past(health: Health) -> str | None:
    """Return why completeness is low while pages of the past wait; None without them."""
    pages = health.queue["history"]
    if not pages:
        return None
    verb = "waits" if pages == 1 else "wait"
    return f"{plural(pages, 'page')} of the past {verb}; bars that are not stored yet count as missing"


def verified(health: Health) -> str | None:
    """Return how much of what is stored was compared with a later answer, and what differed; None where
    nothing was."""
    known = health.verification
    if not known.share:
        return None
    words = f"{100 * known.share:.0f} % of what is stored was verified within 90 days"
    return f"{words}, {differences(known)}"


def differences(known: Verification) -> str:
    """Return what differed, as `12 bars changed (by 0.40 % at most), 3 appeared, 1 vanished`."""
    if not (known.changed or known.appeared or known.vanished):
        return "nothing differed"
    changed = f"{plural(known.changed, 'bar')} changed"
    if known.changed:
        changed += f" (by {100 * known.largest_difference:.2f} % at most)"
    return f"{changed}, {known.appeared:,} appeared, {known.vanished:,} vanished"


def lanes(health: Health) -> dict[str, int]:
    """Return how many items wait in each lane. The document counts bars and pages of the past as LOW too."""
    queue = health.queue
    found: dict[str, int] = dict.fromkeys(map(str, Lane), 0) | queue["by_priority"]
    found |= {Lane.BARS.value: queue["bars"], Lane.HISTORY.value: queue["history"]}
    found[Lane.LOW.value] -= queue["bars"] + queue["history"]
    return found


def _ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))


def _seconds(seconds: float) -> str:
    return format_duration(round(seconds * 1000))
