"""The Massive (formerly Polygon.io) REST API: transport, client, answers, refusals, planning of calls."""
