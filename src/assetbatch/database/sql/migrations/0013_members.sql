-- The members of rules, and how far they are looked up.
--
-- assetbatch_members: what each rule of the configuration stands for. seen_at is the beginning of the walk that has seen
-- the ticker last; gone_since is when a walk that saw everything has not seen it.
-- assetbatch_walks: the last walk of each rule. query counts the queries that are done, after is the last ticker that was
-- seen of the next one.
-- assetbatch_market_days: the days of a whole market that were asked for, with the number of bars that came.
CREATE TABLE IF NOT EXISTS data_sources.assetbatch_walks (
    rule        text PRIMARY KEY,
    started_at  timestamptz NOT NULL,
    query       integer NOT NULL DEFAULT 0,
    after       text NOT NULL DEFAULT '',
    calls       integer NOT NULL DEFAULT 0,
    is_whole    boolean NOT NULL DEFAULT true,
    finished_at timestamptz
);
CREATE TABLE IF NOT EXISTS data_sources.assetbatch_market_days (
    market   text NOT NULL,
    day      date NOT NULL,
    asked_at timestamptz NOT NULL,
    bars     integer NOT NULL,
    PRIMARY KEY (market, day)
);
DO $members$
DECLARE
    symbol_id_type text;
    granted record;
BEGIN
    SELECT format_type(a.atttypid, NULL) INTO symbol_id_type
    FROM pg_attribute a
    WHERE a.attrelid = {symbols.regclass} AND a.attname = {symbols.id.literal} AND NOT a.attisdropped;
    EXECUTE format($create$
        CREATE TABLE IF NOT EXISTS data_sources.assetbatch_members (
            rule       text NOT NULL,
            symbol_id  %s NOT NULL,
            ticker     text NOT NULL,
            name       text,
            since      timestamptz NOT NULL,
            seen_at    timestamptz NOT NULL,
            gone_since timestamptz,
            PRIMARY KEY (rule, symbol_id)
        )$create$, symbol_id_type);
    -- Who may write the coverage may write these: an upgrade needs no GRANT by hand.
    FOR granted IN
        SELECT DISTINCT acl.grantee::regrole AS role
        FROM pg_class c, aclexplode(c.relacl) AS acl
        WHERE c.oid = 'data_sources.assetbatch_spans'::regclass
          AND acl.privilege_type = 'UPDATE' AND acl.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON data_sources.assetbatch_members, '
                       'data_sources.assetbatch_walks, data_sources.assetbatch_market_days TO %s', granted.role);
    END LOOP;
END
$members$;
