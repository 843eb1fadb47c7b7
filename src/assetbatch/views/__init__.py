"""Renderings of the health document."""
