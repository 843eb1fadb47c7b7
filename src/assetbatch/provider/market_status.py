"""The provider's word on its markets and its clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from assetbatch.domain import market_hours
from assetbatch.domain.asset_classes import AssetClass, AssetType, class_of_type
from assetbatch.provider.answers import MarketStatus
from assetbatch.provider.decoding import Body, decode, text
from assetbatch.provider.refusals import classify
from assetbatch.secret import Secret


class _NowEnvelope(msgspec.Struct, kw_only=True):
    status: Any = None
    server_time: Any = msgspec.field(default=None, name="serverTime")
    currencies: dict[str, Any] | None = None
    market: Any = None
    """The state of the stock exchanges, which indices follow."""


_NOW = msgspec.json.Decoder(_NowEnvelope)


def decode_market_status(body: Body, key: Secret | None = None) -> MarketStatus:
    """Decode the answer of `/v1/marketstatus/now`; raise Refusal if its currencies are missing."""
    now = decode(_NOW, body, key)
    if now.currencies is None:
        raise classify(200, body, {}, key)
    try:
        at = datetime.fromisoformat(text(now.server_time))
    except ValueError:
        at = None
    return MarketStatus(
        server_time_ms=market_hours.to_ms(at) if at is not None and at.tzinfo is not None else None,
        markets={
            asset_type.value: word
            for asset_type in AssetType
            if (word := _word_of(class_of_type(asset_type), now.currencies, now.market))
        },
    )


def _word_of(of: AssetClass, currencies: dict[str, Any], exchanges: object) -> str:
    if of.locale == "global":
        return text(currencies.get(of.grouped_market or ""))
    return text(exchanges)
