"""Show a person who waits what happens."""

from __future__ import annotations

from collections.abc import Callable


class Progress:
    """Shows nothing; the one of a terminal takes its place.

    `when_begun` is called when a cycle has its lock and begins. A skipped start never calls it.
    """

    watched = False
    """Whether anybody looks: figures that cost a question to Redis are fetched only then."""

    def __init__(self, when_begun: Callable[[], None] = lambda: None) -> None:
        self.began = when_begun

    def say(self, text: str) -> None:
        """Show what happens right now."""

    def worked(self, done: int, left: int) -> None:
        """Show how many items of the queue are done, and how many are left."""
