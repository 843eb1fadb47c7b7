-- Bars for files. Each statement reads a source: a range of one symbol, with our names.

-- name: instrument
-- Return what the table of bars holds for a symbol.
(SELECT {bars.of[s]} FROM {symbols} s WHERE {symbols.symbol[s]} = %(symbol)s AND {symbols.ours[s]})

-- name: since
-- Return the moment at which the range begins.
to_timestamp(%(start_ms)s::int8 / 1000.0::float8)

-- name: until
-- Return the moment at which the range ends.
to_timestamp(%(end_ms)s::int8 / 1000.0::float8)

-- name: days
-- Return the days of a symbol within the range: those that begin in it, in UTC.
(
    SELECT {bars.day[o]}::date AS at, {bars.open[o]}::float8 AS open, {bars.high[o]}::float8 AS high,
           {bars.low[o]}::float8 AS low, {bars.close[o]}::float8 AS close, {bars.volume[o]}::float8 AS volume,
           {bars.vwap[o]}::float8 AS vwap, {bars.trades[o]}::int8 AS trades
    FROM {bars} o
    WHERE {bars.symbol_id[o]} = {instrument} AND {bars.ours[o]}
      AND {bars.day[o]} >= ({since} AT TIME ZONE 'UTC') AND {bars.day[o]} < ({until} AT TIME ZONE 'UTC')
)

-- name: load_range
-- Return where the bars of the source begin and end, in Unix ms.
SELECT (extract(epoch FROM min(b.at)) * 1000)::int8, (extract(epoch FROM max(b.at)) * 1000)::int8 FROM {source} b;

-- name: load_content
-- Return how many bars the source has, and a hash of them. It changes with each value, and no column has to say when a row
-- was written. The hash of a row is PostgreSQL's own, without a text between: a third of the time of an export.
SELECT count(*), coalesce(bit_xor(hash_record_extended(b, 0)), 0) FROM {source} b;

-- name: set_format
-- Let a number keep all its digits, and a moment be written as ISO does, whatever the role or the database has set.
SELECT set_config('extra_float_digits', '1', true), set_config('datestyle', 'ISO, YMD', true);

-- name: copy_bars
-- Copy the bars of the source, ascending, with the symbol before them.
COPY (SELECT %(symbol)s::text, b.* FROM {source} b ORDER BY b.at) TO STDOUT (FORMAT csv);
