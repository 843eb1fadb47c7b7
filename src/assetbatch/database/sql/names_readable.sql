-- Whether this role may read what the tables are called: to ask a table that it may not see would be an error.
SELECT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'data_sources' AND c.relname = 'assetbatch_names'
      AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
);
