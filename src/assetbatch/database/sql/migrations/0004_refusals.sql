-- What the database refuses, and which answer was the last.
--
-- rejected: a state of the ledger for bars that came and that the table of bars does not take.
-- assetbatch_rejections: the symbols whose price or outcome was refused, when last, and since when in a row. It counts
-- while nothing newer is recorded of the symbol.
-- assetbatch_answers: which stretch of a symbol's bars was answered by a call of which moment, so that an answer that
-- was asked for earlier and is saved later reverts nothing there. A symbol has at most 48 rows, one for each five
-- minutes of four hours, which are written again and again: nothing has to be deleted. answers holds the last 16 of
-- those minutes, each as [asked, first bar, last bar] in ms; asked_at is the latest of their moments.
DO $refusals$
DECLARE
    symbol_id_type text;
    granted record;
BEGIN
    SELECT format_type(a.atttypid, NULL) INTO symbol_id_type
    FROM pg_attribute a
    WHERE a.attrelid = {symbols.regclass} AND a.attname = {symbols.id.literal} AND NOT a.attisdropped;
    ALTER TABLE data_sources.assetbatch_spans DROP CONSTRAINT IF EXISTS assetbatch_spans_state_check;
    ALTER TABLE data_sources.assetbatch_spans ADD CONSTRAINT assetbatch_spans_state_check
        CHECK (state IN ('asked', 'wanted', 'failed', 'not_in_plan', 'rejected'));
    EXECUTE format($create$
        CREATE TABLE IF NOT EXISTS data_sources.assetbatch_rejections (
            symbol_id   %s PRIMARY KEY,
            rejected_at timestamptz NOT NULL,
            since       timestamptz NOT NULL,
            error       text NOT NULL
        )$create$, symbol_id_type);
    EXECUTE format($create$
        CREATE TABLE IF NOT EXISTS data_sources.assetbatch_answers (
            symbol_id %s NOT NULL,
            slot      smallint NOT NULL,
            asked_at  timestamptz NOT NULL,
            answers   jsonb NOT NULL,
            PRIMARY KEY (symbol_id, slot)
        ) WITH (fillfactor = 70)$create$, symbol_id_type);
    -- Who may write the ledger may write these: an upgrade needs no GRANT by hand.
    FOR granted IN
        SELECT DISTINCT acl.grantee::regrole AS role
        FROM pg_class c, aclexplode(c.relacl) AS acl
        WHERE c.oid = 'data_sources.assetbatch_spans'::regclass
          AND acl.privilege_type = 'UPDATE' AND acl.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON data_sources.assetbatch_rejections, '
                       'data_sources.assetbatch_answers TO %s', granted.role);
        EXECUTE format('GRANT SELECT, INSERT ON data_sources.assetbatch_calls TO %s', granted.role);
    END LOOP;
END
$refusals$;
