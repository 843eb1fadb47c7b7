COPY {bars} ({bars.symbol_id}, {bars.ts}, {bars.value_columns}{bars.constant_columns}) FROM STDIN (FORMAT text)
