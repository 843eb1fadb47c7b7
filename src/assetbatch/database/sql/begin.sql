-- One message for BEGIN and the settings, which end with the transaction (PgBouncer in transaction mode
-- gives the next transaction to another server connection). Read committed: each statement sees what was
-- committed before it began, which the order "lock the rows, then read and write" relies on.
-- JIT costs more than it saves in statements this short.
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT set_config('statement_timeout', %(statement_ms)s, true),
       set_config('lock_timeout', %(lock_ms)s, true),
       set_config('idle_in_transaction_session_timeout', %(idle_ms)s, true),
       set_config('timezone', 'UTC', true),
       set_config('jit', 'off', true);
