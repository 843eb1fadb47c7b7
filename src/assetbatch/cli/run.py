"""`run-priority`, `run-queue`, `enqueue-secondary`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from assetbatch.cli.context import (
    Options,
    command_name,
    current_folder,
    load_config,
    log,
    print_json,
    print_rich,
    print_text,
    reported,
    services_for,
)
from assetbatch.domain.records import Command, CycleOutcome
from assetbatch.errors import NOTICE, AssetbatchError, ConfigError, DeadlineExceededError, RedisError

if TYPE_CHECKING:
    from assetbatch.cli.notices import Kind, NoticeLog
    from assetbatch.config import Config
    from assetbatch.deadline import Deadline
    from assetbatch.domain.results import CycleResult
    from assetbatch.monitoring.pings import Ping
    from assetbatch.refresh.progress import Progress
    from assetbatch.services import Services

QUEUE_SECONDS = 55
METRICS_SECONDS = 3.0
"""Time in seconds that a command must have left to collect and write its metrics."""

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print which calls would be made, and why. Make none.")
]
DryRunOfPrices = Annotated[bool, typer.Option("--dry-run", help="Print what would be queued. Queue nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print the cycle's result as one JSON object.")]
Seconds = Annotated[
    float | None,
    typer.Option("--max-seconds", min=5, max=3600, help="Maximum duration in seconds.", show_default=False),
]

CODES = (
    "Exit codes: 0 done, nothing to do, or skipped because an earlier start still runs; 1 some assets "
    "failed; 2 usage or configuration; 3 Redis, PostgreSQL or the API cannot be reached; 4 the API "
    "refuses the key; 143/130 stopped by SIGTERM/SIGINT."
)


class RunCommand(Protocol):
    """What a run command does, below `commands/`."""

    def __call__(
        self, services: Services, deadline: Deadline, progress: Progress, *, dry_run: bool
    ) -> CycleResult:
        """Run once, or say what would be done."""


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
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
    from assetbatch.commands import run_priority as command

    _cycle(
        context,
        json,
        dry_run,
        lambda config: max_seconds or float(config.batch.max_cycle_seconds),
        command.run_priority,
    )


def run_queue(
    context: typer.Context, dry_run: DryRun = False, json: Json = False, max_seconds: Seconds = None
) -> None:
    """Work the queue until it is empty, the time is over, or no call is free within it."""
    from assetbatch.commands import run_queue as command

    _cycle(
        context,
        json,
        dry_run,
        lambda _config: max_seconds or QUEUE_SECONDS,
        command.run_queue,
    )


def enqueue_secondary(
    context: typer.Context, dry_run: DryRunOfPrices = False, json: Json = False, max_seconds: Seconds = None
) -> None:
    """Put every secondary asset that is due into the queue, once."""
    from assetbatch.commands import enqueue_secondary as command

    _cycle(
        context,
        json,
        dry_run,
        lambda config: max_seconds or float(config.batch.max_cycle_seconds),
        command.enqueue_secondary,
    )


def _cycle(
    context: typer.Context,
    json: bool,
    dry_run: bool,
    seconds: Callable[[Config], float],
    run: RunCommand,
) -> None:
    from assetbatch.deadline import Deadline
    from assetbatch.views.terminal.summary import summary

    with _notice_log(context) as notices, reported(context, notices) as options:
        config = _load(options, notices)
        ping = _ping(context, config, dry_run)
        deadline = Deadline(seconds(config), lambda error: _last_words(error, notices))
        try:
            with deadline:
                result = _run(options, config, deadline, run, ping, dry_run)
        except AssetbatchError as error:
            if deadline.stopped:
                error.exit_code = 128 + deadline.stopped
            ping.ended(error.exit_code, str(error))
            raise
        code = 128 + deadline.stopped if deadline.stopped else result.exit_code
        _show(result, json)
        if notices and (notices.urls or not notices.shows_all):
            unasked = None if result.command is Command.RUN_QUEUE else result.unasked
            _log_over(notices.resolved(_works(result, config), _well(result, config), unasked))
        if result.result is not CycleOutcome.SKIPPED:  # the start that is still running reports by itself
            ping.ended(code, summary(result))
        raise typer.Exit(code)


def _load(options: Options, notices: NoticeLog | None) -> Config:
    """Return the configuration. Let the notices know whom to notify, of a mistake in it too."""
    from assetbatch.config import NotifyUrls

    try:
        config = load_config(options)
    except ConfigError as error:
        if notices:
            notices.urls, notices.file = error.notify, error.file
        raise
    if notices:
        notices.urls, notices.file = config.notify or NotifyUrls(()), config.file
    return config


def _run(
    options: Options,
    config: Config,
    deadline: Deadline,
    run: RunCommand,
    ping: Ping,
    dry_run: bool,
) -> CycleResult:
    redis_down = False
    with services_for(options, config, deadline) as services:
        try:
            with _progress(ping) as progress:
                return run(services, deadline, progress, dry_run=dry_run)
        except RedisError:
            redis_down = True
            raise
        finally:
            if not dry_run:
                _write_metrics(services, deadline, redis_down=redis_down)


def _ping(context: typer.Context, config: Config, dry_run: bool) -> Ping:
    from assetbatch.monitoring.pings import Ping

    options: Options = context.obj
    url = config.ping_url.for_command(command_name(context)) if config.ping_url and not dry_run else None
    return Ping(url, options.cycle_id)


@contextmanager
def _notice_log(context: typer.Context) -> Iterator[NoticeLog | None]:
    """Open the notices of earlier starts, unless somebody watches this start or it is a dry run.

    At the end tell the services of `notify`.
    """
    options: Options = context.obj
    if context.params.get("dry_run") or sys.stderr is None or sys.stderr.isatty():
        yield None
        return
    from assetbatch.cli.notices import NoticeLog, places

    which = [options.config, os.environ.get("ASSETBATCH_CONFIG"), current_folder(), options.sandbox]
    command = command_name(context)
    notices = NoticeLog(
        places(command, repr(which)), round(time.time() * 1000), shows_all=options.verbosity > 0
    )
    try:
        yield notices
    finally:
        notices.save()
        if notices.urls is not None and notices.is_to_be_sent:
            from assetbatch.cli.telling import tell

            tell(notices, command)
            notices.save()


def _log_over(lines: Sequence[str]) -> None:
    for line in lines:
        log.log(NOTICE, "%s", line)


def _last_words(error: DeadlineExceededError, notices: NoticeLog | None) -> int:
    """Report that a start hangs where no exception reaches it, just before it ends without more."""
    from assetbatch.deadline import say

    if notices is None:
        return say(error)
    notices.failed(error)
    code = say(error)
    notices.hand_over()  # there is no time to send it: the next start does
    notices.save()
    return code


def _works(result: CycleResult, config: Config) -> set[Kind]:
    """Return what a start has used with success."""
    if result.result is CycleOutcome.PLANNED:
        return set()
    works: set[Kind] = {"config"}
    if result.result is CycleOutcome.DISABLED:
        return works
    works.add("redis")
    if result.result is CycleOutcome.SKIPPED:
        return works
    works.add("start")
    is_queue = result.command is Command.RUN_QUEUE
    if not is_queue or result.calls:
        works.add("database")
    if result.answered:
        works |= {"api", "key"}
        if not result.too_many_calls:
            works.add("calls")
    if not is_queue or result.answered:  # a run-queue without work cannot die of it
        works |= {"died", "warning"}
    has_room = not is_queue or (result.queue_size or 0) < config.queue.max_size
    if has_room and not result.dropped and result.command is not Command.RUN_PRIORITY:
        works.add("queue")
    return works


def _well(result: CycleResult, config: Config) -> set[str]:
    """Return the assets, or the ids of the queue, of which a start knows that nothing is wrong with them."""
    if result.command is Command.ENQUEUE_SECONDARY:  # it reports only what it does not queue
        return {asset.symbol for asset in config.assets} - {asset.symbol for asset in result.failed}
    return {asset.work_id for asset in result.assets if asset.is_well}


def _write_metrics(services: Services, deadline: Deadline, *, redis_down: bool) -> None:
    """Write `metrics.prometheus_file`. A failure never ends a cycle."""
    file = services.config.metrics.prometheus_file
    if not file or deadline.remaining() < METRICS_SECONDS:
        return
    from assetbatch import files
    from assetbatch.monitoring import snapshot

    try:
        try:
            if redis_down:
                text = snapshot.metrics_text_down()
            else:
                text = snapshot.metrics_text(services, snapshot.health_document(services))
        except AssetbatchError:
            text = snapshot.metrics_text_down()
        files.publish(Path(file), text)
    except AssetbatchError as error:
        log.warning("metrics.prometheus_file: %s", error)


@contextmanager
def _progress(ping: Ping) -> Iterator[Progress]:
    """Show a live line on a terminal, with a bar if a queue is worked; elsewhere show nothing."""
    if sys.stderr is None or not sys.stderr.isatty():
        from assetbatch.refresh.progress import Progress

        yield Progress(ping.began)
        return
    from assetbatch.views.terminal.progress import on_terminal

    with on_terminal(ping.began) as progress:
        yield progress


def _show(result: CycleResult, json: bool) -> None:
    from assetbatch.views.terminal.summary import summary, what_is_left

    is_table = not json and sys.stdout is not None and sys.stdout.isatty()
    if result.result is not CycleOutcome.PLANNED and not (is_table and sys.stderr.isatty()):
        extra = {"result": result.result, "duration_ms": result.duration_ms, "calls": result.calls}
        log.info("%s", summary(result), extra=extra)
        if left := what_is_left(result):
            log.info("%s", left)
    if json:
        print_json(result)
    elif result.result is CycleOutcome.PLANNED:
        print_text("\n".join(result.plan) or "nothing is due: no call would be made")
    elif is_table:
        from assetbatch.views.terminal.cycle import render

        print_rich(render(result))
