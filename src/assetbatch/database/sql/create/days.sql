-- Bars of a day: a row for each day that a grouped or previous-day answer has brought. No foreign key on symbol_id, as for
-- the other bars.
CREATE TABLE {bars} (
    {bars.symbol_id} {symbol_id_type} NOT NULL,
    {bars.day}       date NOT NULL,
    {bars.open}      float8 NOT NULL,
    {bars.high}      float8 NOT NULL,
    {bars.low}       float8 NOT NULL,
    {bars.close}     float8 NOT NULL,
    {bars.volume}    float8,
    {bars.vwap}      float8,
    {bars.trades}    bigint,
    PRIMARY KEY ({bars.symbol_id}, {bars.day}),
    CONSTRAINT {checks}_prices_check CHECK (
        {bars.low} > 0 AND {bars.high} < 'Infinity'
        AND {bars.low} <= least({bars.open}, {bars.close}) AND {bars.high} >= greatest({bars.open}, {bars.close})
    ),
    CONSTRAINT {checks}_volume_check CHECK ({bars.volume} >= 0 AND {bars.volume} < 'Infinity'),
    CONSTRAINT {checks}_vwap_check CHECK ({bars.vwap} > 0 AND {bars.vwap} < 'Infinity'),
    CONSTRAINT {checks}_trades_check CHECK ({bars.trades} >= 0)
);
COMMENT ON TABLE {bars} IS {bars_comment}
