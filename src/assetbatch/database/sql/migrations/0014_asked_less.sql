-- coarse_from: the first moment whose bars were asked for in five minutes of a symbol that was asked for in minutes before;
-- session_from: the first moment whose bars were asked for without those beside the session; the end of all time where all
-- of them were asked for.
ALTER TABLE data_sources.assetbatch_sync
    ADD COLUMN IF NOT EXISTS coarse_from timestamptz,
    ADD COLUMN IF NOT EXISTS session_from timestamptz;
