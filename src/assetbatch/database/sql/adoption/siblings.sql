-- Of rows that have a moment with a zone as well: how many are within five minutes of it in UTC, and how many in the
-- database's zone.
SELECT count(*) FILTER (WHERE abs(extract(epoch FROM {column} AT TIME ZONE 'UTC' - {sibling})) < 300),
       count(*) FILTER (WHERE abs(extract(epoch FROM {column} AT TIME ZONE %(zone)s::text - {sibling})) < 300)
FROM (SELECT {column}, {sibling} FROM {table}
      WHERE {column} > '-infinity' AND {column} < 'infinity' AND isfinite({sibling}) LIMIT 1000) AS sample;
