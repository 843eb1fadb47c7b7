-- One program migrates at a time; the lock ends with the transaction. Bounded by lock_timeout.
SELECT pg_advisory_xact_lock(hashtextextended('assetbatch migrations', 0));
