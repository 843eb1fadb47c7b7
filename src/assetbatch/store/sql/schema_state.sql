-- How far the schema is, and whether the vendor's row is there (a migration cannot keep anybody from deleting it).
SELECT (SELECT coalesce(max(version), 0) FROM data_sources.assetbatch_migrations),
       EXISTS (SELECT FROM data_sources.api_providers WHERE code::text = 'polygon');
