-- listing: since when a stock is listed, and what became of it, as the provider said when it was last asked; NULL where
-- nobody has asked.
ALTER TABLE data_sources.assetbatch_sync ADD COLUMN IF NOT EXISTS listing jsonb;
