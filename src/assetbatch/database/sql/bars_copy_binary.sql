COPY assetbatch_bars FROM STDIN (FORMAT binary)
