"""What is written in the background."""

from __future__ import annotations

import threading

import pytest

from assetbatch.errors import DatabaseError
from assetbatch.refresh.writer import BackgroundTask


class TestBackgroundTask:
    """What a thread does beside the caller."""

    def test_brings_what_the_work_returned(self) -> None:
        task = BackgroundTask()
        task.start(lambda: threading.current_thread() is threading.main_thread())
        assert task.is_busy
        assert task.collect() is False
        assert not task.is_busy

    def test_raises_what_the_work_raised(self) -> None:
        def fail() -> None:
            raise DatabaseError("no", hint="none")

        task = BackgroundTask()
        task.start(fail)
        with pytest.raises(DatabaseError, match="no"):
            task.collect()
        assert not task.is_busy

    def test_is_done_when_the_outcome_is_there_and_not_waited_for_any_longer_than_asked(self) -> None:
        task, go = BackgroundTask(), threading.Event()
        task.start(go.wait)
        assert not task.is_done
        with pytest.raises(TimeoutError):
            task.collect(0.01)
        assert task.is_busy
        go.set()
        assert task.collect() is True
