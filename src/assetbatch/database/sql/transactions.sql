-- Transactions.

-- name: begin
-- Begin a transaction with its settings, in one message. They end with the transaction (PgBouncer in transaction mode
-- gives the next transaction to another server connection). Read committed: each statement sees what was
-- committed before it began, on which the order "lock the rows, then read and write" relies.
-- JIT costs more than it saves in statements this short.
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT set_config('statement_timeout', %(statement_ms)s, true),
       set_config('lock_timeout', %(lock_ms)s, true),
       set_config('idle_in_transaction_session_timeout', %(idle_ms)s, true),
       set_config('timezone', 'UTC', true),
       set_config('jit', 'off', true);

-- name: set_tickers
-- Set the ticker of each symbol for the transaction, for bars that are kept under it.
SELECT set_config('assetbatch.tickers', %(tickers)s, true);

-- name: find_table_locks
-- Return whether another transaction has locked a whole table that is written, so that no row of it can be.
SELECT EXISTS (
    SELECT FROM pg_locks l
    WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation IN ({symbols.regclass}, {bars.regclass}, {bars_1m.regclass}, {sync_status.regclass},
                         'data_sources.assetbatch_sync'::regclass, 'data_sources.assetbatch_spans'::regclass)
      AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
);
