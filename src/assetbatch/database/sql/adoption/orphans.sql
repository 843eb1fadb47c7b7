-- A reference of the table that leads to no row, where no index begins with it.
SELECT t.{column}::text FROM {table} t
WHERE t.{column} IS NOT NULL AND NOT EXISTS (SELECT FROM {target} s WHERE s.{target_column} = t.{column})
LIMIT 1;
