"""What a Redis can do to us: die and come back, be full, be a replica, refuse the login, be a cluster.

Each test starts servers of its own, on unix sockets in its own folder.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import resources

import pytest
import redis

from assetbatch.domain.asset_classes import Product
from assetbatch.domain.metrics import CALLS, QUEUE_SIZE, Measured, Point
from assetbatch.domain.models import Price, StoredAsset
from assetbatch.domain.queueing import CallKind, CallLimit, Denied, Empty, Enqueued, Failure, Lane
from assetbatch.domain.records import Command
from assetbatch.errors import RedisError
from assetbatch.secret import Secret
from assetbatch.state import failures, scripts
from assetbatch.state.clock import Clock, server_clock
from assetbatch.state.connection import RedisClient, Waiting, connect, redis_errors
from assetbatch.state.dead_processes import DeadProcesses
from assetbatch.state.entitlement_store import EntitlementStore
from assetbatch.state.events import Events
from assetbatch.state.keys import Keys
from assetbatch.state.locks import Locks
from assetbatch.state.metrics import Metrics
from assetbatch.state.process_id import new_id
from assetbatch.state.queue import Lease, Queue
from assetbatch.state.scripts import Script
from assetbatch.state.spare_calls import SpareCalls
from assetbatch.state.window import Grant, Window, WindowSettings
from tests.documented import shows
from tests.own_redis import OwnServer, own_server

from .conftest import FakeClock, process_of

__all__ = ["own_server"]

CRITICAL, HIGH, MEDIUM, LOW, *_ = Lane
LEASE_SECONDS = 60.0
PASSWORD = "made-up-password-123"
LUA = resources.files("assetbatch.state") / "lua"
SCRIPTS = sorted(
    file.name.removesuffix(".lua")
    for file in LUA.iterdir()
    if file.name.endswith(".lua") and not file.name.startswith("_")
)


def make_queue(client: RedisClient, clock: Clock = server_clock, max_size: int = 3) -> Queue:
    return Queue(
        client,
        Keys("{troubles}"),
        max_size=max_size,
        retry_max_attempts=3,
        retry_delay_seconds=60,
        clock_ms=clock,
    )


def make_window(client: RedisClient, clock: Clock = server_clock) -> Window:
    return Window(
        client, WindowSettings(Keys("{troubles}"), "abc", CallLimit(5, 60_000), 10.0), clock_ms=clock
    )


def take(queue: Queue, count: int = 1, window: Window | None = None, token: str | None = None) -> Lease:
    taken = queue.take(count, LEASE_SECONDS, window, token)
    assert isinstance(taken, Lease), taken
    return taken


class TestARedisThatIsKilledAndComesBackWithItsData:
    OPTIONS = ("--appendonly", "yes", "--appendfsync", "always")

    def test_the_queue_goes_on_where_it_was(
        self, own_server: Callable[..., OwnServer], clock: FakeClock
    ) -> None:
        server = own_server(*self.OPTIONS)
        queue = make_queue(server.client(), clock)
        queue.enqueue([("failed", HIGH), ("worked", MEDIUM), ("waiting", LOW)])
        failing = take(queue)
        queue.start(failing.token, ["failed"], LEASE_SECONDS)
        queue.fail(failing.token, [Failure("failed", "503")])
        lease = take(queue)
        before = queue.state()
        server.kill()
        with pytest.raises(RedisError, match="redis cannot be reached"):
            queue.state()
        server.start()
        assert queue.state() == before
        assert queue.finish(lease.token, ["worked"]) == ()
        assert queue.enqueue([("failed", HIGH)]).duplicates == ("failed",)
        clock.advance(60)
        assert [(item.id, item.attempts) for item in take(queue, 3).items] == [("failed", 1), ("waiting", 0)]

    def test_a_take_whose_reply_was_lost_with_the_server_is_the_same_take(
        self, own_server: Callable[..., OwnServer], clock: FakeClock
    ) -> None:
        server = own_server(*self.OPTIONS)
        queue = make_queue(server.client(), clock)
        queue.enqueue([("A", HIGH), ("B", HIGH)])
        first = queue.take(1, LEASE_SECONDS, token="t1")
        server.kill()
        server.start()
        assert queue.take(1, LEASE_SECONDS, token="t1") == first
        assert queue.state().leased == 1

    def test_the_window_still_knows_every_call(
        self, own_server: Callable[..., OwnServer], clock: FakeClock
    ) -> None:
        server = own_server(*self.OPTIONS)
        window = make_window(server.client(), clock)
        completed = window.ask(CallKind.PRIORITY)
        assert isinstance(completed, Grant)
        window.complete(completed)
        window.ask(CallKind.PRIORITY)  # its process dies with the server
        server.kill()
        server.start()
        answers = [window.ask(CallKind.PRIORITY) for _ in range(9)]
        assert sum(isinstance(answer, Grant) for answer in answers) <= 3
        clock.advance(60 + window.max_in_flight_ms / 1000 + 60)
        assert isinstance(window.ask(CallKind.PRIORITY), Grant)


class TestAScriptThatFails:
    """The message names file and line of our own source, and does not blame the server's version."""

    @pytest.mark.parametrize(
        ("name", "file"),
        [("queue_state", "queue_state.lua"), ("take", "_queue.lua"), ("grant", "_window.lua")],
    )
    def test_the_line_is_that_of_the_file(
        self, own_server: Callable[..., OwnServer], name: str, file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lines = scripts.script_lines(name)
        at = next(i for i, line in enumerate(lines) if line.file == file and not line.text.startswith("--"))
        broken = [
            line._replace(text=f"error('broken') {line.text}") if i == at else line
            for i, line in enumerate(lines)
        ]
        whole = scripts.script_lines
        for module in (scripts, failures):
            monkeypatch.setattr(
                module, "script_lines", lambda asked: broken if asked == name else whole(asked)
            )
        with pytest.raises(RedisError) as caught:
            Script(own_server().client(), name)([])
        assert caught.value.message == f"a script fails in redis, {file}:{lines[at].number}: broken"
        shows(caught.value.message, "a script fails in redis, …lua:…: …")
        assert "report" in (caught.value.hint or "")
        assert "redis 7" not in (caught.value.hint or "")

    def test_a_foreign_script_is_not_ours(self, own_server: Callable[..., OwnServer]) -> None:
        with pytest.raises(RedisError) as caught, redis_errors():
            own_server().client().eval("return nothing.at_all", 0)
        assert "lua:" not in caught.value.message


def test_a_server_that_is_busy_with_a_script_says_so(own_server: Callable[..., OwnServer]) -> None:
    server = own_server("--busy-reply-threshold", "10")
    worker = server.client()
    thread = threading.Thread(target=lambda: _ignore(lambda: worker.eval("while true do end", 0)))
    thread.start()
    client = server.client()
    try:
        error = _until_busy(client)
    finally:
        client.script_kill()
        thread.join()
    shows(error.message, "redis is busy with a script that has run for too long")
    assert "SCRIPT KILL" in (error.hint or "")


def _ignore(work: Callable[[], object]) -> None:
    with suppress(redis.exceptions.RedisError):
        work()


def _until_busy(client: RedisClient) -> RedisError:
    for _ in range(500):
        try:
            with redis_errors():
                client.get("a")
        except RedisError as error:
            return error
    raise AssertionError("the server was never busy")


def _three(queue: Queue, _: Window) -> None:
    queue.enqueue([("A", LOW), ("B", LOW), ("C", LOW)])


def _two(queue: Queue, _: Window) -> None:
    queue.enqueue([("A", LOW), ("B", LOW)])


def _one_leased(queue: Queue, window: Window) -> None:
    _three(queue, window)
    queue.take(1, LEASE_SECONDS, token="t1")


def _one_dead(queue: Queue, _: Window) -> None:
    queue.enqueue([("Z", LOW)])
    queue.fail(take(queue).token, [Failure("Z", "no", final=True)])


Scene = Callable[[Queue, Window], object]


class TestAFullRedis:
    """Maxmemory is reached and nothing may be evicted.

    Redis then refuses commands that could grow memory, but not inside a script that has already written:
    each script therefore does all or nothing, and those that free memory begin with a removal.
    """

    def full(self, server: OwnServer, clock: FakeClock, prepare: Scene) -> tuple[RedisClient, Queue, Window]:
        client = server.client()
        queue, window = make_queue(client, clock), make_window(client, clock)
        prepare(queue, window)
        client.config_set("maxmemory", 1)
        return client, queue, window

    def stored(self, client: RedisClient) -> dict[str, object]:
        return {name: _content(client, name) for name in client.scan_iter()}

    @pytest.mark.parametrize(
        ("prepare", "act"),
        [
            pytest.param(_two, lambda queue, _: queue.enqueue([("D", LOW)]), id="enqueue"),
            pytest.param(
                _two, lambda queue, _: queue.enqueue([("D", HIGH), ("A", HIGH)]), id="enqueue and raise"
            ),
            pytest.param(
                _three, lambda queue, window: queue.take(1, LEASE_SECONDS, window), id="take with a slot"
            ),
            pytest.param(_one_dead, lambda queue, _: queue.retry_dead(["Z"]), id="retry a dead letter"),
            pytest.param(_two, lambda _, window: window.ask(CallKind.PRIORITY), id="ask"),
            pytest.param(_two, lambda _, window: window.block(5), id="block"),
            pytest.param(_two, lambda _, window: window.reserve(1, 2, 3), id="reserve"),
            pytest.param(_two, lambda _, window: window.complete(Grant("c1", 0.0)), id="complete"),
        ],
    )
    def test_says_so_and_nothing_is_half_done(
        self, own_server: Callable[..., OwnServer], clock: FakeClock, prepare: Scene, act: Scene
    ) -> None:
        client, queue, window = self.full(own_server(), clock, prepare)
        before = self.stored(client)
        with pytest.raises(RedisError, match="redis is full"):
            act(queue, window)
        assert self.stored(client) == before

    def test_what_is_being_worked_can_be_finished(
        self, own_server: Callable[..., OwnServer], clock: FakeClock
    ) -> None:
        _, queue, _ = self.full(own_server(), clock, _one_leased)
        assert queue.finish("t1", ["A"]) == ()
        assert (queue.state().size, queue.state().leased) == (2, 0)

    def test_what_is_being_worked_can_be_handed_back(
        self, own_server: Callable[..., OwnServer], clock: FakeClock
    ) -> None:
        _, queue, _ = self.full(own_server(), clock, _one_leased)
        assert queue.release("t1", ["A"]) == 1
        assert (queue.peek(9), queue.state().leased) == (["A", "B", "C"], 0)

    @pytest.mark.parametrize(("final", "word"), [(False, "retry"), (True, "dead")])
    def test_a_failure_is_recorded(
        self, own_server: Callable[..., OwnServer], clock: FakeClock, final: bool, word: str
    ) -> None:
        _, queue, _ = self.full(own_server(), clock, _one_leased)
        assert queue.fail("t1", [Failure("A", "503", final)]) == (word,)
        state = queue.state()
        assert (state.leased, state.delayed, state.dead) == (0, int(not final), int(final))

    def test_dead_letters_can_be_dropped(
        self, own_server: Callable[..., OwnServer], clock: FakeClock
    ) -> None:
        _, queue, _ = self.full(own_server(), clock, _one_dead)
        assert queue.drop_dead(["Z"]) == ("Z",)
        assert queue.dead_letters() == []

    def test_more_urgent_work_still_takes_the_place_of_the_last_in_line(
        self, own_server: Callable[..., OwnServer], clock: FakeClock
    ) -> None:
        _, queue, _ = self.full(own_server(), clock, _three)
        assert queue.enqueue([("D", HIGH)]) == Enqueued(("D",), (), (), ("C",))
        assert (queue.peek(9), queue.state().size) == (["D", "A", "B"], 3)


def _content(client: RedisClient, name: str) -> object:
    match client.type(name):
        case "zset":
            return client.zrange(name, 0, -1, withscores=True)
        case "hash":
            return client.hgetall(name)
        case _ if ":reply:" in name:
            return "a reply"
        case _:
            return client.get(name)


class TestAReplicaThatOnlyReads:
    @pytest.mark.parametrize(
        "act",
        [
            pytest.param(lambda queue, _: queue.enqueue([("D", LOW)]), id="enqueue"),
            pytest.param(lambda queue, _: queue.take(1, LEASE_SECONDS), id="take"),
            pytest.param(lambda queue, window: queue.take(1, LEASE_SECONDS, window), id="take with a slot"),
            pytest.param(lambda queue, _: queue.finish("t1", ["A"]), id="finish"),
            pytest.param(lambda queue, _: queue.fail("t1", [Failure("A", "503")]), id="fail"),
            pytest.param(lambda queue, _: queue.release("t1", ["A"]), id="release"),
            pytest.param(lambda queue, _: queue.start("t1", ["A"], LEASE_SECONDS), id="start"),
            pytest.param(lambda queue, _: queue.retry_dead(["Z"]), id="retry a dead letter"),
            pytest.param(lambda queue, _: queue.drop_dead(["Z"]), id="drop a dead letter"),
            pytest.param(lambda _, window: window.ask(CallKind.PRIORITY), id="ask"),
            pytest.param(lambda _, window: window.complete(Grant("c1", 0.0)), id="complete"),
            pytest.param(lambda _, window: window.block(5), id="block"),
            pytest.param(lambda _, window: window.reserve(1, 2, 3), id="reserve"),
        ],
    )
    def test_is_named_and_takes_nothing(
        self, own_server: Callable[..., OwnServer], clock: FakeClock, act: Scene
    ) -> None:
        client = own_server().client()
        queue, window = make_queue(client, clock, max_size=4), make_window(client, clock)
        _one_dead(queue, window)
        _one_leased(queue, window)
        before = queue.state()
        client.replicaof("127.0.0.1", "1")  # nobody listens there: what it has it keeps
        with pytest.raises(RedisError, match="redis is a read-only replica") as caught:
            act(queue, window)
        assert "master" in str(caught.value)
        assert queue.state() == before


class TestALoginThatIsNotGood:
    @pytest.mark.parametrize("login", ["", ":wrong-" + PASSWORD, "nobody:" + PASSWORD])
    def test_is_refused_in_words_that_do_not_hold_the_password(
        self, own_server: Callable[..., OwnServer], login: str
    ) -> None:
        server = own_server("--requirepass", PASSWORD)
        with pytest.raises(RedisError, match="redis refuses the login") as caught:
            make_queue(server.client(login)).state()
        assert caught.value.is_login_refused
        assert "REDIS_URL" in str(caught.value)
        assert PASSWORD not in f"{caught.value!r} {caught.value}"

    @pytest.mark.parametrize(
        "rights",
        [
            pytest.param(("~*", "+@all", "-@scripting"), id="no scripts"),
            pytest.param(("~other:*", "+@all"), id="other keys"),
            pytest.param(("~*", "+@all", "-@sortedset"), id="not every command"),
        ],
    )
    def test_rights_that_are_missing_are_named_and_nothing_is_done(
        self, own_server: Callable[..., OwnServer], rights: tuple[str, ...]
    ) -> None:
        server = own_server()
        owner = server.client()
        owner.execute_command("ACL", "SETUSER", "limited", "on", f">{PASSWORD}", *rights)
        with pytest.raises(RedisError, match=r"redis (denies a command|refuses)") as caught:
            make_queue(server.client(f"limited:{PASSWORD}")).take(1, LEASE_SECONDS)
        assert PASSWORD not in f"{caught.value!r} {caught.value}"
        assert owner.dbsize() == 0

    def test_what_a_pipeline_meets_is_said_without_the_librarys_words_and_our_keys(
        self, own_server: Callable[..., OwnServer]
    ) -> None:
        server = own_server()
        server.client().execute_command(
            "ACL", "SETUSER", "limited", "on", f">{PASSWORD}", "~*", "+@all", "-hvals"
        )
        with pytest.raises(RedisError, match=r"^redis denies a command: [^:]*'hvals' command") as caught:
            EntitlementStore(
                server.client(f"limited:{PASSWORD}"), Keys("{troubles}"), {Product.CURRENCIES: "abc"}
            ).load()
        assert "pipeline" not in caught.value.message


def use_every_script(client: RedisClient) -> None:
    """Through the front doors, so that each script reads and writes all it ever does."""
    clock = FakeClock(1_800_000_000_000)
    queue, window = make_queue(client, clock), make_window(client, clock)
    window.reserve(clock() + 600_000, 1, 300_000)
    work_a_queue(queue, window, clock)
    clock.advance(60)
    assert queue.begin_run(window, 1.0)[1] > 0
    assert SpareCalls(client, Keys("{troubles}"), window, clock_ms=clock).take()
    free_the_dead(client, queue, window, clock)
    use_a_window(client, window, clock)
    with Locks(client, Keys("{troubles}"), clock).hold("run_queue", 60) as held:
        assert held
    points = tuple(Point(metric, clock(), 1, "max") for metric in (CALLS, QUEUE_SIZE, CALLS))
    Metrics(client, Keys("{troubles}")).record(Measured({"calls|ok": 1}, points))
    events = Events(client, "{troubles}", 10)
    events.publish([Price(symbol="A", last_price=1.0, as_of_ms=clock())])
    newer = StoredAsset(symbol="A", last_price=2.0, as_of_ms=clock() + 1)
    assert [price.last_price for price in events.publish_missed([newer])] == [2.0]
    assert events.publish_missed([newer]) == []


def work_a_queue(queue: Queue, window: Window, clock: FakeClock) -> None:
    queue.enqueue([("A", LOW), ("B", LOW), ("C", MEDIUM)])
    queue.enqueue([("A", HIGH), ("D", CRITICAL)])  # raises one, displaces another
    lease = take(queue, 3, window)
    again = queue.take(3, LEASE_SECONDS, window, token=lease.token)
    assert isinstance(again, Lease)
    assert again.items == lease.items
    assert queue.start(lease.token, ["D", "A", "C"], LEASE_SECONDS) == ()
    assert queue.dead_letters() == []
    assert queue.finish(lease.token, ["D"]) == ()
    assert queue.fail(lease.token, [Failure("A", "503"), Failure("C", "no", final=True)]) == ("retry", "dead")
    assert queue.retry_dead(["C"]).retried == ("C",)
    assert queue.fail(take(queue).token, [Failure("C", "no", final=True)]) == ("dead",)
    assert queue.drop_dead(["C"]) == ("C",)
    clock.advance(60)
    lease = take(queue)  # of a retry that is due
    assert queue.release(lease.token, ["A"]) == 1
    queue.start(take(queue).token, ["A"], LEASE_SECONDS)
    clock.advance(LEASE_SECONDS)
    assert isinstance(queue.take(1, LEASE_SECONDS), Empty)  # the lease ran out
    assert queue.state().delayed == 1
    assert [item.id for item in queue.items()][-1] == "A"
    assert queue.cancel(["A"]).cancelled == ("A",)
    with queue.derived():
        pass


def free_the_dead(client: RedisClient, queue: Queue, window: Window, clock: FakeClock) -> None:
    queue.enqueue([("H", Lane.HIGH)])
    host, machine, pid, began = process_of(new_id()).split(".")
    take(queue, token=f"{host}.{machine}.{pid}.{int(began) - 1}.d.0123456789abcdef")
    keys = Keys("{troubles}")
    dead = DeadProcesses(client, keys, keys.window("abc"), tuple(Command), queue.retry, clock)
    assert dead.free()


def use_a_window(client: RedisClient, window: Window, clock: FakeClock) -> None:
    grants = [window.ask(kind, f"c{number}") for number, kind in enumerate([*CallKind] * 4)]
    first = next(grant for grant in grants if isinstance(grant, Grant))
    assert window.extend(first, CallKind.QUEUE, 5)
    window.complete(first)
    window.cancel(first)
    assert isinstance(grants[-1], Denied)
    window.abandon_wait("c7")
    window.block(1)
    client.zadd("{troubles}:own:window:abc", {"former": clock()})
    keys = Keys("{troubles}:own", "{troubles}")
    other = Window(client, WindowSettings(keys, "abc", CallLimit(5, 60_000), 10.0), clock_ms=clock)
    assert isinstance(other.ask(CallKind.QUEUE), Denied)
    assert window.state().remaining == 0


class TestACluster:
    OPTIONS = ("--cluster-enabled", "yes")

    def test_runs_every_script(self, own_server: Callable[..., OwnServer]) -> None:
        client = own_server(*self.OPTIONS).client()
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        deadline = time.monotonic() + 10
        while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        use_every_script(client)
        slots = {client.execute_command("CLUSTER", "KEYSLOT", name) for name in client.scan_iter()}
        assert len(slots) == 1

    def test_would_allow_them_for_they_touch_only_the_keys_they_declare(
        self, own_server: Callable[..., OwnServer]
    ) -> None:
        """A cluster of one node does not notice an undeclared key; MONITOR shows what scripts call."""
        server = own_server()
        client, sha_of = server.client(), {}
        for name in SCRIPTS:
            sha_of[Script(client, name).sha] = name
        declared: set[str] = set()
        used: set[str] = set()
        calls = 0
        with server.client().monitor() as monitor:
            use_every_script(client)
            client.echo("the end")
            for entry in monitor.listen():
                words = entry["command"].split()
                command = words[0].upper()
                if command == "ECHO":
                    break
                if command == "EVALSHA":
                    declared = set(words[3 : 3 + int(words[2])])
                    used.add(sha_of[words[1]])
                elif entry["client_type"] == "lua" and command not in ("TIME", "INFO", "PUBLISH"):
                    calls += 1
                    assert words[1] in declared, entry["command"]
        assert used == set(SCRIPTS)
        assert calls > 100


@pytest.mark.parametrize("name", sorted(file.name for file in LUA.iterdir() if file.name.endswith(".lua")))
def test_no_key_is_built_inside_a_script(name: str) -> None:
    """A key is a name that stands for an entry of KEYS, nowhere a text and nowhere put together. A channel is
    no key."""
    code = re.sub(r"--.*|redis\.call\('(TIME|INFO|PUBLISH)'", "", (LUA / name).read_text(encoding="utf-8"))
    keys = re.findall(r"redis\.call\('\w+', ([^,)]+)", code)
    assert len(keys) == code.count("redis.")
    for key in keys:
        assert re.fullmatch(r"KEYS\[\w+\]|[qw]\.\w+|q\.waiting\[[\w.]+\]|\w*key", key), key
        if re.fullmatch(r"w\.\w+|\w*key", key):
            defined = f"local {key} = " if "." not in key else rf"(?<!local )\b{key[2:]} = "
            for value in re.findall(defined + r"([^,\n}]+)", code):
                assert re.fullmatch(r"(KEYS|keys)\[[\w +]+\]", value.strip()), (key, value)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "unix:///nowhere/a%20b.sock"])
def test_a_server_that_does_not_run_is_told_in_our_own_words(url: str) -> None:
    with pytest.raises(redis.exceptions.ConnectionError) as raised:
        redis.from_url(url).ping()
    place = "127.0.0.1:1" if "127" in url else "/nowhere/a b.sock"
    expected = f"redis cannot be reached: connecting to {place}: nothing listens there"
    assert failures.translated(raised.value).message == expected


@pytest.mark.parametrize(("given", "seconds"), [("60", 2.0), ("0.5", 0.5)])
def test_a_url_may_only_shorten_what_a_command_waits_for(
    own_server: Callable[..., OwnServer], given: str, seconds: float
) -> None:
    server = own_server()
    url = Secret(f"unix://{server.socket}?socket_timeout={given}&socket_connect_timeout={given}")
    client = connect(url, waiting=Waiting(answer_seconds=2.0))
    options = client.connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (seconds, seconds)
    assert client.ping()
    client.close()
