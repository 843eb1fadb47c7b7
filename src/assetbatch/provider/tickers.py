"""The tickers that the provider lists, checked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from assetbatch.domain.rules import ListedTicker
from assetbatch.provider.answers import TickersPage
from assetbatch.provider.decoding import LIST, Body, attempt, check, decode, text
from assetbatch.provider.refusals import one_line
from assetbatch.secret import Secret


class _Row(msgspec.Struct):
    ticker: Any = None
    name: Any = None
    market: Any = None
    exchange: Any = msgspec.field(default=None, name="primary_exchange")
    type: Any = None
    active: Any = None
    quote: Any = msgspec.field(default=None, name="currency_symbol")


_ROW = msgspec.json.Decoder(_Row)
_LONGEST_TICKER = 40


def decode_tickers(body: Body, market: str, key: Secret | None = None) -> TickersPage:
    """Decode a page of `/v3/reference/tickers`; `market` is the provider's word for what was asked.

    Raise Refusal if the answer as a whole is useless.
    """
    envelope = decode(LIST, body, key)
    check(envelope, envelope.results, body, key)
    refused: Counter[str] = Counter()
    found: list[ListedTicker] = []
    last = None
    for raw in envelope.results or ():
        row = attempt(_ROW, raw)
        if row is None:
            refused["undecodable"] += 1
            continue
        ticker = text(row.ticker)
        if not ticker or len(ticker) > _LONGEST_TICKER or one_line(ticker) != ticker:
            refused["ticker"] += 1
            continue
        last = ticker
        if row.market is not None and text(row.market).lower() != market:
            refused["market"] += 1
        elif row.active is False:
            refused["inactive"] += 1
        else:
            found.append(
                ListedTicker(
                    ticker=ticker,
                    name=one_line(text(row.name), key),
                    exchange=text(row.exchange).strip().upper(),
                    kind=text(row.type).strip().upper(),
                    quote=text(row.quote).strip().upper(),
                )
            )
    return TickersPage(tickers=found, refused=refused, last=last, is_last=not text(envelope.next_url))
