-- The ledger of bars: which stretches of a symbol were asked for, and with what result. In steady state one row a
-- symbol, which grows in place. Without a foreign key, since a platform may delete its symbols: rows of a symbol
-- that is gone are read by nobody.
DO $spans$
DECLARE
    symbol_id_type text;
BEGIN
    SELECT format_type(a.atttypid, NULL) INTO symbol_id_type
    FROM pg_attribute a
    WHERE a.attrelid = {symbols.regclass} AND a.attname = {symbols.id.literal} AND NOT a.attisdropped;
    EXECUTE format($create$
        CREATE TABLE IF NOT EXISTS data_sources.assetbatch_spans (
            symbol_id     %s NOT NULL,
            start_ts      timestamptz NOT NULL CHECK (isfinite(start_ts)),
            end_ts        timestamptz NOT NULL CHECK (isfinite(end_ts)),
            state         text NOT NULL CHECK (state IN ('asked', 'wanted', 'failed', 'not_in_plan')),
            asked_at      timestamptz CHECK (isfinite(asked_at)),
            error_message text,
            updated_at    timestamptz NOT NULL DEFAULT now() CHECK (isfinite(updated_at)),
            PRIMARY KEY (symbol_id, start_ts),
            CHECK (start_ts < end_ts)
        )$create$, symbol_id_type);
END
$spans$;
