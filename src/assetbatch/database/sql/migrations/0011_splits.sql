-- The table of splits is made or adopted with the others (see database/adoption). splits_ticker is the ticker of which the
-- splits of all times were asked for; NULL where they were not.
ALTER TABLE data_sources.assetbatch_sync ADD COLUMN IF NOT EXISTS splits_ticker text;
-- Who may write bars may write these, and who may read bars may read these: an upgrade needs no GRANT by hand.
DO $grants$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END AS role,
               made.oid::regclass AS made,
               CASE acl.privilege_type WHEN 'SELECT' THEN 'SELECT' ELSE 'SELECT, INSERT, UPDATE' END AS rights
        FROM pg_class bars
        CROSS JOIN LATERAL aclexplode(bars.relacl) AS acl
        JOIN pg_class made ON made.oid = {splits.regclass} AND made.relowner = bars.relowner
        WHERE bars.oid = {bars.regclass} AND acl.privilege_type IN ('SELECT', 'INSERT') AND acl.grantee <> bars.relowner
          AND pg_has_role(made.relowner, 'USAGE')
    LOOP
        EXECUTE format('GRANT %s ON %s TO %s', granted.rights, granted.made, granted.role);
    END LOOP;
END
$grants$;
