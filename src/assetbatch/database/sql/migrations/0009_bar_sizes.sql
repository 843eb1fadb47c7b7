-- The tables of minutes and of days are made or adopted with the others (see database/adoption). bar_size is the size in
-- which the coverage of a symbol was asked for: 5m where it is NULL.
ALTER TABLE data_sources.assetbatch_sync
    ADD COLUMN IF NOT EXISTS bar_size text CHECK (bar_size IN ('5m', '1m'));
-- Who may write bars of five minutes may write these: an upgrade needs no GRANT by hand.
DO $grants$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT DISTINCT acl.grantee::regrole AS role, made.oid::regclass AS made
        FROM pg_class bars
        CROSS JOIN LATERAL aclexplode(bars.relacl) AS acl
        JOIN pg_class made ON made.oid IN ({bars_1m.regclass}, {bars_1d.regclass}) AND made.relowner = bars.relowner
        WHERE bars.oid = {bars.regclass} AND acl.privilege_type = 'INSERT' AND acl.grantee NOT IN (0, bars.relowner)
          AND pg_has_role(made.relowner, 'USAGE')
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %s TO %s', granted.made, granted.role);
    END LOOP;
END
$grants$;
