"""The stock exchanges, and the types of tickers."""

from __future__ import annotations

from typing import Any

from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.parameters import choice
from assetbatch.sandbox.responses import Request, SandboxResponse, ok

PATH = r"/v3/reference/(exchanges|tickers/types)"

_CLASSES = ("stocks", "options", "crypto", "fx", "indices", "futures")
_EXCHANGES = {
    "XASE": "NYSE American, LLC",
    "XNAS": "Nasdaq",
    "XNYS": "New York Stock Exchange",
    "ARCX": "NYSE Arca, Inc.",
    "BATS": "Cboe BZX",
}
_TYPES = {
    "CS": "Common Stock",
    "ETF": "Exchange Traded Fund",
    "ADRC": "American Depository Receipt Common",
    "PFD": "Preferred Stock",
    "FUND": "Fund",
    "SP": "Structured Product",
}


def respond(_data: MarketData, request: Request, what: str) -> SandboxResponse:
    """Return all of them in one answer; those of other classes than stocks are not simulated."""
    asset_class = choice(request, request.query, "asset_class", _CLASSES, "")
    locale = choice(request, request.query, "locale", ("us", "global"), "")
    rows: list[dict[str, Any]] = []
    if asset_class in ("", "stocks") and locale in ("", "us"):
        of = {"asset_class": "stocks", "locale": "us"}
        if what == "exchanges":
            named = enumerate(_EXCHANGES.items(), 1)
            rows = [{"id": n, "type": "exchange", "name": name, "mic": mic, **of} for n, (mic, name) in named]
        else:
            rows = [{"code": code, "description": text, **of} for code, text in _TYPES.items()]
    return ok(request, {"results": rows, "count": len(rows)})
