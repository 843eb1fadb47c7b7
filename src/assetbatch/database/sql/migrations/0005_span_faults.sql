-- Why a stretch of bars has failed, as a word to decide by: until now the text of error_message was compared.
-- NULL where the call itself failed. Both texts of earlier versions are read here for the last time.
ALTER TABLE data_sources.assetbatch_spans
    ADD COLUMN IF NOT EXISTS fault text CHECK (fault IN ('unusable_bar', 'unconfirmed'));
UPDATE data_sources.assetbatch_spans
SET fault = CASE error_message WHEN 'the vendor''s bar is of no use' THEN 'unusable_bar' ELSE 'unconfirmed' END
WHERE state = 'failed'
  AND fault IS NULL
  AND error_message IN ('the vendor''s bar is of no use', 'the vendor answered without any bar; asked once more');
