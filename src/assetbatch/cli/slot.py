"""`slot take`, `slot done`; and what `call` shares with them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from assetbatch.cli.context import Options, load_config, print_json, reported, services_for
from assetbatch.cli.groups import add_group, epilog
from assetbatch.domain.queueing import LONGEST_CALL_SECONDS

if TYPE_CHECKING:
    from assetbatch.deadline import Deadline
    from assetbatch.domain.queueing import CallKind
    from assetbatch.services import Services

LONGEST_WAIT_SECONDS = 3600

MARGIN_SECONDS = 30.0
"""Time in seconds, besides the wait, to start embedded servers and to ask them."""

NO_SLOT = 75
"""Exit code if no slot is free: EX_TEMPFAIL of sysexits.h."""

Priority = Annotated[
    bool,
    typer.Option(
        "--priority/--queue",
        help="--priority goes before the queue and may use the slots that are kept for run-priority; --queue "
        "uses those that are left.",
    ),
]


def finite(seconds: float) -> float:
    """Return an option's seconds; refuse "nan", which lies within any bounds."""
    if math.isnan(seconds):
        raise typer.BadParameter("nan is no number of seconds")
    return seconds


Wait = Annotated[
    float,
    typer.Option(
        min=0,
        max=LONGEST_WAIT_SECONDS,
        callback=finite,
        help="Maximum time to wait for a slot, in seconds.",
    ),
]

CODES = "2 usage or configuration; 3 Redis cannot be reached; 143/130 stopped by SIGTERM/SIGINT."


def add_to(app: typer.Typer) -> None:
    """Add the command group."""
    add_group(
        app,
        "slot",
        help="Take a slot of the window for one request of another program, and complete it.",
        end=epilog(
            "assetbatch slot take --wait 30  |  assetbatch slot done ID",
            f"Exit codes: 0 done; {NO_SLOT} no slot is free; {CODES}",
        ),
        commands=[
            (
                "take",
                take,
                epilog(
                    "assetbatch slot take  |  assetbatch slot take --priority --wait 30 --hold 5",
                    f"Exit codes: 0 granted; {NO_SLOT} no slot within --wait; {CODES}",
                ),
            ),
            (
                "done",
                done,
                epilog(
                    "assetbatch slot done ID  |  assetbatch slot done ID --calls-made 0",
                    f"Exit codes: 0 completed; {CODES}",
                ),
            ),
        ],
    )


def take(
    context: typer.Context,
    priority: Priority = False,
    wait: Wait = 0.0,
    hold: Annotated[
        float,
        typer.Option(
            min=1, max=10, callback=finite, help="Seconds within which the request must begin and end."
        ),
    ] = LONGEST_CALL_SECONDS,
) -> None:
    """Take a slot for one request, and print it as a line of JSON.

    The request must have ended by `expires_at`. Then run `slot done`. A slot without it counts as used at
    the end of its hold.
    """
    from assetbatch.slots.slots import Slot, told

    with reported(context) as options, bounded(options, wait) as (services, deadline):
        answer = services.slots().take(kind_of(priority), hold, wait, deadline.wait)
        leave_if_stopped(deadline)
        print_json(told(answer))
    if not isinstance(answer, Slot):
        raise typer.Exit(NO_SLOT)


def done(
    context: typer.Context,
    slot: Annotated[str, typer.Argument(help="The value of `slot` that `slot take` has printed.")],
    calls_made: Annotated[
        int,
        typer.Option(min=0, max=1, help="0 frees the slot: the request was certainly never sent."),
    ] = 1,
) -> None:
    """Complete a slot: its request has been answered.

    Do not complete the slot of a request that was sent and has no answer: it may still arrive.
    """
    from assetbatch.slots.slots import Done

    with reported(context) as options, bounded(options, 0.0) as (services, _deadline):
        services.slots(is_recorded=True).done(slot, call_made=calls_made == 1)
        print_json(Done(slot, calls_made))


def kind_of(priority: bool) -> CallKind:
    """Return the kind of a call."""
    from assetbatch.domain.queueing import CallKind

    return CallKind.PRIORITY if priority else CallKind.QUEUE


@contextmanager
def bounded(options: Options, wait: float) -> Iterator[tuple[Services, Deadline]]:
    """Open the services of a command that waits at most `wait` seconds."""
    from assetbatch.deadline import Deadline

    config = load_config(options)
    with Deadline(wait + MARGIN_SECONDS) as deadline, services_for(options, config, deadline) as services:
        yield services, deadline


def leave_if_stopped(deadline: Deadline) -> None:
    """End the command if a signal asked it to stop."""
    if deadline.stopped is not None:
        raise typer.Exit(128 + deadline.stopped)
