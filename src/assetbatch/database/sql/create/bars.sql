-- No foreign key on symbol_id: checking it makes writing bars take 2.6 times as long, and bars are only ever written
-- for rows of symbols that are locked at that moment.
-- float8, since the provider's JSON numbers are doubles: what it sent is stored to the last digit.
-- Partitions, where asked for, are added after the migrations; TimescaleDB makes its own of an ordinary table.
CREATE TABLE {bars} (
    {bars.symbol_id} {symbol_id_type} NOT NULL,
    {bars.ts}        timestamptz NOT NULL,
    {bars.open}      float8 NOT NULL,
    {bars.high}      float8 NOT NULL,
    {bars.low}       float8 NOT NULL,
    {bars.close}     float8 NOT NULL,
    {bars.volume}    float8,
    {bars.vwap}      float8,
    {bars.trades}    bigint,
    PRIMARY KEY ({bars.symbol_id}, {bars.ts}),
    CONSTRAINT {checks}_prices_check CHECK (
        {bars.low} > 0 AND {bars.high} < 'Infinity'
        AND {bars.low} <= least({bars.open}, {bars.close}) AND {bars.high} >= greatest({bars.open}, {bars.close})
    ),
    CONSTRAINT {checks}_volume_check CHECK ({bars.volume} >= 0 AND {bars.volume} < 'Infinity'),
    CONSTRAINT {checks}_vwap_check CHECK ({bars.vwap} > 0 AND {bars.vwap} < 'Infinity'),
    CONSTRAINT {checks}_trades_check CHECK ({bars.trades} >= 0)
) {divided};
COMMENT ON TABLE {bars} IS {bars_comment}
