ALTER TABLE {bars} ATTACH PARTITION {partition} FOR VALUES FROM ({starts}) TO ({ends});
