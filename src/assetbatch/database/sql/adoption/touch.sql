-- An UPDATE of one row that changes nothing, for its triggers.
UPDATE {table} SET {column} = {column} WHERE ctid = (SELECT ctid FROM {table} LIMIT 1);
