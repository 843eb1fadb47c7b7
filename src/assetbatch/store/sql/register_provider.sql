-- The type of `code` and `name` is a platform's matter: jsonb_populate_record takes it from the table.
INSERT INTO {providers} ({providers.code}, {providers.name}{providers.constant_columns})
SELECT {providers.code[p]}, {providers.name[p]}{providers.constant_values}
FROM jsonb_populate_record(NULL::{providers}, jsonb_build_object(
    {providers.code.literal}, {provider}, {providers.name.literal}, 'Massive (formerly Polygon.io)')) AS p
WHERE NOT EXISTS (SELECT FROM {providers} e WHERE {providers.code[e]} = {providers.code[p]} AND {providers.ours[e]})
ON CONFLICT DO NOTHING;
