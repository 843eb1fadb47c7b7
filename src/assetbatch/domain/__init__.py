"""Decisions and values of the trade: pure, with the time as an argument."""
