-- not_wanted: a state of the coverage for what a backfill asked for and `backfill --cancel` has taken back.
ALTER TABLE data_sources.assetbatch_spans DROP CONSTRAINT IF EXISTS assetbatch_spans_state_check;
ALTER TABLE data_sources.assetbatch_spans ADD CONSTRAINT assetbatch_spans_state_check
    CHECK (state IN ('asked', 'wanted', 'failed', 'not_in_plan', 'rejected', 'not_wanted'));
