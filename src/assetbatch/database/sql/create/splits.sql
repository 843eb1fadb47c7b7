-- Splits of stocks, as the provider lists them. No foreign key on symbol_id, as for the bars.
CREATE TABLE {splits} (
    {splits.symbol_id}      {symbol_id_type} NOT NULL,
    {splits.execution_date} date NOT NULL CHECK (isfinite({splits.execution_date})),
    {splits.split_from}     float8 NOT NULL CHECK ({splits.split_from} > 0 AND {splits.split_from} < 'Infinity'),
    {splits.split_to}       float8 NOT NULL CHECK ({splits.split_to} > 0 AND {splits.split_to} < 'Infinity'),
    {splits.kind}           text NOT NULL,
    {splits.state}          text NOT NULL CHECK ({splits.state} IN ('applied', 'conflict', 'withdrawn')),
    {splits.learned_at}     timestamptz NOT NULL DEFAULT now(),
    {splits.fits}           boolean,
    PRIMARY KEY ({splits.symbol_id}, {splits.execution_date})
);
COMMENT ON TABLE {splits} IS 'Splits of stocks. Bars are stored as they were traded; the adjusted views apply the splits.'
