-- The words that a rule refuses.
SELECT t.word
FROM unnest(%(words)s::text[]) AS t(word)
CROSS JOIN LATERAL (SELECT {columns}) AS one
WHERE NOT ({rule});
