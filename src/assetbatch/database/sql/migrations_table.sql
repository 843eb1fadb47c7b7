-- Who has been here: made before the first migration, in the same transaction.
CREATE TABLE data_sources.assetbatch_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
