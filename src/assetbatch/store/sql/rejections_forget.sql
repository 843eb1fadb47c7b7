-- What was refused is due at once: `init` was run, after which the columns may be others.
UPDATE data_sources.assetbatch_rejections SET rejected_at = '-infinity', since = 'infinity'
WHERE rejected_at > '-infinity';
