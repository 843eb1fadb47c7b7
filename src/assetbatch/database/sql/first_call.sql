-- Record that calls are made from now on; no row where that was recorded before. Another transaction that records it
-- at the same moment is waited for.
INSERT INTO data_sources.assetbatch_calls (only_row) VALUES (true)
ON CONFLICT DO NOTHING
RETURNING only_row;
