"""A failure over many starts: said when it begins, changes and ends, and once a day."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from assetbatch.cli.notices import (
    FORGET_MS,
    FORGET_NAMED_MS,
    MOST_KEPT,
    REMIND_MS,
    Kind,
    NoticeLog,
    Told,
    key_of,
    kind_of,
    places,
)
from assetbatch.cli.telling import mood_of, tell
from assetbatch.config import NotifyUrls
from assetbatch.config.notify_urls import NotifyUrl
from assetbatch.errors import (
    NOTICE,
    AssetbatchError,
    ConfigError,
    DatabaseError,
    DeadlineExceededError,
    KeyRefusedError,
    RedisError,
    SchemaMissingError,
    UnreachableError,
)
from assetbatch.files import replace_file

MINUTE = 60_000
NOON = 1_800_000_000_000
REDIS_DOWN = "redis cannot be reached: Error 111 connecting to localhost:6379"


class Starts:
    """Successive starts of one command, a minute apart; each tells what was said."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "said.json"
        self.now_ms = NOON

    def fail(self, error: AssetbatchError, after_ms: int = MINUTE) -> list[str]:
        memory = self._memory(after_ms)
        memory.failed(error)
        said = self._say(memory, logging.ERROR, [str(error)])
        said += memory.proved(error)
        memory.save()
        return said

    def succeed(
        self,
        works: set[Kind],
        *warnings: str,
        after_ms: int = MINUTE,
        well: Collection[str] = (),
        unasked: Collection[str] | None = (),
    ) -> list[str]:
        memory = self._memory(after_ms)
        said = self._say(memory, logging.WARNING, warnings)
        said += memory.resolved(works, well, unasked)
        memory.save()
        return said

    def _memory(self, after_ms: int) -> NoticeLog:
        self.now_ms += after_ms
        return NoticeLog([self.path], self.now_ms)

    def _say(self, memory: NoticeLog, level: int, lines: list[str] | tuple[str, ...]) -> list[str]:
        records = [logging.LogRecord("assetbatch", level, "", 0, line, None, None) for line in lines]
        for record in records if level == logging.WARNING else ():
            vars(record)["symbols"] = record.getMessage().split(":")[0].split(", ")
        return [record.getMessage() for record in records if memory.filter(record)]


@pytest.fixture
def starts(tmp_path: Path) -> Starts:
    return Starts(tmp_path)


ALL: set[Kind] = {"config", "redis", "start", "database", "api", "key", "calls", "queue", "warning"}


class TestAnError:
    def test_is_said_when_it_begins_and_when_it_ends(self, starts: Starts) -> None:
        error = RedisError(REDIS_DOWN)
        assert starts.fail(error) == [REDIS_DOWN]
        assert [starts.fail(error) for _ in range(60)] == [[]] * 60
        assert starts.succeed({"redis"}) == [f"over: {REDIS_DOWN} (61 times since 2027-01-15 08:01 UTC)"]
        assert starts.succeed({"redis"}) == []

    @pytest.mark.parametrize(
        ("said", "over"),
        [
            ("redis is down (hint: is it running (or was it moved)?)", "redis is down"),
            (
                "A: HTTP 500 (a dead letter now; hint: assetbatch dead list)",
                "A: HTTP 500 (a dead letter now)",
            ),
        ],
    )
    def test_is_over_without_its_hint(self, starts: Starts, said: str, over: str) -> None:
        starts.fail(RedisError(said))
        assert starts.succeed(ALL) == [f"over: {over} (1 time since 2027-01-15 08:01 UTC)"]

    def test_is_said_when_it_changes(self, starts: Starts) -> None:
        starts.fail(RedisError(REDIS_DOWN))
        assert starts.fail(DatabaseError("nothing listens there")) == [
            "nothing listens there",
            f"over: {REDIS_DOWN} (1 time since 2027-01-15 08:01 UTC)",
        ]
        assert starts.fail(RedisError(REDIS_DOWN)) == [REDIS_DOWN]

    def test_is_over_for_each_that_was_told(self, starts: Starts) -> None:
        for error in (ConfigError("no such key"), RedisError(REDIS_DOWN), RedisError("redis is full")):
            starts.fail(error)
        starts.fail(DeadlineExceededError("the command did not end within 60 s"))
        said = starts.succeed(ALL)
        assert [line.split(" (")[0] for line in said] == [
            f"over: {REDIS_DOWN}",
            "over: redis is full",
            "over: the command did not end within 60 s",
        ]

    def test_does_not_resolve_what_it_may_have_hidden(self, starts: Starts) -> None:
        starts.fail(UnreachableError("the provider answers 500"))
        starts.fail(KeyRefusedError("the provider refuses the API key"))
        said = starts.fail(UnreachableError("the provider answers 500"))
        assert said == ["the provider answers 500"]  # it was over: the provider has refused a key meanwhile
        assert starts.fail(RedisError(REDIS_DOWN)) == [REDIS_DOWN]
        assert starts.fail(DatabaseError("read-only"))[1].startswith("over: redis")
        said = starts.succeed(ALL)
        assert [line.split(" (")[0] for line in said] == [
            "over: the provider refuses the API key",
            "over: the provider answers 500",
            "over: read-only",
        ]

    def test_is_the_same_with_other_numbers(self, starts: Starts) -> None:
        starts.fail(UnreachableError("no answer within 10 s"))
        assert starts.fail(UnreachableError("no answer within 9 s")) == []

    def test_is_said_again_each_day(self, starts: Starts) -> None:
        starts.fail(RedisError(REDIS_DOWN))
        starts.fail(RedisError(REDIS_DOWN))
        assert starts.fail(RedisError(REDIS_DOWN), after_ms=REMIND_MS) == [REDIS_DOWN]
        assert starts.fail(RedisError(REDIS_DOWN)) == []

    def test_is_not_over_by_a_start_that_did_not_use_what_failed(self, starts: Starts) -> None:
        starts.fail(UnreachableError("the API cannot be reached"))
        assert starts.succeed({"redis", "start"}) == []
        assert starts.fail(UnreachableError("the API cannot be reached")) == []
        assert len(starts.succeed({"api"})) == 1

    def test_is_over_when_it_was_not_met_for_an_hour(self, starts: Starts) -> None:
        starts.fail(UnreachableError("the API cannot be reached"))
        assert starts.succeed(set(), after_ms=FORGET_MS) == []
        assert len(starts.succeed(set())) == 1


class TestAWarning:
    def test_is_said_once_and_over_when_a_start_has_not_met_it(self, starts: Starts) -> None:
        line = "XAUUSD: HTTP 500"
        assert starts.succeed(ALL, line) == [line]
        assert starts.succeed(ALL, line) == []
        assert starts.succeed(ALL, well=["XAUUSD"]) == [f"over: {line} (2 times since 2027-01-15 08:01 UTC)"]

    def test_twice_in_the_first_start_is_said_twice(self, starts: Starts) -> None:
        assert starts.succeed(ALL, "page 1 failed", "page 2 failed") == ["page 1 failed", "page 2 failed"]
        assert starts.succeed(ALL, "page 1 failed", "page 2 failed") == []

    def test_of_another_asset_is_new(self, starts: Starts) -> None:
        starts.succeed(ALL, "XAUUSD: HTTP 500")
        assert starts.succeed(ALL, "XAUUSD: HTTP 500", "EURUSD: HTTP 500") == ["EURUSD: HTTP 500"]

    def test_is_not_over_where_nothing_was_learned_of_its_asset(self, starts: Starts) -> None:
        starts.succeed(ALL, "XAUUSD: no data", "EURUSD: HTTP 500")
        said = starts.succeed(ALL, well=["EURUSD"], unasked=["XAUUSD"])
        assert [line.split(" (")[0] for line in said] == ["over: EURUSD: HTTP 500"]
        assert starts.succeed(ALL, unasked=["XAUUSD"], after_ms=2 * FORGET_MS) == []
        assert [line.split(" (")[0] for line in starts.succeed(ALL, well=["XAUUSD"])] == [
            "over: XAUUSD: no data"
        ]

    def test_about_several_assets_is_over_when_each_was_well_in_some_start(self, starts: Starts) -> None:
        starts.succeed(ALL, "XAUUSD, EURUSD: HTTP 500")
        assert starts.succeed(ALL, well=["EURUSD"], unasked=None) == []
        assert starts.succeed(ALL, unasked=None, after_ms=2 * FORGET_MS) == []
        assert len(starts.succeed(ALL, well=["XAUUSD"], unasked=None)) == 1

    def test_about_assets_of_the_queue_is_forgotten_after_a_day(self, starts: Starts) -> None:
        starts.succeed(ALL, "ETHUSD: HTTP 500")
        assert starts.succeed(ALL, unasked=None, after_ms=FORGET_NAMED_MS) == []
        assert len(starts.succeed(ALL, unasked=None)) == 1


class TestARecord:
    """What a line of the log may say of itself."""

    def record(self, text: str, **extra: object) -> logging.LogRecord:
        record = logging.LogRecord("assetbatch", logging.WARNING, "", 0, text, None, None)
        vars(record).update(extra)
        return record

    def test_of_a_failure_with_a_key_is_the_same_with_other_names(self, tmp_path: Path) -> None:
        notices = NoticeLog([tmp_path / "said.json"], NOON)
        assert notices.filter(self.record("A, B: HTML", key="HTML", symbols=["A", "B"]))
        notices.save()
        notices = NoticeLog([tmp_path / "said.json"], NOON + MINUTE)
        assert not notices.filter(self.record("C: HTML", key="HTML", symbols=["C"]))
        notices.save()
        notices = NoticeLog([tmp_path / "said.json"], NOON + 2 * MINUTE)
        assert notices.resolved(ALL, ["A", "B"], None) == []
        (said,) = notices.resolved(ALL, ["C"], None)
        assert said.startswith("over: A, B: HTML (2 times since")

    def test_of_a_death_is_told_each_time_and_over_once(self, tmp_path: Path) -> None:
        for at_ms in (NOON, NOON + MINUTE):
            notices = NoticeLog([tmp_path / "said.json"], at_ms)
            assert notices.filter(self.record("A: a dead letter now", symbols=["A"], is_new=True))
            notices.save()
        assert len(NoticeLog([tmp_path / "said.json"], NOON).resolved(ALL, ["A"], None)) == 1

    def test_of_an_event_is_told_and_never_over(self, tmp_path: Path) -> None:
        for at_ms in (NOON, NOON + MINUTE):
            notices = NoticeLog([tmp_path / "said.json"], at_ms)
            assert notices.filter(self.record("taken out of the queue: X", is_event=True))
            assert notices.resolved(ALL) == []
            notices.save()
        assert not (tmp_path / "said.json").exists()

    def test_of_a_start_that_died_is_told_unless_that_start_has_said_why(self, tmp_path: Path) -> None:
        died = self.record("a start died", kind="died", key="died", unless_said_since_ms=NOON)
        notices = NoticeLog([tmp_path / "said.json"], NOON)
        assert notices.filter(died)
        notices.filter(self.record("ETHUSD: HTTP 500"))
        assert notices.filter(died)
        notices.failed(RedisError(REDIS_DOWN))
        notices.filter(self.record(REDIS_DOWN))
        notices.save()
        notices = NoticeLog([tmp_path / "said.json"], NOON + MINUTE)
        assert not notices.filter(died)
        assert len(notices.resolved({"died"})) == 1
        later = self.record("a start died", kind="died", key="died", unless_said_since_ms=NOON + 5 * MINUTE)
        assert notices.filter(later)

    def test_of_a_start_that_died_is_kept_although_this_one_dies_too(self, tmp_path: Path) -> None:
        url = NotifyUrls.parse("ntfy://a")
        said = []
        for minute in range(3):
            notices = NoticeLog([tmp_path / "said.json"], NOON + minute * MINUTE)
            notices.urls = url
            died = self.record(f"the start of {minute} died", kind="died", key="died", at_once=True)
            said.append(notices.filter(died))
            notices.hand_over()  # as if it went on
        assert said == [True, False, False]
        notices = NoticeLog([tmp_path / "said.json"], NOON + 3 * MINUTE)
        waiting = notices.service(next(iter(url)).fingerprint)
        assert waiting is not None
        assert waiting.unsent == ["warning: the start of 0 died"]
        (over,) = notices.resolved({"died"})
        assert over.startswith("over: the start of 0 died (3 times since")

    def test_that_is_good_news_is_shown(self, tmp_path: Path) -> None:
        record = self.record("over")
        record.levelno = logging.WARNING - 1
        assert NoticeLog([tmp_path / "said.json"], NOON).filter(record)


class TestTheMemory:
    def test_leaves_no_file_where_nothing_is_wrong(self, starts: Starts) -> None:
        starts.fail(RedisError(REDIS_DOWN))
        assert starts.path.exists()
        starts.succeed(ALL)
        assert not starts.path.exists()

    @pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b"\xff\x00"])
    def test_begins_anew_from_a_broken_file(self, starts: Starts, content: bytes) -> None:
        starts.path.write_bytes(content)
        assert starts.fail(RedisError(REDIS_DOWN)) == [REDIS_DOWN]
        assert starts.fail(RedisError(REDIS_DOWN)) == []

    def test_says_everything_where_nothing_can_be_kept(self) -> None:
        for now_ms in (NOON, NOON + MINUTE):
            memory = NoticeLog([], now_ms)
            assert memory.record(REDIS_DOWN, "redis")
            memory.save()

    def test_lies_in_the_state_folder_else_in_a_private_temporary_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
        found = places("run-queue", "one")
        assert [path.parent for path in found] == [
            tmp_path / "state" / "assetbatch",
            tmp_path / f"assetbatch-{os.geteuid()}",
        ]
        assert places("run-queue", "two") != found
        (tmp_path / "state").write_text("no folder")
        self.keep(found)
        assert (found[0].exists(), found[1].exists()) == (False, True)
        assert found[1].parent.stat().st_mode & 0o077 == 0
        assert not NoticeLog(found, NOON).record("x", "warning")

    def test_is_not_kept_in_a_folder_that_somebody_has_laid_there(self, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (tmp_path / "mine").symlink_to(elsewhere)
        self.keep([tmp_path / "mine" / "said.json"])
        assert list(elsewhere.iterdir()) == []

    def test_is_the_one_that_was_saved_last_while_a_place_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Such as a home on a full or read-only disk."""
        places = [tmp_path / "home" / "said.json", tmp_path / "tmp" / "said.json"]

        def start(minute: int, *lines: str) -> list[str]:
            memory = NoticeLog(places, NOON + minute * MINUTE)
            said = [line for line in lines if memory.record(line, "warning")]
            said += memory.resolved(ALL)
            memory.save()
            return said

        def refuse(path: Path, *rest: object) -> None:
            if path.parent == places[0].parent:
                raise OSError(errno.EROFS, "read-only")
            replace_file(path, *rest)  # type: ignore[arg-type]

        assert start(0, "one") == ["one"]
        with monkeypatch.context() as patch:
            patch.setattr("assetbatch.cli.notices.replace_file", refuse)
            patch.setattr(Path, "unlink", lambda path, **_: refuse(path) if path == places[0] else None)
            assert [line[:9] for line in start(1, "two")] == ["two", "over: one"]
            assert start(2, "two") == []
            assert [line[:9] for line in start(3)] == ["over: two"]
            assert [start(4), start(5)] == [[], []]
        assert start(6) == []
        assert not any(place.exists() for place in places)

    def keep(self, paths: list[Path]) -> None:
        memory = NoticeLog(paths, NOON)
        memory.record("x", "warning")
        memory.save()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RedisError("x"), "redis"),
        (DatabaseError("x"), "database"),
        (SchemaMissingError("x"), "database"),
        (KeyRefusedError("x"), "key"),
        (UnreachableError("x"), "api"),
        (DeadlineExceededError("x"), "start"),
        (ConfigError("x"), "config"),
        (AssetbatchError("x"), "start"),
    ],
)
def test_an_error_shows_what_is_broken(error: AssetbatchError, kind: str) -> None:
    assert kind_of(error) == kind


def test_numbers_do_not_make_a_failure_another() -> None:
    assert key_of("retry in 12 s (3 of 5)") == key_of("retry in 7 s (4 of 5)")
    assert key_of("S01: HTTP 503") != key_of("S02: HTTP 503")


def test_a_number_that_a_symbol_is_made_of_is_a_name() -> None:
    assert key_of("BTC-1: HTTP 503", ["BTC-1"]) == key_of("BTC-1: HTTP 502", ["BTC-1"])
    assert key_of("BTC-1: HTTP 503", ["BTC-1"]) != key_of("BTC-2: HTTP 503", ["BTC-2"])


class TestAService:
    """Of `notify`, which is to get what is reported."""

    URLS = NotifyUrls.parse(["slack://a/b", "ntfy://c"])
    SLACK, NTFY = (url.fingerprint for url in URLS)

    def start(self, folder: Path, minute: int, *lines: str) -> NoticeLog:
        """A start that reports these lines."""
        notices = NoticeLog([folder / "said.json"], NOON + minute * MINUTE)
        notices.urls = self.URLS
        notices.told = [Told(logging.ERROR, line) for line in lines]
        notices.hand_over()
        return notices

    def unsent(self, notices: NoticeLog, fingerprint: str) -> list[str]:
        noted = notices.service(fingerprint)
        return noted.unsent if noted else []

    def test_that_got_nothing_is_reported_once_and_over_when_it_got_all(self, tmp_path: Path) -> None:
        first = self.start(tmp_path, 0, "one")
        assert first.missed(self.SLACK, "slack is down")
        assert first.missed(self.NTFY, "ntfy is down")
        first.save()
        second = self.start(tmp_path, 90, "two")
        assert second.resolved(ALL) == []  # nobody has proved that it is back, however long ago that was
        assert not second.missed(self.SLACK, "slack is down for another reason")
        assert self.unsent(second, self.SLACK) == ["error: one", "error: two"]
        assert second.arrived(self.NTFY) == "over: ntfy is down (1 time since 2027-01-15 08:00 UTC)"
        second.failed(RedisError(REDIS_DOWN))
        second.save()
        third = self.start(tmp_path, 91)
        assert third.service(self.NTFY) is None
        assert third.arrived(self.SLACK) == "over: slack is down (2 times since 2027-01-15 08:00 UTC)"
        assert not third.is_to_be_sent

    def test_gets_what_a_start_could_not_send_before_it_died(self, tmp_path: Path) -> None:
        self.start(tmp_path, 0, "one").save()
        later = self.start(tmp_path, 1)
        assert self.unsent(later, self.SLACK) == ["error: one"]
        assert later.arrived(self.SLACK) is None  # nothing was reported of it

    def test_gets_the_latest_lines_only(self, tmp_path: Path) -> None:
        notices = self.start(tmp_path, 0, *(f"line {n}" for n in range(2 * MOST_KEPT)))
        assert self.unsent(notices, self.SLACK)[0] == f"error: line {MOST_KEPT}"

    def test_that_is_not_configured_any_more_is_forgotten(self, tmp_path: Path) -> None:
        notices = self.start(tmp_path, 0, "one")
        notices.urls_read([self.NTFY])
        assert notices.service(self.SLACK) is None
        assert notices.service(self.NTFY) is not None
        notices.urls_read([])
        assert notices.service(self.NTFY) is None

    def test_whose_address_cannot_be_read_is_reported_once_and_gets_all_later(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        def start(minute: int, source: Callable[[], str], *lines: str) -> list[str]:
            notices = NoticeLog([tmp_path / "said.json"], NOON + minute * MINUTE)
            notices.urls = NotifyUrls(source)
            notices.told = [Told(logging.ERROR, line) for line in lines]
            notices.resolved(ALL)
            caplog.clear()
            if notices.is_to_be_sent:
                tell(notices, "run-queue")
            notices.save()
            return caplog.messages

        def fails() -> str:
            runs.append(1)
            raise ConfigError("env URLS_COMMAND: it fails")

        caplog.set_level(NOTICE, "assetbatch")
        runs: list[int] = []
        assert start(0, fails, "one") == ["notify: env URLS_COMMAND: it fails"]
        assert [start(minute, fails) for minute in range(1, 9)] == [[]] * 8
        assert len(runs) == 1  # nor does it cost each start the time of a command
        assert start(9, fails, "two") == []
        over, missed = start(10, lambda: "nosuch://a", "three")
        assert over == "over: notify: env URLS_COMMAND: it fails (2 times since 2027-01-15 08:00 UTC)"
        assert "notify: nosuch did not" in missed
        noted = NoticeLog([tmp_path / "said.json"], NOON).service(NotifyUrl("nosuch://a").fingerprint)
        assert noted is not None
        assert noted.unsent == ["error: one", "error: two", "error: three"]

    def test_gets_what_is_reported_and_nothing_else(self, tmp_path: Path) -> None:
        for _ in range(2):
            notices = NoticeLog([tmp_path / "said.json"], NOON)
            for level, text in (
                (logging.INFO, "done"),
                (NOTICE, "over: x"),
                (logging.ERROR, "redis  is down"),
            ):
                notices.filter(logging.LogRecord("assetbatch", level, "", 0, text, None, None))
            told, notices.told = notices.told, []
            notices.save()
        assert told == [Told(NOTICE, "over: x")]

    @pytest.mark.parametrize("urls", [None, NotifyUrls.parse("ntfy://a")])
    def test_counts_what_is_shown_all_the_same_only_where_there_is_one(
        self, tmp_path: Path, urls: NotifyUrls | None
    ) -> None:
        told = []
        for _ in range(2):
            notices = NoticeLog([tmp_path / "said.json"], NOON, shows_all=True)
            notices.urls = urls
            record = logging.LogRecord("assetbatch", logging.ERROR, "", 0, "redis is down", None, None)
            assert notices.filter(record)
            told.append(len(notices.told))
            notices.save()
        assert told == ([1, 0] if urls else [1, 1])


@pytest.mark.parametrize(
    ("levels", "mood"),
    [
        ([NOTICE, logging.ERROR, logging.WARNING], "failure"),
        ([NOTICE, logging.WARNING], "warning"),
        ([NOTICE], "success"),
        ([], "warning"),  # what was missed before
    ],
)
def test_the_worst_line_gives_a_message_its_mood(levels: list[int], mood: str) -> None:
    assert mood_of([Told(level, "x") for level in levels]) == mood
