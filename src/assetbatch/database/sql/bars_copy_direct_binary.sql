COPY {bars} ({bars.symbol_id}, {bars.ts}, {bars.value_columns}) FROM STDIN (FORMAT binary)
