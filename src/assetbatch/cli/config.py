"""`config show`, `config check`, `config generate`, `config schema`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from assetbatch.cli.context import load_config, log, print_json, print_rich, print_text, reported
from assetbatch.cli.groups import add_group, epilog

CODES = (
    "Exit codes: 0 the configuration is valid (what looks like a mistake is a warning on stderr); 2 it is "
    "not (each mistake, and for `check` a missing key or server, is a line on stderr)."
)


PRINTS = "Exit codes: 0 printed; 2 usage."


def add_to(app: typer.Typer) -> None:
    """Add the command group."""
    add_group(
        app,
        "config",
        help="Show or check the effective configuration, or print a new one.",
        end=epilog("assetbatch config show  |  assetbatch config check", CODES),
        commands=[
            ("show", show, epilog("assetbatch config show  |  assetbatch config show --json", CODES)),
            ("check", check, epilog("assetbatch --config new.yml config check", CODES)),
            ("generate", generate, epilog("assetbatch config generate > config.yml", PRINTS)),
            ("schema", schema, epilog("assetbatch config schema > config.schema.json", PRINTS)),
        ],
    )


def show(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print a list of {key, value, origin}.")] = False,
) -> None:
    """Print every setting with where its value came from; secrets are masked."""
    with reported(context) as options:
        from assetbatch.config.display import effective

        rows = effective(load_config(options))
        if json:
            print_json([{"key": k, "value": v, "origin": o} for k, v, o in rows])
        elif sys.stdout is not None and sys.stdout.isatty():
            from rich.table import Table

            table = Table("key", "value", "origin", box=None, pad_edge=False, header_style="bold")
            for key, value, origin in rows:
                table.add_row(key, str(value), origin)
            print_rich(table)
        else:
            print_text("\n".join(f"{key} = {value}  # {origin}" for key, value, origin in rows))


def check(context: typer.Context) -> None:
    """Say whether the configuration is valid, what it lacks for which command, and what may be a mistake."""
    with reported(context) as options:
        from assetbatch.config.needs import missing
        from assetbatch.config.options import check_options
        from assetbatch.config.symbols import ALIKE_HINT, doubts_of_rules, lookalikes
        from assetbatch.domain.formatting import plural
        from assetbatch.errors import ConfigError
        from assetbatch.health.jobs import TOO_FREQUENT_HINT, too_frequent
        from assetbatch.secret import masked

        config = load_config(options)
        if lacking := [str(error) for error in missing(config)]:
            raise ConfigError("\n".join(lacking))
        check_options(config)
        for warning in lookalikes(config.configured_symbols):
            log.warning("%s (hint: %s)", warning, ALIKE_HINT)
        for doubt in doubts_of_rules(config.enabled_rules):
            log.warning("%s (hint: %s)", *doubt)
        for warning in too_frequent(config):
            log.warning("%s (hint: %s)", warning, TOO_FREQUENT_HINT)
        if not config.assets and not config.enabled_rules:
            log.warning("no asset is enabled: there is nothing to do (hint: enable some in config.yml)")
        assets = len(config.priority_assets), len(config.secondary_assets)
        where = masked(str(config.file)) if config.file else "the built-in configuration"
        rules = f" and {plural(len(config.rules), 'rule')}" if config.rules else ""
        print_text(f"{where}: valid, {assets[0]} priority and {assets[1]} secondary assets{rules}")


def generate(context: typer.Context) -> None:
    """Print a commented config.yml of this version, with all its settings and their defaults."""
    with reported(context):
        from assetbatch.setup.files import built_in_text

        print_text(built_in_text().rstrip("\n"))


def schema(context: typer.Context) -> None:
    """Print the JSON Schema of config.yml, by which editors explain and complete it."""
    with reported(context):
        from assetbatch.config.loading import schema_file

        print_text(schema_file().read_text(encoding="utf-8").rstrip("\n"))
