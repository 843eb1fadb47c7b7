-- The type of `code` and `name` is a platform's matter: jsonb_populate_record takes it from the table.
INSERT INTO data_sources.api_providers (code, name)
SELECT p.code, p.name
FROM jsonb_populate_record(
    NULL::data_sources.api_providers, '{"code": "polygon", "name": "Massive (formerly Polygon.io)"}'
) AS p
WHERE NOT EXISTS (SELECT FROM data_sources.api_providers e WHERE e.code = p.code)
ON CONFLICT (code) DO NOTHING;
