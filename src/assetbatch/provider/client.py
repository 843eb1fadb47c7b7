"""The provider's endpoints as methods. Each method makes exactly one HTTP request.

So the caller gets a grant of the call window before each method, and knows what the grant was used for.
Every method raises `Refusal`. Nothing is retried here, and no page is followed automatically.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, urlencode, urlsplit

from assetbatch.domain.asset_classes import AssetClass, AssetType, class_of, class_of_type
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.models import SNAPSHOT_TICKERS
from assetbatch.domain.queueing import LONGEST_CALL_SECONDS
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.units import MINUTE_MS
from assetbatch.provider.answers import (
    BarsAnswer,
    ListedDays,
    MarketStatus,
    PreviousDay,
    PricesAnswer,
    SplitsAnswer,
)
from assetbatch.provider.bars import decode_bars
from assetbatch.provider.decoding import Body
from assetbatch.provider.market_status import decode_market_status
from assetbatch.provider.prices import (
    decode_grouped_day,
    decode_market_snapshot,
    decode_previous_day,
    decode_snapshot,
)
from assetbatch.provider.refusals import Refusal, classify
from assetbatch.provider.transport import Transport
from assetbatch.secret import Secret

if TYPE_CHECKING:
    from assetbatch.domain.listings import Details, TickerChange
    from assetbatch.domain.rules import TickerQuery
    from assetbatch.domain.splits import Days
    from assetbatch.provider.answers import TickersPage

MAX_BASE_BARS = 50_000
"""The provider's largest `limit`. It counts minutes, so a page holds up to 10,000 5-minute bars."""

_MAX_SPLITS = 5_000
"""The provider's largest `limit` of a page of splits."""

_PROVIDER_HOSTS = frozenset({"api.massive.com", "api.polygon.io"})  # two names of one service


class ProviderClient:
    """The Massive (formerly Polygon.io) REST API with one key; a context manager.

    Connections are kept between calls, and threads may share a client. Every call ends within
    `call_seconds`, or within `deadline_seconds` if that is less. Raises ConfigError for a base URL (https,
    or http on this machine), a key, a certificate bundle or a proxy that cannot be used. `url_name` says
    where the base URL is configured.
    """

    def __init__(
        self,
        base_url: str,
        api_key: Secret,
        *,
        call_seconds: float = LONGEST_CALL_SECONDS,
        max_body_bytes: int = 64 * 2**20,
        url_name: str = "provider.base_url",
    ) -> None:
        self._transport = Transport(base_url, api_key, max_body_bytes=max_body_bytes, url_name=url_name)
        self._key = api_key
        self._call_seconds = call_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connections."""
        self._transport.close()

    def snapshot(self, assets: Mapping[str, str], *, deadline_seconds: float | None = None) -> PricesAnswer:
        """Fetch the latest prices of 1 to 250 tickers (`/v3/snapshot`). `assets` maps tickers to symbols."""
        return self._snapshot("/v3/snapshot", assets, deadline_seconds)

    def market_snapshot(
        self, asset_type: AssetType, assets: Mapping[str, str], *, deadline_seconds: float | None = None
    ) -> PricesAnswer:
        """Fetch the latest prices of 1 to 250 tickers of one market (`/v2/snapshot`, or `/v3/snapshot/…`)."""
        of = class_of_type(asset_type)
        if of.unified_market is not None:
            return self._snapshot(f"/v3/snapshot/{of.unified_market}", assets, deadline_seconds)
        _check_number(assets)
        query = urlencode({"tickers": ",".join(assets)}, safe=":,")
        target = f"/v2/snapshot/locale/{of.locale}/markets/{of.snapshot_market}/tickers?{query}"
        return decode_market_snapshot(self._get(target, deadline_seconds), assets, self._key)

    def grouped_day(
        self,
        asset_type: AssetType,
        day: date,
        assets: Mapping[str, str],
        *,
        deadline_seconds: float | None = None,
    ) -> PricesAnswer:
        """Fetch a New York day of any number of tickers of one market.

        Each close is the price, as of the day's end.
        """
        of = class_of_type(asset_type)
        place = f"locale/{of.locale}/market/{of.grouped_market}"
        target = f"/v2/aggs/grouped/{place}/{day.isoformat()}{_query(of)}"
        return decode_grouped_day(self._get(target, deadline_seconds), day, assets, self._key)

    def bars(
        self,
        ticker: str,
        start_ms: int,
        end_ms: int,
        *,
        size: BarSize = BarSize.FIVE_MINUTES,
        limit: int = MAX_BASE_BARS,
        deadline_seconds: float | None = None,
    ) -> BarsAnswer:
        """Fetch the first page of bars that start within `[start_ms, end_ms]`, both inclusive.

        `limit` counts minutes, whatever the size: 50,000 (the provider's maximum) are at most 10,000 bars of
        five minutes.
        """
        if start_ms > end_ms:
            raise ValueError("a range of bars ends before it starts")
        target = (
            f"/v2/aggs/ticker/{_in_path(ticker)}/range/{size.ms // MINUTE_MS}/minute/{start_ms}/{end_ms}"
            f"{_query(class_of(ticker), sort='asc', limit=limit)}"
        )
        return self._bars(target, ticker, (start_ms, end_ms), size.ms, deadline_seconds)

    def next_page(self, answer: BarsAnswer, *, deadline_seconds: float | None = None) -> BarsAnswer:
        """Fetch the page to which `answer.next_url` leads. It may be empty.

        Raise Refusal NONSENSE, and send nothing, if that leads to another host than the base URL (or the
        provider's other name): the key goes to nobody else.
        """
        target = self._page_target(answer.next_url or "")
        if target is None:
            raise Refusal(
                RefusalKind.NONSENSE, f"the next page of {answer.ticker} is not on the API's host", sent=False
            )
        bounds = answer.start_ms, answer.end_ms
        return self._bars(target, answer.ticker, bounds, answer.size_ms, deadline_seconds)

    def previous_day(
        self, ticker: str, symbol: str, *, deadline_seconds: float | None = None
    ) -> PreviousDay | None:
        """Fetch the last complete day. Its close is the price, as of its end; None without one."""
        target = f"/v2/aggs/ticker/{_in_path(ticker)}/prev{_query(class_of(ticker))}"
        body = self._get(target, deadline_seconds)
        return decode_previous_day(body, ticker=ticker, symbol=symbol, key=self._key)

    def splits(
        self, days: Days, tickers: Sequence[str] = (), *, deadline_seconds: float | None = None
    ) -> SplitsAnswer:
        """Fetch the splits with execution dates of these days, of these tickers or of the whole market.

        A page holds 5,000. They come in the order of their days, so that a full page says what is left.
        """
        from assetbatch.provider.splits import decode_splits  # few cycles ask for any

        wanted = {
            "execution_date.gte": days.first.isoformat(),
            "execution_date.lte": days.last.isoformat(),
            "sort": "execution_date.asc",
            "limit": _MAX_SPLITS,
        }
        if tickers:
            wanted["ticker.any_of"] = ",".join(tickers)
        body = self._get(f"/stocks/v1/splits?{urlencode(wanted, safe=':,')}", deadline_seconds)
        return decode_splits(body, days, self._key)

    def tickers(
        self, query: TickerQuery, after: str = "", *, deadline_seconds: float | None = None
    ) -> TickersPage:
        """Fetch a page of the active tickers of a market, ascending: up to 1,000 from `after` on (inclusive).

        Raise ValueError for a market of which the provider has no list.
        """
        from assetbatch.domain.rules import TICKERS_PER_CALL
        from assetbatch.provider.tickers import decode_tickers

        market = class_of_type(query.asset_type).reference_market
        if market is None:
            raise ValueError(f"the provider has no list of {query.asset_type}")
        parameters = {
            "market": market,
            "type": query.kind,
            "exchange": query.exchange,
            "ticker.gte": after,
            "active": "true",
            "sort": "ticker",
            "order": "asc",
            "limit": TICKERS_PER_CALL,
        }
        target = f"/v3/reference/tickers?{urlencode({k: v for k, v in parameters.items() if v}, safe=':')}"
        return decode_tickers(self._get(target, deadline_seconds), market, self._key)

    def market_status(self, *, deadline_seconds: float | None = None) -> MarketStatus:
        """Fetch the provider's clock and the state of its markets.

        Every plan may ask it, so it proves the key.
        """
        return decode_market_status(self._get("/v1/marketstatus/now", deadline_seconds), self._key)

    def holidays(self, *, deadline_seconds: float | None = None) -> ListedDays:
        """Fetch the holidays and early closes of the stock exchange that are to come."""
        from assetbatch.provider.holidays import decode_holidays

        return decode_holidays(self._get("/v1/marketstatus/upcoming", deadline_seconds), self._key)

    def _snapshot(self, path: str, assets: Mapping[str, str], deadline_seconds: float | None) -> PricesAnswer:
        _check_number(assets)
        query = urlencode({"ticker.any_of": ",".join(assets), "limit": SNAPSHOT_TICKERS}, safe=":,")
        return decode_snapshot(self._get(f"{path}?{query}", deadline_seconds), assets, self._key)

    def details(
        self, ticker: str, day: date | None = None, *, deadline_seconds: float | None = None
    ) -> Details:
        """Fetch what the reference says of a ticker, today or as it was on a day."""
        from assetbatch.provider.listings import decode_details

        target = f"/v3/reference/tickers/{_in_path(ticker)}{f'?date={day}' if day else ''}"
        return decode_details(self._get(target, deadline_seconds), ticker, self._key)

    def ended(self, ticker: str, *, deadline_seconds: float | None = None) -> Details | None:
        """Fetch what a stock's ticker was when it last ended; None if the reference knows of no end."""
        from assetbatch.provider.listings import decode_ended

        wanted = {"ticker": ticker, "market": "stocks", "active": "false"}
        body = self._get(f"/v3/reference/tickers?{urlencode(wanted)}", deadline_seconds)
        return decode_ended(body, ticker, self._key)

    def ticker_changes(self, of: str, *, deadline_seconds: float | None = None) -> tuple[TickerChange, ...]:
        """Fetch the tickers that the company of a ticker or of a FIGI has had (experimental)."""
        from assetbatch.provider.listings import decode_changes

        target = f"/vX/reference/tickers/{_in_path(of)}/events?types=ticker_change"
        return decode_changes(self._get(target, deadline_seconds), self._key)

    def _bars(
        self,
        target: str,
        ticker: str,
        bounds: tuple[int, int],
        size_ms: int,
        deadline_seconds: float | None,
    ) -> BarsAnswer:
        body, (start_ms, end_ms) = self._get(target, deadline_seconds), bounds
        return decode_bars(
            body, ticker=ticker, start_ms=start_ms, end_ms=end_ms, size_ms=size_ms, key=self._key
        )

    def _get(self, target: str, deadline_seconds: float | None) -> Body:
        seconds = self._call_seconds
        if deadline_seconds is not None:
            seconds = min(seconds, deadline_seconds)
        answer = self._transport.get(target, seconds=seconds)
        if answer.status != 200:
            raise classify(answer.status, answer.body, answer.headers, self._key)
        return answer.body

    def _page_target(self, url: str) -> str | None:
        """Return path and query of a page on our host, or None for another host.

        The base URL is asked for it.
        """
        try:
            page, base = urlsplit(url), urlsplit(self._transport.origin)
            same_port = (page.port or _PORTS.get(page.scheme)) == (base.port or _PORTS[base.scheme])
        except ValueError:
            return None
        hosts = {page.hostname, base.hostname}
        same_host = len(hosts) == 1 or hosts == _PROVIDER_HOSTS
        if page.scheme != base.scheme or not same_port or not same_host or "@" in page.netloc:
            return None
        if not page.path.startswith("/"):
            return None
        return f"{page.path}?{page.query}" if page.query else page.path


_PORTS = {"http": 80, "https": 443}


def _query(of: AssetClass, **parameters: object) -> str:
    """Return the query for bars of a class.

    Those of stocks are raw: a split would rescale all that is stored. Of indices there is nothing to adjust.
    """
    adjusted = {} if of.is_split_adjusted is None else {"adjusted": str(of.is_split_adjusted).lower()}
    query = urlencode({**adjusted, **parameters})
    return f"?{query}" if query else ""


def _check_number(assets: Mapping[str, str]) -> None:
    if not 1 <= len(assets) <= SNAPSHOT_TICKERS:
        raise ValueError(f"a snapshot is of 1 to {SNAPSHOT_TICKERS} tickers, not {len(assets)}")


def _in_path(ticker: str) -> str:
    return quote(ticker, safe=":")
