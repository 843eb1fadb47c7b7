CREATE TABLE {sync_status} (
    {sync_status.ticker_id}           {symbol_id_type} NOT NULL,
    {sync_status.provider_id}         {provider_id_type} NOT NULL,
    {sync_status.last_sync_timestamp} timestamptz,
    {sync_status.sync_status}         text NOT NULL,
    {sync_status.error_message}       text,
    {sync_status.updated_at}          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ({sync_status.ticker_id}, {sync_status.provider_id})
) WITH (fillfactor = 50);
COMMENT ON COLUMN {sync_status}.{sync_status.ticker_id} IS {ticker_id_comment}
