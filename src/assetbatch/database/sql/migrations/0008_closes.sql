-- The few closes that the page draws of each symbol. They are kept when its bars are written. To read them from the bars
-- of 10,000 symbols takes longer than all else of the page. A symbol gets its row with its next bars. Until then its
-- closes are read. They have a table of their own: in assetbatch_sync each refresh of a price would copy them.
DO $closes$
DECLARE
    symbol_id_type text;
    granted record;
BEGIN
    SELECT format_type(a.atttypid, NULL) INTO symbol_id_type
    FROM pg_attribute a
    WHERE a.attrelid = {symbols.regclass} AND a.attname = {symbols.id.literal} AND NOT a.attisdropped;
    -- New bars update its row: room in every page keeps the new row on it and out of the index.
    EXECUTE format($create$
        CREATE TABLE IF NOT EXISTS data_sources.assetbatch_closes (
            symbol_id %s PRIMARY KEY,
            newest_ts timestamptz NOT NULL,
            closes    float8[] NOT NULL
        ) WITH (fillfactor = 50)$create$, symbol_id_type);
    -- Who may write the coverage may write these: an upgrade needs no GRANT by hand.
    FOR granted IN
        SELECT DISTINCT acl.grantee::regrole AS role
        FROM pg_class c, aclexplode(c.relacl) AS acl
        WHERE c.oid = 'data_sources.assetbatch_spans'::regclass
          AND acl.privilege_type = 'UPDATE' AND acl.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON data_sources.assetbatch_closes TO %s', granted.role);
    END LOOP;
END
$closes$;
