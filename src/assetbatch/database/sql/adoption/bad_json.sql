SELECT count({column}::jsonb) FROM {table};
