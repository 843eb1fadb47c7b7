-- What is stored is asked for again and compared.
--
-- again: a state of the coverage for what was answered and is wanted once more.
-- assetbatch_verified: what the comparison of a stretch of answered bars showed. A stretch without a row was compared
-- with nothing yet. tried_at is when it was last asked for, verified_at when an answer was compared; compared and differed
-- are of that answer, and 0 where somebody had insisted on it. changed, appeared, vanished and largest_difference are of
-- all answers so far. nothing are the intervals of open time without a bar; checks is how many answers in a row said so.
-- assetbatch_vanished: stored bars that a later answer has not brought. They are kept.
-- asked_again_at: when everything of a symbol was last asked for again, because too much of it had differed.
ALTER TABLE data_sources.assetbatch_sync ADD COLUMN IF NOT EXISTS asked_again_at timestamptz;
ALTER TABLE data_sources.assetbatch_spans DROP CONSTRAINT IF EXISTS assetbatch_spans_state_check;
ALTER TABLE data_sources.assetbatch_spans ADD CONSTRAINT assetbatch_spans_state_check
    CHECK (state IN ('asked', 'wanted', 'failed', 'not_in_plan', 'rejected', 'not_wanted', 'again'));
DO $verified$
DECLARE
    symbol_id_type text;
    granted record;
BEGIN
    SELECT format_type(a.atttypid, NULL) INTO symbol_id_type
    FROM pg_attribute a
    WHERE a.attrelid = {symbols.regclass} AND a.attname = {symbols.id.literal} AND NOT a.attisdropped;
    EXECUTE format($create$
        CREATE TABLE IF NOT EXISTS data_sources.assetbatch_verified (
            symbol_id          %s NOT NULL,
            start_ts           timestamptz NOT NULL CHECK (isfinite(start_ts)),
            end_ts             timestamptz NOT NULL CHECK (isfinite(end_ts)),
            tried_at           timestamptz NOT NULL,
            verified_at        timestamptz,
            compared           integer NOT NULL DEFAULT 0,
            differed           integer NOT NULL DEFAULT 0,
            changed            integer NOT NULL DEFAULT 0,
            appeared           integer NOT NULL DEFAULT 0,
            vanished           integer NOT NULL DEFAULT 0,
            largest_difference float8 NOT NULL DEFAULT 0,
            nothing            integer NOT NULL DEFAULT 0,
            checks             integer NOT NULL DEFAULT 0,
            PRIMARY KEY (symbol_id, start_ts),
            CHECK (start_ts < end_ts)
        )$create$, symbol_id_type);
    EXECUTE format($create$
        CREATE TABLE IF NOT EXISTS data_sources.assetbatch_vanished (
            symbol_id %s NOT NULL,
            bar_size  text NOT NULL CHECK (bar_size IN ('5m', '1m')),
            ts        timestamptz NOT NULL,
            seen_at   timestamptz NOT NULL,
            PRIMARY KEY (symbol_id, bar_size, ts)
        )$create$, symbol_id_type);
    -- Who may write the coverage may write these: an upgrade needs no GRANT by hand.
    FOR granted IN
        SELECT DISTINCT acl.grantee::regrole AS role
        FROM pg_class c, aclexplode(c.relacl) AS acl
        WHERE c.oid = 'data_sources.assetbatch_spans'::regclass
          AND acl.privilege_type = 'UPDATE' AND acl.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON data_sources.assetbatch_verified, '
                       'data_sources.assetbatch_vanished TO %s', granted.role);
    END LOOP;
END
$verified$;
