"""What one types: parse, build, call, render."""

from assetbatch.cli.app import main

__all__ = ["main"]
