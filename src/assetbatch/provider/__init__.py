"""The client of the Massive (formerly Polygon.io) REST API: transport, decoding, prices, bars, refusals."""
