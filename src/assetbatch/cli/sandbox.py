"""`sandbox`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from assetbatch.cli.context import reported
from assetbatch.errors import ConfigError


class PlanName(StrEnum):
    """The simulated plans."""

    BASIC = "basic"
    FREE = "free"
    STARTER = "starter"
    DEVELOPER = "developer"
    ADVANCED = "advanced"


class PageCounting(StrEnum):
    """What a page of bars counts."""

    STORED = "stored"
    ELAPSED = "elapsed"
    MONTH = "month"


Faults = Annotated[
    list[str] | None,
    typer.Option(
        help="A fault and its share of the requests, 0 to 1 (1 if left out): `NAME[=VALUE][:SHARE]`; "
        "repeatable."
    ),
]
Latency = Annotated[
    str,
    typer.Option(help="Seconds until a response: `0.05`, or from a minimum to a maximum, `0.05-0.2`."),
]
StocksPlan = Annotated[
    PlanName | None, typer.Option(help="Plan of the key for stocks, if it is another one.")
]
IndicesPlan = Annotated[
    PlanName | None, typer.Option(help="Plan of the key for indices, if it is another one.")
]
Replay = Annotated[
    Path | None,
    typer.Option(help="Serve the recorded bars of this folder (SYMBOL.csv) instead of made-up prices."),
]
ReplayWeeks = Annotated[
    int | None,
    typer.Option(
        help="Number of weeks by which recorded bars move. Without it: as close to now as possible."
    ),
]
Cron = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1440,
        metavar="MINUTES",
        help="Instead: play cron for so many minutes, with the commands of --sandbox and the page.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "sandbox",
        epilog="Examples: assetbatch sandbox --port 8300  |  "
        "assetbatch sandbox --plan starter --latency 0.05-0.2  |  "
        "assetbatch sandbox --fault status=503:0.1 --fault nan:0.05  |  assetbatch sandbox --cron 5\n\n"
        "Point provider.base_url (or POLYGON_BASE_URL) at the address it prints; any key is accepted.\n\n"
        "Exit codes: 0 stopped by SIGTERM or SIGINT, or --cron is over; 2 usage; 3 the port is taken; with "
        "--cron 143/130 stopped by SIGTERM/SIGINT.",
    )(sandbox)


def sandbox(
    context: typer.Context,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0 takes a free one.")
    ] = 0,
    plan: Annotated[PlanName, typer.Option(help="Plan of the simulated key.")] = PlanName.BASIC,
    stocks_plan: StocksPlan = None,
    indices_plan: IndicesPlan = None,
    latency: Latency = "0",
    fault: Faults = None,
    replay: Replay = None,
    replay_weeks: ReplayWeeks = None,
    universe: Annotated[
        int | None, typer.Option(min=1, help="Minimum number of pairs; made-up ones fill up.")
    ] = None,
    stocks: Annotated[int, typer.Option(min=0, help="Minimum number of stocks; made-up ones fill up.")] = 0,
    retry_after: Annotated[
        bool, typer.Option("--retry-after", help="Let a 429 name the seconds to wait.")
    ] = False,
    pages: Annotated[
        PageCounting,
        typer.Option(
            help="What a page of bars has 50,000 of: stored minutes, elapsed ones, or a month's stored ones."
        ),
    ] = PageCounting.STORED,
    cron: Cron = None,
) -> None:
    """Serve a simulated provider on loopback: real HTTP, the refusals of the real plans, ordered faults.

    With --cron it starts the commands as the crontab does, in the sandbox of `assetbatch --sandbox`, says how
    each ended, and serves the page. Of the other options only --port goes with it: the port of the page.
    """
    with reported(context) as global_options:
        if cron is not None:
            from assetbatch.cli.played_cron import play

            _refuse_others(context)
            raise typer.Exit(play(global_options, cron, port))
        code = _serve(
            (plan, stocks_plan or plan, indices_plan or plan),
            port=port,
            stocks=stocks,
            latency=_span(latency),
            faults=fault or (),
            replay=replay,
            replay_weeks=replay_weeks,
            universe=universe,
            retry_after=retry_after,
            pages=pages,
        )
        raise typer.Exit(code)


def _refuse_others(context: typer.Context) -> None:
    """Raise ConfigError for an option that says what the provider does: cron's commands have their own."""
    for name in sorted(set(context.params) - {"cron", "port"}):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ConfigError(
                f"--{name.replace('_', '-')} does not go with --cron",
                hint="assetbatch sandbox serves such a provider; --cron plays with that of --sandbox",
            )


def _serve(
    plans: tuple[PlanName, PlanName, PlanName], *, port: int, stocks: int, pages: PageCounting, **options: Any
) -> int:
    """Serve until a signal; `options` are those of SandboxServer. Return the exit code."""
    from assetbatch.errors import UnreachableError
    from assetbatch.sandbox import Exchange, SandboxServer, plan_of, serve_forever
    from assetbatch.sandbox.spans import Counting

    try:
        plan, counting, exchange = plan_of(*plans), Counting(pages.value), Exchange(stocks)
        server = SandboxServer(plan, port=port, counting=counting, exchange=exchange, **options)
        return serve_forever(server)
    except OSError as error:
        raise UnreachableError(
            f"port {port} cannot be used: {error.strerror}", hint="choose another with --port"
        ) from None


def _span(text: str) -> tuple[float, float]:
    """Read `0.05` or `0.05-0.2`; raise BadParameter."""
    least, _, most = text.partition("-")
    try:
        seconds = float(least), float(most or least)
    except ValueError:
        seconds = (-1.0, -1.0)
    if not 0 <= seconds[0] <= seconds[1] <= 60:
        raise typer.BadParameter(
            f"{text!r} is not a latency; expected seconds, `0.05` or `0.05-0.2`", param_hint="--latency"
        )
    return seconds
