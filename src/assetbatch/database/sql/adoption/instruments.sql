-- Whether rows of bars have a configured symbol, and whether a configured ticker, as their instrument.
SELECT EXISTS (SELECT FROM {bars} o WHERE o.{bars.symbol_id} = ANY (%(symbols)s::text[])),
       EXISTS (SELECT FROM {bars} o WHERE o.{bars.symbol_id} = ANY (%(tickers)s::text[]));
