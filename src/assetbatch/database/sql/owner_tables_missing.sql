-- Which of the owner's tables are not there; the last row is the provider's, which no migration can keep anybody from
-- deleting.
SELECT t.name
FROM (VALUES ({symbols.text}), ({bars.text}), ({providers.text}), ({sync_status.text})) AS t(name)
WHERE to_regclass(t.name) IS NULL;
