-- What decides when a symbol is due: until now the platform's data_sync_status, which others may write too. It takes the
-- place of assetbatch_rejections as well. status is our own word, whatever the platform's column can hold; as_of is the
-- moment of the newest price that came.
--
-- assetbatch_names: what the owner's tables and columns are called (see database/names.py) and what was configured then; no
-- row where everything has our names.
DO $sync$
DECLARE
    symbol_id_type text;
    granted record;
BEGIN
    SELECT format_type(a.atttypid, NULL) INTO symbol_id_type
    FROM pg_attribute a
    WHERE a.attrelid = {symbols.regclass} AND a.attname = {symbols.id.literal} AND NOT a.attisdropped;
    -- Each refresh updates its row: room in every page keeps the new row on it and out of the index.
    EXECUTE format($create$
        CREATE TABLE IF NOT EXISTS data_sources.assetbatch_sync (
            symbol_id       %s PRIMARY KEY,
            as_of           timestamptz CHECK (isfinite(as_of)),
            last_success_at timestamptz CHECK (isfinite(last_success_at)),
            status          text,
            status_at       timestamptz CHECK (isfinite(status_at)),
            error_message   text,
            rejected_at     timestamptz CHECK (isfinite(rejected_at)),
            rejected_since  timestamptz CHECK (isfinite(rejected_since))
        ) WITH (fillfactor = 50)$create$, symbol_id_type);
    CREATE TABLE IF NOT EXISTS data_sources.assetbatch_names (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        names    jsonb NOT NULL,
        mappings jsonb NOT NULL
    );
    -- An installation that is upgraded knows its own rows; those of a platform that is adopted now are not ours.
    IF to_regclass('data_sources.assetbatch_migrations') IS NOT NULL THEN
        INSERT INTO data_sources.assetbatch_sync
            (symbol_id, last_success_at, status, status_at, error_message, rejected_at, rejected_since)
        SELECT d.ticker_id,
               CASE WHEN isfinite(d.last_sync_timestamp) THEN d.last_sync_timestamp END,
               d.sync_status::text,
               CASE WHEN isfinite(d.updated_at) THEN d.updated_at END,
               d.error_message::text,
               CASE WHEN isfinite(r.rejected_at) AND (d.updated_at IS NULL OR r.rejected_at >= d.updated_at)
                    THEN r.rejected_at END,
               CASE WHEN isfinite(r.since) AND r.rejected_at > '-infinity' THEN r.since END
        FROM data_sources.data_sync_status d
        JOIN data_sources.api_providers p ON p.id = d.provider_id AND p.code::text = 'polygon'
        LEFT JOIN data_sources.assetbatch_rejections r ON r.symbol_id = d.ticker_id
        ON CONFLICT DO NOTHING;
    END IF;
    DROP TABLE IF EXISTS data_sources.assetbatch_rejections;
    -- Who may write the ledger may write these: an upgrade needs no GRANT by hand.
    FOR granted IN
        SELECT DISTINCT acl.grantee::regrole AS role
        FROM pg_class c, aclexplode(c.relacl) AS acl
        WHERE c.oid = 'data_sources.assetbatch_spans'::regclass
          AND acl.privilege_type = 'UPDATE' AND acl.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON data_sources.assetbatch_sync TO %s', granted.role);
        EXECUTE format('GRANT SELECT ON data_sources.assetbatch_names TO %s', granted.role);
    END LOOP;
END
$sync$;
