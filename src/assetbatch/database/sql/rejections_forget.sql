-- What was refused is due at once: `init` was run, after which the columns may be others.
UPDATE data_sources.assetbatch_sync SET rejected_at = NULL, rejected_since = NULL WHERE rejected_at IS NOT NULL;
