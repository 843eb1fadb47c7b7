-- Whether another transaction has locked a whole table that is written, so that no row of it can be.
SELECT EXISTS (
    SELECT FROM pg_locks l
    WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation IN ({symbols.regclass}, {bars.regclass}, {sync_status.regclass},
                         'data_sources.assetbatch_sync'::regclass, 'data_sources.assetbatch_spans'::regclass)
      AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
);
