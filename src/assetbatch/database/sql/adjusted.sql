-- Bars as if the splits of stocks since had always been.
--
-- Each bar asks the primary key of the splits for those of its instrument that came later, in some microseconds. A view
-- calls a function whose body is a text, as the views of larger bars do: nothing in the catalogue depends on the table of bars,
-- PostgreSQL puts the body into the query, and reads the tables with the rights of the reader.

-- name: create_product
-- Create the aggregate that multiplies. Sums of logarithms would not give 4 for 2 times 2.
CREATE OR REPLACE AGGREGATE {schema}.assetbatch_product(float8) (
    SFUNC = pg_catalog.float8mul, STYPE = float8, INITCOND = '1', PARALLEL = SAFE
);

-- name: instrument_of_splits
-- Return what the splits have for the instrument of a bar, where the bars have something else. No row of the symbols says
-- its ticker: it is the symbol, unless a stock was configured otherwise.
(SELECT {of_splits} FROM {symbols} s WHERE {of_bars} = {bars.symbol_id[o]} AND {symbols.ours[s]} LIMIT 1)

-- name: day_of
-- Return the New York day of a bar.
(date(({bars.ts[o]}{bars.ts.zone})::timestamptz AT TIME ZONE 'America/New_York'))

-- name: create_bars
-- Create the function of one size. `time` is the column of a bar's time, `kind` its type, `day` the New York day of the bar,
-- `instrument` what the splits have for its instrument. Until its day comes, a split changes nothing.
CREATE OR REPLACE FUNCTION {function}()
RETURNS TABLE (
    symbol_id {type}, {time_name} {kind}, open float8, high float8, low float8, close float8, volume float8, vwap float8,
    trades bigint
)
LANGUAGE sql STABLE PARALLEL SAFE AS $assetbatch$
    SELECT {bars.symbol_id[o]}, {time},
           {bars.open[o]}::float8 * f.old / f.new,
           {bars.high[o]}::float8 * f.old / f.new,
           {bars.low[o]}::float8 * f.old / f.new,
           {bars.close[o]}::float8 * f.old / f.new,
           {bars.volume[o]}::float8 * f.new / f.old,
           {bars.vwap[o]}::float8 * f.old / f.new,
           {bars.trades[o]}::int8
    FROM {bars} o
    CROSS JOIN LATERAL (
        SELECT {schema}.assetbatch_product({splits.split_from[p]}::float8) AS old,
               {schema}.assetbatch_product({splits.split_to[p]}::float8) AS new
        FROM {splits} p
        WHERE {splits.symbol_id[p]} = {instrument} AND {splits.ours[p]} AND {splits.state[p]} = 'applied'
          AND {splits.split_from[p]} > 0 AND {splits.split_to[p]} > 0 AND {splits.execution_date[p]} > {day}
          AND {splits.execution_date[p]} <= (now() AT TIME ZONE 'America/New_York')::date
    ) f
    WHERE {bars.ours[o]}
$assetbatch$;

-- name: create_view
-- Create the view of one size.
CREATE OR REPLACE VIEW {view} AS SELECT * FROM {function}();

-- name: load_kinds
-- Return the type of what a table of bars holds for the instrument, and whether its moments are without a zone.
SELECT format_type(a.atttypid, a.atttypmod),
       EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = a.attrelid AND t.attname = {bars.ts.literal}
               AND NOT t.attisdropped AND t.atttypid = 'timestamp'::regtype)
FROM pg_attribute a
WHERE a.attrelid = to_regclass({bars.text}) AND a.attname = {bars.symbol_id.literal} AND NOT a.attisdropped;
