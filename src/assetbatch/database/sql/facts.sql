-- What doctor asks of the server: version number, its time in Unix ms, whether it takes no writes.
SELECT current_setting('server_version_num')::int,
       floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint,
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool
