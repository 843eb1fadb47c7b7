"""`call`: a command of another program with a slot of the window."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from assetbatch.cli.context import load_config, log, reported, services_for
from assetbatch.cli.slot import (
    CODES,
    MARGIN_SECONDS,
    NO_SLOT,
    Priority,
    Wait,
    finite,
    kind_of,
    leave_if_stopped,
)
from assetbatch.domain.formatting import format_duration
from assetbatch.domain.queueing import LONGEST_CALL_SECONDS
from assetbatch.errors import RedisError

if TYPE_CHECKING:
    from assetbatch.slots.slots import Slot, Slots

SLOT, DEADLINE = "ASSETBATCH_SLOT", "ASSETBATCH_SLOT_DEADLINE"
"""Variables of the command's environment: the slot, and the time until which it may run (Unix seconds)."""

LONGEST_SECONDS = 3600


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "call",
        context_settings={"allow_interspersed_args": False},
        epilog="Examples: assetbatch call -- curl -fsS https://api.massive.com/v3/…  |  "
        "assetbatch call --priority --wait 30 -- python fetch.py\n\n"
        "Exit codes: 0 and others are those of the command, 128 and the number of the signal that ended it; "
        f"124 its time was over; 126, 127 it cannot be run, is not found; {NO_SLOT} no slot within --wait; "
        f"before the command has begun: {CODES}",
    )(call)


def call(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="The command with its arguments.")],
    priority: Priority = False,
    wait: Wait = 60.0,
    timeout: Annotated[
        float,
        typer.Option(
            min=1, max=LONGEST_SECONDS, callback=finite, help="Maximum time of the command in seconds."
        ),
    ] = LONGEST_CALL_SECONDS,
) -> None:
    """Take a slot of the window, run a command that makes one request with it, and complete the slot.

    What the command leaves running is ended with it.
    """
    from assetbatch.deadline import Deadline
    from assetbatch.domain.endings import WAITS_FOR
    from assetbatch.slots.slots import Slot

    with reported(context) as options:
        config = load_config(options)
        with services_for(options, config) as services:  # open all the time: embedded servers stay up
            with Deadline(wait + MARGIN_SECONDS) as deadline:
                slots = services.slots()
                hold = min(timeout, LONGEST_CALL_SECONDS)
                answer = slots.take(kind_of(priority), hold, wait, deadline.wait)
                if deadline.stopped is not None and isinstance(answer, Slot):
                    slots.done(answer.id, call_made=False)
                leave_if_stopped(deadline)
            if not isinstance(answer, Slot):
                log.error(
                    "%s; a call is free in %s", WAITS_FOR[answer.reason], format_duration(answer.wait_ms)
                )
                raise typer.Exit(NO_SLOT)
            raise typer.Exit(_run(slots, answer, command, timeout))


def _run(slots: Slots, slot: Slot, command: list[str], timeout: float) -> int:
    """Run the command, complete its slot, and return its exit code."""
    from assetbatch.deadline import monotonic
    from assetbatch.slots.guard import CANNOT_RUN, NOT_FOUND, run_guarded
    from assetbatch.slots.slots import UNANSWERED_SECONDS
    from assetbatch.state.window import ARRIVAL_SECONDS

    ends_at = slot.grant.taken_at + timeout

    def renew() -> float | None:
        nonlocal slot
        if slot.until >= ends_at:
            return None
        try:
            later = slots.renew(slot, min(LONGEST_CALL_SECONDS, ends_at - monotonic()))
        except RedisError as error:
            log.info("the slot is not renewed: %s", error)
            return None
        if later is None:
            return None
        slot = later
        return slot.until

    environment = {**os.environ, SLOT: slot.id, DEADLINE: f"{time.time() + ends_at - monotonic():.3f}"}
    try:
        ended = run_guarded(command, slot.until, environment, renew)
    except OSError as error:
        log.error("the command cannot be started: %s", error.strerror)
        return CANNOT_RUN
    if ended.exit_code == NOT_FOUND and not ended.began:
        log.error("%s: no such command", command[0])
    elif not ended.began:
        log.error("%s: cannot be run", command[0])
    elif ended.timed_out:
        log.error(
            "the command was ended after %s",
            format_duration(round(1000 * (monotonic() - slot.grant.taken_at))),
        )
    arrival_seconds = ARRIVAL_SECONDS if ended.exit_code == 0 else UNANSWERED_SECONDS
    try:
        slots.done(slot.id, call_made=ended.began, arrival_seconds=arrival_seconds)
    except RedisError as error:
        log.warning("the slot is not completed, and ends by itself: %s", error)
    return ended.exit_code
