"""Slots of the call window for other programs that use the same API key."""
