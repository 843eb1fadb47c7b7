UPDATE data_sources.assetbatch_spans
SET state = 'wanted', asked_at = NULL, error_message = NULL, updated_at = now()
WHERE state = 'rejected';
