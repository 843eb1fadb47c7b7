"""What a shell offers where a symbol is expected."""

from __future__ import annotations

import typer

from assetbatch.cli.context import Options, load_config
from assetbatch.errors import AssetbatchError


def complete_symbol(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the configured symbols that begin with `incomplete`, each with its name for people.

    Symbols that the line already has are left out. Without a valid
    configuration there is nothing to offer, and nothing is printed: the shell shows the line as it was. No
    server is asked, so that a hanging one delays nobody who types.
    """
    line = context.find_root().params
    options = Options(config=line.get("config"), sandbox=bool(line.get("sandbox")))
    try:
        config = load_config(options)
    except (AssetbatchError, OSError):
        return []
    typed = {
        symbol for value in context.params.values() if isinstance(value, list | tuple) for symbol in value
    }
    return [
        (asset.symbol, asset.name or "")
        for asset in (*config.priority_assets, *config.secondary_assets)
        if asset.symbol.startswith(incomplete) and asset.symbol not in typed
    ]
