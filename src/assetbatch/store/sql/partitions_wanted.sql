-- Tells the migration that makes the table of bars to make it partitioned; forgotten with the transaction.
SELECT set_config('assetbatch.by_month', 'on', true);
