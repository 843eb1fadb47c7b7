CREATE TABLE {partition} PARTITION OF {bars} FOR VALUES FROM ({starts}) TO ({ends});
