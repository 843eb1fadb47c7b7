"""What a person who waits gets to see."""

from __future__ import annotations

from collections.abc import Callable


class Progress:
    """What a person who waits gets to see: nothing, unless a terminal's own takes its place.

    `when_begun` is called when a cycle has its lock and begins; a skipped start never does.
    """

    watched = False
    """Whether anybody looks: what costs a question is asked for only then."""

    def __init__(self, when_begun: Callable[[], None] = lambda: None) -> None:
        self.began = when_begun

    def say(self, text: str) -> None:
        """What is going on right now."""

    def worked(self, done: int, left: int) -> None:
        """So many items of the queue are done, and so many are left."""
