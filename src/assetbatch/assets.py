"""What is refreshed: an asset, its type, its class in the queue."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Annotated

import msgspec

from assetbatch.hours import Market

_METALS = ("XAU", "XAG", "XPT", "XPD")


class AssetType(StrEnum):
    """The vendor's two currency markets."""

    FOREX = "forex"
    CRYPTO = "crypto"


class AssetPriority(StrEnum):
    """Class of work, the most urgent first; the priority assets are CRITICAL."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Asset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One configured symbol.

    `polygon_ticker` is the vendor's name with its obligatory prefix (`C:EURUSD`, `X:BTCUSD`).
    `update_frequency_seconds` is how old a price may become while its market is open.
    """

    symbol: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Z0-9._-]{1,32}\Z",
            description="1 to 32 capital letters, digits, dots, dashes or underscores",
        ),
    ]
    polygon_ticker: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[CX]:[A-Z0-9._-]{1,32}\Z",
            description="the vendor's name with its prefix, such as C:EURUSD or X:BTCUSD",
        ),
    ]
    asset_type: AssetType
    name: str | None = None
    priority: AssetPriority = AssetPriority.MEDIUM
    update_frequency_seconds: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] = 300
    enabled: bool = True
    bars: bool = True

    @property
    def market(self) -> Market:
        """Whose hours it follows."""
        return market_of(self.polygon_ticker)


@lru_cache(maxsize=2**14)
def market_of(ticker: str) -> Market:
    """The market of a ticker: crypto, spot metals (XAU, XAG, XPT, XPD) or forex."""
    if ticker.startswith("X:"):
        return Market.CRYPTO
    return Market.METAL if ticker.startswith(tuple(f"C:{metal}" for metal in _METALS)) else Market.FOREX
