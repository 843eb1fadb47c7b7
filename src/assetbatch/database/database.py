"""The store as the rest of the program sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from assetbatch.config.tables import TableMappings
from assetbatch.config.urls import UrlNames
from assetbatch.database import coverage, migrations, placing, policies, reading, saving
from assetbatch.database.facts import DatabaseFacts, facts, missing_rights
from assetbatch.database.failures import ROW_REFUSED, UNTRANSLATABLE, DataError, LockedError
from assetbatch.database.names import Names
from assetbatch.database.session import LEFT_SECONDS, PARTS, Connection, Session, Target
from assetbatch.database.shape import Shape, shape
from assetbatch.domain.assets import Asset
from assetbatch.domain.models import AnsweredDay, Changes, IntervalState, Saved, StoredAsset

if TYPE_CHECKING:
    from datetime import date

    from assetbatch.database.adoption import Plan
    from assetbatch.database.initialisation import Initialised
    from assetbatch.database.members import PageTaken
    from assetbatch.database.splits import Learned
    from assetbatch.domain.assets import Rule
    from assetbatch.domain.bar_sizes import BarSize, DerivedSize
    from assetbatch.domain.exporting import Content, ExportSize, Piece
    from assetbatch.domain.listings import Listing
    from assetbatch.domain.rules import ListedTicker, Member, Walk
    from assetbatch.domain.splits import Days, KnownSplit, Listed, Split
    from assetbatch.domain.verification import Tally, Verified


SESSIONS = 3
"""Maximum number of connections: two that write beside each other, and one that reads meanwhile."""


class Store:
    """PostgreSQL with the owner's tables; a context manager. Threads that share it take turns; `load` and
    `save` alone do not wait for another thread's writing, unless `SESSIONS` threads are at it.

    Each method is one transaction. It is repeated after a deadlock or a lost connection as long as
    `within_seconds` are not over. The server ends a statement that takes longer than what is left of them. A
    failure raises DatabaseError: what, where and what to do, without the password. A server that is frozen,
    neither answering nor gone, is asked nothing more: each further method fails at once.
    """

    def __init__(self, sessions: Sequence[Session], mappings: TableMappings) -> None:
        """Prepare; the sessions beside the first connect when they are first wanted."""
        self._session = sessions[0]
        self._sessions = sessions
        self._mappings = mappings
        self._schema = migrations.SchemaState(takes_writes=True, has_calls=False)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        connect_seconds: float = 5.0,
        within_seconds: float = 20.0,
        lock_seconds: float = 5.0,
        check_schema: bool = True,
        seconds_left: Callable[[], float] | None = None,
        mappings: TableMappings | None = None,
        tickers: Callable[[], Mapping[str, str]] = dict,
        url_names: UrlNames = PARTS,
    ) -> Self:
        """Connect to a libpq URL and check the schema; `init` and `doctor` check it themselves.

        `seconds_left` is how long the command may still go on: no answer is waited for until its end.
        `mappings` is what is configured of the owner's tables; `tickers` gives the ticker of each symbol;
        `url_names` says where the URL is configured.

        Raise ConfigError for a URL that cannot be read, DatabaseError if the server cannot be used,
        SchemaMissingError if `init` has to run first.
        """
        target = Target(url, connect_seconds=connect_seconds, url_names=url_names)
        session = partial(
            Session,
            target,
            tickers=tickers,
            within_seconds=within_seconds,
            lock_seconds=lock_seconds,
            seconds_left=seconds_left or (lambda: within_seconds + LEFT_SECONDS),
        )
        store = cls([session() for _ in range(SESSIONS)], mappings or TableMappings())
        try:
            store._session.connect()
            if check_schema:
                store.check_schema()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the connections."""
        for session in self._sessions:
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check_schema(self) -> None:
        """Raise SchemaMissingError if `init` has to run first, DatabaseError if the schema is newer."""
        self._schema = self._session.run(
            "checking the schema", lambda connection, _: migrations.check(connection, self._mappings)
        )
        self._use(self._schema.names)

    def _use(self, names: Names) -> None:
        for session in self._sessions:
            session.use(names)

    def _idle(self) -> Session:
        """Return a session that no thread uses now, the first one if all are in use."""
        return next((session for session in self._sessions if not session.busy), self._session)

    def require_writes(self) -> None:
        """Raise DatabaseError if the server took no writes when the schema was checked.

        A call whose answer cannot be stored is wasted.
        """
        if not self._schema.takes_writes:
            raise self._session.read_only()

    def facts(self) -> DatabaseFacts:
        """Return the server's version, clock and what this role may not do."""
        return self._session.run("asking the server", lambda connection, _: facts(connection))

    def shape(self, symbols: Sequence[str], now_ms: int, of: str = "bars") -> Shape:
        """Return what a table of bars is like: its columns, and which moments around now have no
        partition."""
        return self._session.run(
            "looking at the tables", lambda connection, _: shape(connection, symbols, now_ms, of)
        )

    def locked_out(self, symbols: Iterable[str]) -> list[str]:
        """Return the symbols whose rows this role sees and may not update, by row level security.

        A row that another transaction holds is none of them.
        """
        asked = list(symbols)
        return self._session.run(
            "looking at row level security", lambda connection, _: policies.locked_out(connection, asked)
        )

    def forget_rejections(self) -> None:
        """Make everything due at once that the database has rejected: its columns may be others now. Ask once
        more after stocks that were delisted or renamed."""

        def work(connection: Connection, _: bool) -> None:
            connection.execute(connection.statements("sync.forget_rejections"))
            connection.execute(connection.statements("sync.doubt_endings"))
            connection.execute(connection.statements("coverage.forget_rejected"))

        self._session.run("forgetting what was refused", work)

    def plan(
        self,
        mappings: TableMappings,
        assets: Iterable[Asset],
        *,
        by_month: bool = False,
        tries: bool = True,
        derived: Collection[DerivedSize] | None = None,
    ) -> Plan:
        """Return what `init` would add, take as it is and refuse; nothing is changed.

        Without `derived`, the sizes of larger bars, nothing is said of their views.

        Without `tries` no row is inserted to learn what the tables say, and undone.
        """
        from assetbatch.database.initialisation import planned, with_views

        wanted = list(assets)

        def work(connection: Connection, _: bool) -> Plan:
            found = planned(connection, mappings, wanted, by_month=by_month, tries=tries)
            return found if derived is None else with_views(connection, found, wanted, derived)

        return self._session.run("looking at the tables", work)

    def initialise(
        self,
        mappings: TableMappings,
        assets: Iterable[Asset],
        *,
        by_month: bool = False,
        derived: Collection[DerivedSize] = (),
    ) -> Initialised:
        """Create or adopt the tables, and enter the provider and the assets that are missing.

        A table of bars that assetbatch has partitioned gets the partitions that it needs by now; `by_month`
        makes a new one so. Rows that exist keep their name and type. `derived` are the sizes of larger bars
        that have a view; a view of ours of any other size is dropped.

        All in one transaction. Raise SchemaRefusedError, with every reason and its remedy, if a platform's
        tables cannot be used, DatabaseError if they cannot be partitioned without being rewritten; nothing
        is changed then.
        """
        from assetbatch.database.initialisation import initialise

        wanted = list({asset.symbol: asset for asset in assets}.values())

        def run(is_plain: bool) -> Initialised:
            return self._session.run(
                "creating the tables",
                lambda connection, _: initialise(
                    connection, mappings, wanted, by_month=by_month, sizes=derived, is_plain=is_plain
                ),
            )

        try:
            done = run(is_plain=False)
        except DataError as error:
            if error.state != UNTRANSLATABLE:
                raise
            done = run(is_plain=True)
        if done.plan.names is not None:
            self._use(done.plan.names)
        return done

    def load(self, symbols: Iterable[str]) -> dict[str, StoredAsset]:
        """Return what is stored of each symbol, by one query; symbols that are not registered are absent."""
        asked = list(symbols)
        return self._idle().run(
            "reading what is stored", lambda connection, _: reading.load(connection, asked)
        )

    def save_listing(self, symbol: str, listing: Listing) -> None:
        """Keep what is known of the listing of a stock; nothing if its symbol is not registered."""
        import msgspec

        from assetbatch.database.text import storable

        text = msgspec.json.encode(listing).decode()

        def work(connection: Connection, _: bool) -> None:
            encoding = connection.info.parameter_status("server_encoding")
            arguments = {"symbol": symbol, "listing": storable(text, encoding)}
            connection.execute(connection.statements("sync.save_listing"), arguments)

        self._session.run("saving a listing", work)

    def ask_again(self, less: Mapping[str, int], sizes: Mapping[str, BarSize], now_ms: int) -> None:
        """Want once more what was answered of each symbol from a moment on, in bars of its size now and with
        all hours that it keeps now."""
        self._session.run(
            "asking for more bars", lambda connection, _: coverage.ask_again(connection, less, sizes, now_ms)
        )

    def gaps(self, ranges: Mapping[str, tuple[int, int]]) -> dict[str, list[tuple[int, int]]]:
        """Return the intervals `[start_ms, end_ms)` without stored bars within a range of each symbol,
        ascending.

        One query reads the bars of the ranges only. Symbols without gaps are absent.
        """
        return self._session.run("reading the gaps", lambda connection, _: reading.gaps(connection, ranges))

    def verified(self, symbols: Iterable[str]) -> dict[str, tuple[Verified, ...]]:
        """Return which stored bars of each symbol were compared with a later answer, ascending; symbols
        without any are absent. One query."""
        from assetbatch.database import verification

        asked = list(symbols)
        return self._session.run(
            "reading what was verified", lambda connection, _: verification.load(connection, asked)
        )

    def tallies(self, symbols: Iterable[str], now_ms: int) -> dict[str, Tally]:
        """Return what the comparisons of each symbol amount to; symbols without any are absent. One query."""
        from assetbatch.database import verification

        asked = list(symbols)
        return self._session.run(
            "reading what was verified",
            lambda connection, _: verification.tallies(connection, asked, now_ms),
        )

    def members(self, rules: Collection[str]) -> dict[str, list[Member]]:
        """Return the members of each rule, by its key, that are not gone. One query."""
        from assetbatch.database import members

        return self._idle().run("reading the members", lambda connection, _: members.load(connection, rules))

    def walks(self, rules: Collection[str]) -> dict[str, Walk]:
        """Return how far the members of each rule are looked up; a rule that never was is absent."""
        from assetbatch.database import members

        return self._session.run(
            "reading the walks", lambda connection, _: members.load_walks(connection, rules)
        )

    def market_days(self, market: str, since: date) -> list[AnsweredDay]:
        """Return which days of a whole market were answered since a day."""
        from assetbatch.database import days

        return self._session.run(
            "reading the days of a market",
            lambda connection, _: days.load_market_days(connection, market, since),
        )

    def take_page(
        self,
        rule: Rule,
        page: Sequence[ListedTicker],
        walk: Walk,
        owners: Mapping[str, str],
        mappings: TableMappings,
        derived: Collection[DerivedSize],
    ) -> PageTaken:
        """Register the members of a rule that a page of tickers brings, and record the `walk` as it is after
        it; a walk that is finished says which members are gone.

        `owners` are the tickers of the symbols that the configuration has. All in one transaction.
        """
        from assetbatch.database import members

        return self._session.run(
            "registering members",
            lambda connection, _: members.take_page(connection, rule, page, walk, owners, mappings, derived),
        )

    def closes(self, symbols: Iterable[str], points: int = 96) -> dict[str, list[tuple[int, float]]]:
        """Return (start of the bar in ms, close) of the newest day of stored bars of each symbol, ascending.

        One query; thinned to at most `points`. Symbols without bars are absent.
        """
        asked = list(symbols)
        return self._session.run(
            "reading closes", lambda connection, _: reading.closes(connection, asked, points)
        )

    def hourly_closes(self, symbols: Iterable[str]) -> dict[str, list[float]]:
        """Return the last close of each of the newest 24 hours that have bars, ascending.

        One query, cheap for thousands of symbols. Symbols without bars are absent.
        """
        asked = list(symbols)
        return self._session.run(
            "reading closes", lambda connection, _: reading.hourly_closes(connection, asked)
        )

    def recent_coverage(
        self, symbols: Iterable[str], since_ms: int
    ) -> dict[str, list[tuple[int, int, IntervalState]]]:
        """Return what is known of the bars since a moment, of each symbol of which anything is: start, end
        and state of each interval, ascending. One query."""
        asked = list(symbols)
        return self._session.run(
            "reading the coverage",
            lambda connection, _: reading.recent_coverage(connection, asked, since_ms),
        )

    def export_range(self, symbol: str, size: ExportSize, piece: Piece) -> tuple[int, int] | None:
        """Return the first and the last moment (ms) at which a bar is stored for an export of this range."""
        from assetbatch.database import exporting

        return self._session.run(
            "looking for bars", lambda connection, _: exporting.load_range(connection, symbol, size, piece)
        )

    def export_content(self, symbol: str, size: ExportSize, piece: Piece) -> Content:
        """Return what is stored for a piece of an export; to be asked before its bars are read."""
        from assetbatch.database import exporting

        return self._session.run(
            "comparing bars", lambda connection, _: exporting.load_content(connection, symbol, size, piece)
        )

    def export_bars(self, symbol: str, size: ExportSize, piece: Piece) -> bytes:
        """Return the bars of a piece as lines of CSV without a header, ascending: some megabytes."""
        from assetbatch.database import exporting

        return self._session.run(
            "reading bars", lambda connection, _: exporting.copy_bars(connection, symbol, size, piece)
        )

    def learn_splits(
        self,
        listed: Mapping[str, Listed],
        symbols: Collection[str],
        settled: Days | None,
        now_ms: int,
        *,
        asked: Mapping[str, str] | None = None,
    ) -> Learned:
        """Write what an answer changes of the splits of registered symbols.

        `listed` are its rows by symbol, `symbols` all that it was asked about, and `settled` the days of
        which it has every row. `asked` are the tickers of which it is the last answer for all times.
        """
        from assetbatch.database import splits

        def work(connection: Connection, _: bool) -> Learned:
            learned = splits.learn_answer(connection, listed, symbols, settled, now_ms)
            if asked:
                splits.record_asked(connection, asked)
            return learned

        return self._session.run("writing splits", work)

    def unasked_splits(self, tickers: Mapping[str, str]) -> list[str]:
        """Return the registered symbols, ascending, whose splits of all times were not asked for by the
        ticker that they have here."""
        from assetbatch.database import splits

        return self._session.run(
            "looking for splits", lambda connection, _: splits.find_unasked(connection, tickers)
        )

    def judge_splits(self, today: date) -> list[tuple[str, Split]]:
        """Compare applied splits with the bars around them, record it, and return those that do not fit and
        their symbols. `today` is a New York day."""
        from assetbatch.database import splits

        return self._session.run(
            "comparing splits with bars", lambda connection, _: splits.judge(connection, today)
        )

    def doubtful_splits(self, symbols: Iterable[str]) -> list[tuple[str, KnownSplit]]:
        """Return the splits that a person should look at, the newest first, and their symbols."""
        from assetbatch.database import splits

        asked = list(symbols)
        return self._session.run(
            "looking at splits", lambda connection, _: splits.find_doubtful(connection, asked)
        )

    def first_call(self, trust: Callable[[], object]) -> bool:
        """Record that calls are made from now on; return whether none ever was, after running `trust`.

        Another process that asks at the same time waits until `trust` has returned. Raise what it raises.
        """
        self.require_writes()

        def work(connection: Connection, _: bool) -> bool:
            is_first = (
                connection.execute(connection.statements("sync.record_first_call")).fetchone() is not None
            )
            if is_first:
                trust()
            return is_first

        is_first = self._session.run("recording the first call", work)
        self._schema = self._schema._replace(has_calls=True)
        return is_first

    def record_call(self) -> None:
        """Record that calls are made, before one is made; free where that has been seen."""
        if not self._schema.has_calls:
            self.first_call(lambda: None)

    def save(self, batch: Changes, now_ms: int) -> Saved:
        """Save prices, bars, coverage and outcomes in one transaction; after it returns they are committed.

        Where PostgreSQL refuses a value, the batch is saved in parts, each a transaction, so that it costs
        only its own symbol; `Saved.rejected` says what was rejected.

        `now_ms` is the present moment: when the outcomes were learned, and which bars may still change. An
        older price never overwrites a newer one. The same batch again changes nothing. A symbol that is not
        registered is reported, not stored. Metadata that is no JSON object is kept under the key `previous`
        of a new one.
        """
        session = self._idle()
        parts = _Parts(session, now_ms)
        try:
            return parts.save(batch)
        except DataError as error:
            if error.state == ROW_REFUSED and session.run("asking for rights", _lacks_rights):
                raise
            refusal: DataError | LockedError = error
        except LockedError as error:
            refusal = error
        if isinstance(refusal, LockedError) and session.run("looking at locks", _tables_are_locked):
            return parts.save(batch, within_seconds=parts.lock_seconds_left())
        from assetbatch.database.parts import save_in_parts

        return save_in_parts(parts, batch, refusal)


def _lacks_rights(connection: Connection, _: bool) -> bool:
    return bool(missing_rights(connection))


def _tables_are_locked(connection: Connection, _: bool) -> bool:
    return connection.execute(connection.statements("transactions.find_table_locks")).fetchone() == (True,)


LOCK_SECONDS_OF_BATCH = 2.0
"""Maximum time for which a batch waits for a row that another transaction holds, before it is saved in parts:
longer than PostgreSQL takes to notice a deadlock."""

LOCK_SECONDS_OF_PART = 0.1

SECONDS_AFTER_LOCKS = 0.5
"""Time of a batch's deadline that is kept for the last attempt at a part, and to record what is still held. A
statement that has hardly time for its lock ends by its own timeout, which fails the batch."""


class _Parts:
    """Saves parts of one batch, each in a transaction; all end within the deadline of one."""

    def __init__(self, session: Session, now_ms: int) -> None:
        self._session = session
        self._now_ms = now_ms
        self._deadline = session.deadline()
        self._locks_until = min(session.lock_deadline(), self._deadline - SECONDS_AFTER_LOCKS)
        self._lock_seconds = min(LOCK_SECONDS_OF_BATCH, self.lock_seconds_left())

    def place(self, of: str) -> str:
        """Return the name of a table of bars."""
        return self._session.names.table(of).place

    def waits(self) -> bool:
        """Return whether a row that is held is still waited for."""
        return self.lock_seconds_left() > 0

    def lock_seconds_left(self) -> float:
        """Return for how many seconds a lock may still be waited for."""
        return self._locks_until - time.monotonic()

    def save(
        self,
        batch: Changes,
        known: saving.Known = saving.NOTHING_KNOWN,
        *,
        within_seconds: float | None = None,
    ) -> Saved:
        """Save a part, with `within_seconds` for its locks.

        Raise DataError where a value is refused, LockedError where a row is held.
        """
        seconds = self._lock_seconds if within_seconds is None else within_seconds
        self._lock_seconds = LOCK_SECONDS_OF_PART

        def work(connection: Connection, in_doubt: bool) -> Saved:
            return saving.save(connection, batch, self._now_ms, in_doubt=in_doubt, known=known)

        return self._session.run("saving a batch", work, deadline=self._deadline, lock_seconds=seconds)

    def unplaced(self, symbol: str, starts_ms: Sequence[int], of: str) -> Sequence[int]:
        """Return those of the moments that no partition of a table of bars takes."""

        def work(connection: Connection, _: bool) -> list[int]:
            return placing.unplaced(connection, [symbol], starts_ms, of).get(symbol, [])

        return self._session.run("looking for partitions", work, deadline=self._deadline)

    def columns_of(self, constraint: str, of: str) -> Sequence[str]:
        """Return the columns that a constraint of a table of bars speaks of."""

        def work(connection: Connection, _: bool) -> list[str]:
            return placing.columns_of(connection, constraint, of)

        return self._session.run("looking at a constraint", work, deadline=self._deadline)
