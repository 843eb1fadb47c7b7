-- A key that several rows have, where a unique index is to keep them apart.
SELECT concat_ws(', ', {columns}) FROM {table} WHERE {known} GROUP BY {columns} HAVING count(*) > 1 LIMIT 1;
