"""`notify test`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from assetbatch.cli.context import load_config, print_json, print_text, reported
from assetbatch.cli.groups import add_group, epilog
from assetbatch.errors import ConfigError

if TYPE_CHECKING:
    from assetbatch.config import Config, NotifyUrls

CODES = "Exit codes: 0 sent to every service; 2 usage or configuration; 3 not sent to all of them."
NOT_DELIVERED = 3


def add_to(app: typer.Typer) -> None:
    """Add the command group."""
    end = epilog("assetbatch notify test", CODES)
    group = add_group(
        app,
        "notify",
        help="Try the services that are sent the lines that cron mails (`notify` in config.yml).",
        end=end,
        commands=[("test", send_test, end)],
    )
    group.callback()(_group)


def _group() -> None:
    """Stand before the one command, which would be the group itself without it."""


def send_test(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print a list of {service, error}.")] = False,
) -> None:
    """Send a test message to each service, and say which of them was reached."""
    with reported(context) as options:
        from assetbatch.cli.telling import title_of
        from assetbatch.monitoring.notify import Letter, deliver

        config = load_config(options)
        urls = _required(config)
        body = "this is a test: the lines that cron mails are sent here too"
        outcomes = deliver(title_of("notify test", config.file), "info", [Letter(url, body) for url in urls])
        results = list(zip(urls.names(), outcomes, strict=True))
        if json:
            print_json([{"service": name, "error": why} for name, why in results])
        else:
            lines = [f"{name}: {f'failed: {why}' if why else 'sent'}" for name, why in results]
            print_text("\n".join(lines))
        if any(outcomes):
            raise typer.Exit(NOT_DELIVERED)


def _required(config: Config) -> NotifyUrls:
    if config.sandbox:
        raise ConfigError("a sandbox notifies nobody", hint="leave out --sandbox")
    if not config.notify:
        raise ConfigError(
            "nobody is to be notified",
            hint="write notify: and the URL of a service into config.yml, or set ASSETBATCH_NOTIFY_URLS",
        )
    return config.notify
