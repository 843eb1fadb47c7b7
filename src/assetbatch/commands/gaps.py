"""What is missing in the stored bars, and why."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from assetbatch.config import Config
from assetbatch.config.symbols import did_you_mean
from assetbatch.domain.assets import Asset
from assetbatch.domain.coverage import Gap, completeness, explained_gaps
from assetbatch.domain.models import StoredAsset, floor_to_bar
from assetbatch.domain.verification import Tally
from assetbatch.errors import ConfigError
from assetbatch.services import Services


class SymbolGaps(msgspec.Struct, frozen=True, kw_only=True):
    """What is missing of one symbol since `from_ms`, which is None if nothing of it was ever asked for.

    `complete` is the share (0 to 1) of the open time of its market that is stored or known to be empty,
    `verified` that of its stored time which was compared with a later answer within 90 days. `tally` says
    what differed.
    """

    symbol: str
    from_ms: int | None
    visible_until_ms: int
    complete: float | None
    gaps: list[Gap]
    verified: float | None = None
    tally: Tally = Tally()


def find_gaps(
    services: Services, symbols: Sequence[str], from_ms: int | None, *, closed: bool = False
) -> list[SymbolGaps]:
    """Return the gaps of these symbols (of all that keep bars, if none is named) up to now, from `from_ms` or
    from where their history begins. Raise ConfigError for a symbol that is not configured or keeps no
    bars."""
    now_ms = services.now_ms()
    known = services.entitlements()
    services.load_members()
    assets = choose(services.config, symbols)
    stored = services.store.load([asset.symbol for asset in assets])
    starts = {
        asset.symbol: floor_to_bar(start_ms)
        for asset in assets
        if (start_ms := _history_start(stored.get(asset.symbol), from_ms)) is not None
    }
    without_bars = services.store.gaps(
        {symbol: (start_ms, floor_to_bar(now_ms)) for symbol, start_ms in starts.items()}
    )
    tallies = services.store.tallies([asset.symbol for asset in assets], now_ms)
    found = []
    for asset in assets:
        tally = tallies.get(asset.symbol, Tally())
        of_asset = stored.get(asset.symbol, StoredAsset(symbol=asset.symbol))
        coverage = of_asset.coverage
        visible_until_ms = floor_to_bar(known.visible_until_ms(asset.asset_type, now_ms))
        listed = of_asset.listed_from_ms, of_asset.listed_to_ms
        missing = without_bars.get(asset.symbol, [])
        found.append(
            SymbolGaps(
                symbol=asset.symbol,
                from_ms=starts.get(asset.symbol),
                visible_until_ms=visible_until_ms,
                complete=completeness(asset.market, coverage, min(visible_until_ms, of_asset.listed_to_ms)),
                gaps=explained_gaps(
                    asset.market, coverage, missing, visible_until_ms, include_closed=closed, listed=listed
                ),
                verified=tally.share_of(coverage),
                tally=tally,
            )
        )
    return found


def _history_start(stored: StoredAsset | None, from_ms: int | None) -> int | None:
    if stored is None or from_ms is not None:
        return from_ms if stored else None
    return stored.coverage[0].start_ms if stored.coverage else None


def choose(config: Config, symbols: Sequence[str]) -> list[Asset]:
    """Return the enabled assets that keep bars, or those of them that are named. Raise ConfigError that says
    what is wrong with each other one."""
    enabled = config.assets_by_symbol
    with_bars = {symbol: asset for symbol, asset in enabled.items() if asset.bars}
    wrong = []
    for symbol in dict.fromkeys(symbols):
        if symbol in enabled and symbol not in with_bars:
            of = "rule" if symbol in config.members_by_symbol else "entry"
            hint = f"bars: 5m in its {of} of config.yml keeps them"
            wrong.append(ConfigError(f"{symbol} keeps no bars", hint=hint))
        elif symbol not in with_bars:
            meant = did_you_mean(symbol, with_bars)
            hint = f"{meant} assetbatch config show lists the assets; bars: 5m keeps them".lstrip()
            wrong.append(ConfigError(f"{symbol} is no enabled asset that keeps bars", hint=hint))
    if len(wrong) > 1:
        raise ConfigError("\n".join(map(str, wrong)))
    if wrong:
        raise wrong[0]
    return [with_bars[symbol] for symbol in symbols] if symbols else list(with_bars.values())
