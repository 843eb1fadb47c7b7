"""An amount of one currency in another, by the newest quote."""

from __future__ import annotations

from assetbatch.sandbox.market_data import MarketData
from assetbatch.sandbox.parameters import integer
from assetbatch.sandbox.responses import Request, SandboxResponse, bad_request, ok, ticker_not_found

PATH = r"/v1/conversion/([^/]+)/([^/]+)"


def respond(data: MarketData, request: Request, base: str, quoted: str) -> SandboxResponse:
    """Return the converted amount. The live service uses the quote of the inverse pair where there is one."""
    data.check_realtime(request)
    data.check_kind(request, "fx")
    precision = integer(request, request.query, "precision", 2, 0, 4)
    try:
        amount = float(request.query.get("amount") or 1)
    except ValueError:
        raise bad_request(request, "Could not parse the parameter 'amount'.") from None
    if not abs(amount) < 1e300:
        raise bad_request(request, "The parameter 'amount' is out of range.")
    if quote := data.last_quote(f"C:{quoted}{base}", request.now_ms):
        symbol, converted = f"{quoted}/{base}", amount / quote["bid"]
    elif quote := data.last_quote(f"C:{base}{quoted}", request.now_ms):
        symbol, converted = f"{base}/{quoted}", amount * quote["bid"]
    else:
        raise ticker_not_found(request)
    fields = {
        "converted": round(converted, precision),
        "from": base,
        "initialAmount": amount,
        "last": quote,
        "symbol": symbol,
        "to": quoted,
    }
    return ok(request, fields, "success")
