"""`run-priority`, `run-queue`, `enqueue-secondary`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from assetbatch.cli.context import (
    load_config,
    log,
    print_json,
    print_rich,
    print_text,
    reported,
    services_for,
)
from assetbatch.errors import AssetbatchError

if TYPE_CHECKING:
    from assetbatch.bounds import Bound
    from assetbatch.config import Config
    from assetbatch.cycles import CycleResult
    from assetbatch.services import Services

QUEUE_SECONDS = 55

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be called, and why; spends nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the cycle's result as one JSON object.")]
Seconds = Annotated[
    float | None,
    typer.Option("--max-seconds", min=5, max=3600, help="End within so many seconds.", show_default=False),
]

CODES = (
    "Exit codes: 0 done, nothing to do, or skipped because an earlier start still runs; 1 some assets "
    "failed; 2 usage or configuration; 3 Redis, PostgreSQL or the API cannot be reached; 4 the API "
    "refuses the key; 143/130 stopped by SIGTERM/SIGINT."
)


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    for name, command, example in (
        ("run-priority", run_priority, "assetbatch run-priority  |  assetbatch run-priority --dry-run"),
        ("run-queue", run_queue, "assetbatch run-queue  |  assetbatch -v run-queue --max-seconds 30"),
        (
            "enqueue-secondary",
            enqueue_secondary,
            "assetbatch enqueue-secondary  |  assetbatch --sandbox enqueue-secondary",
        ),
    ):
        app.command(name, epilog=f"Examples: {example}\n\n{CODES}")(command)


def run_priority(
    context: typer.Context, dry_run: DryRun = False, json: Json = False, max_seconds: Seconds = None
) -> None:
    """Refresh the priority assets: one cycle, in their order, at most one call per asset."""
    from assetbatch import cycles

    _cycle(
        context,
        json,
        lambda config: max_seconds or float(config.batch.max_cycle_seconds),
        lambda services, bound, progress: cycles.run_priority(services, bound, progress, dry_run=dry_run),
    )


def run_queue(
    context: typer.Context, dry_run: DryRun = False, json: Json = False, max_seconds: Seconds = None
) -> None:
    """Work the queue until it is empty, the time is over, or no call is free within it."""
    from assetbatch import cycles

    _cycle(
        context,
        json,
        lambda _config: max_seconds or QUEUE_SECONDS,
        lambda services, bound, progress: cycles.run_queue(services, bound, progress, dry_run=dry_run),
    )


def enqueue_secondary(
    context: typer.Context, dry_run: DryRun = False, json: Json = False, max_seconds: Seconds = None
) -> None:
    """Put every secondary asset that is due into the queue, once."""
    from assetbatch import cycles

    _cycle(
        context,
        json,
        lambda config: max_seconds or float(config.batch.max_cycle_seconds),
        lambda services, bound, _progress: cycles.enqueue_secondary(services, bound, dry_run=dry_run),
    )


def _cycle(
    context: typer.Context,
    json: bool,
    seconds: Callable[[Config], float],
    run: Callable[[Services, Bound, Callable[[str], None]], CycleResult],
) -> None:
    from assetbatch.bounds import Bound

    with reported(context) as options:
        config = load_config(options)
        try:
            with Bound(seconds(config)) as bound:
                with services_for(options, config) as services, _progress() as progress:
                    result = run(services, bound, progress)
                stopped = bound.stopped
        except AssetbatchError as error:
            if json and error.cycle is not None:
                print_json(error.cycle)
            raise
        _show(result, json)
        raise typer.Exit(128 + stopped if stopped else result.exit_code)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A live line on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting …") as line:
        yield lambda text: line.update(text)


def _show(result: CycleResult, json: bool) -> None:
    from assetbatch.views.summary import summary

    if result.result != "planned":
        log.info("%s", summary(result))
    if json:
        print_json(result)
    elif result.result == "planned":
        print_text("\n".join(result.plan) or "nothing is due: no call would be made")
    elif sys.stdout is not None and sys.stdout.isatty():
        from assetbatch.views.cycle import render

        print_rich(render(result))
