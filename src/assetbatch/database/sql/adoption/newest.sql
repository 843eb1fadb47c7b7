SELECT extract(epoch FROM at AT TIME ZONE 'UTC')::float8, extract(epoch FROM at AT TIME ZONE %(zone)s::text)::float8
FROM (SELECT max({column}) AS at FROM {table} WHERE {column} < 'infinity') AS newest;
