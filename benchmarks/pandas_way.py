"""The provider's client and pandas: what most would write. No status, no events, newer rows overwritten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from benchmarks.straight import CHUNK, Job, iso


def refresh(job: Job) -> None:
    """250 snapshots a call, a DataFrame, to_sql with COPY into a staging table, one UPDATE."""
    import pandas
    import sqlalchemy
    from massive import RESTClient  # type: ignore[import-untyped]

    client = RESTClient(api_key=job.key, base=job.base_url)
    rows = []
    tickers = list(job.symbols)
    for first in range(0, len(tickers), CHUNK):
        chunk = tickers[first : first + CHUNK]
        for entry in client.list_universal_snapshots(ticker_any_of=chunk, limit=CHUNK):
            quote, trade = entry.last_quote, entry.last_trade
            rows.append(
                {
                    "symbol": job.symbols[entry.ticker],
                    "bid": quote.bid if quote else None,
                    "ask": quote.ask if quote else None,
                    "last_price": trade.price if trade else (quote.bid + quote.ask) / 2,
                    "timestamp": iso(trade.participant_timestamp if trade else quote.last_updated),
                }
            )
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(job.database_url)
    )
    with engine.begin() as connection:
        frame = pandas.DataFrame(rows)
        frame.to_sql("staging", connection, if_exists="replace", index=False, method=copy)
        connection.exec_driver_sql(
            "UPDATE trading.symbols s SET metadata = jsonb_set(s.metadata, '{last_update}',"
            " to_jsonb(n) - 'symbol'), updated_at = now() FROM staging n WHERE n.symbol = s.symbol"
        )
    engine.dispose()


def copy(table: Any, connection: Any, keys: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """An insertion method for `to_sql`, as in the manual of pandas: its fastest for PostgreSQL."""
    columns = ", ".join(f'"{key}"' for key in keys)
    with (
        connection.connection.cursor() as cursor,
        cursor.copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as writer,
    ):
        for row in rows:
            writer.write_row(row)
