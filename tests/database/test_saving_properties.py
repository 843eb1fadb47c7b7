"""Only truth is stored: whatever answers come, however late, odd, repeated or cut, from decoder to table.

The answers are those of a provider whose truth is known (`model_provider`), as bytes; they go through the
decoder, the rule that keeps forming bars out, and the store of one of two writers. An answer is saved
within `LATE_MS` after it was asked. The provider's correction of a bar cannot be told from what was there
before it by its values: nothing that was asked before a correction is saved after it here.

How to read this: hypothesis makes up a `Story`, which is what the vendor has and the steps `Ask` and
`Correct`. `Play.play` plays it with a real database and two writers, and yields a `Moment` after each
saving: which answers were saved, and the rows before and after. Each property is a loop over the moments
that keeps a small model (the newest version heard of each bar, say) and compares it with the rows.
`batch_of` is the way of an answer through the program: decode, interpret, collect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assetbatch.database import Store
from assetbatch.database.last_update import document
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset
from assetbatch.domain.calls import BarsCall, SnapshotCall
from assetbatch.domain.entitlements import Entitlements
from assetbatch.domain.models import (
    BAR_MS,
    Bar,
    Changes,
    CoveredInterval,
    IntervalState,
    Price,
    Saved,
    StoredAsset,
)
from assetbatch.domain.work import Work, WorkKind
from assetbatch.provider.bars import decode_bars
from assetbatch.provider.prices import decode_snapshot
from assetbatch.provider.refusals import Refusal
from assetbatch.refresh.batch import Batch, WorkChunk
from assetbatch.refresh.endpoints.bars import bars_findings
from assetbatch.refresh.endpoints.prices import prices_findings
from assetbatch.refresh.policy import PRIORITY, QUEUE
from tests.conftest import examples

from .conftest import Sql
from .model_provider import (
    CHANGES,
    FAULTY,
    HARMLESS,
    LAG_MS,
    LATE_MS,
    LIES,
    NEVER_MS,
    ODDITIES,
    PART_FAULTS,
    QUOTE_MS,
    QUOTES,
    SERIES,
    SLOT,
    SLOTS,
    WHOLE_FAULTS,
    Answer,
    Oddity,
    PricesAnswer,
    PricesStep,
    Provider,
    Quotes,
    Version,
    moment_of,
    prices_answer,
    prices_steps,
    replaced,
    settled_ms,
    start_of,
)

EURUSD = Asset(symbol="EURUSD", polygon_ticker="C:EURUSD", asset_type=AssetType.FOREX)
BTCUSD = Asset(symbol="BTCUSD", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)
ALL = range(SLOTS)
NOW_MS = moment_of(CHANGES)


class Row(NamedTuple):
    """A stored bar, and where and by which transaction it was written."""

    bar: Bar
    place: str
    writer: str


Rows = dict[int, Row]

CUTS_APART = 5
"""Bytes between two cuts of an answer; `tests/provider/test_recorded.py` cuts recorded ones at every byte."""
CUT = st.integers(0, CUTS_APART - 1)
"""The first cut."""


# --- what hypothesis makes up: a series of quotes, and what the writers do while it goes on ---


class Ask(NamedTuple):
    """After a while a writer asks for some bars, and saves the answer so many steps later.

    The provider lags, as far as it may, so that it shows so many quotes of the first of the bars.
    """

    wait_ms: int
    writer: int
    slots: range
    quotes: int
    oddities: Sequence[Oddity]
    steps_later: int


class Correct(NamedTuple):
    """As soon as a bar has settled the provider corrects it."""

    slot: int
    quotes: Quotes


Step = Ask | Correct


class Story(NamedTuple):
    series: Sequence[Quotes]
    age_ms: int
    """How long ago the first bar has begun when the story begins."""
    steps: Sequence[Step]


SLOT_RANGES = st.one_of(st.just(ALL), st.tuples(SLOT, SLOT).map(lambda ends: range(min(ends), max(ends) + 1)))


def stories(
    oddities: st.SearchStrategy[Oddity] = ODDITIES, slots: st.SearchStrategy[range] = SLOT_RANGES
) -> st.SearchStrategy[Story]:
    ask = st.builds(
        Ask,
        st.sampled_from([0, 0, QUOTE_MS, BAR_MS]),
        st.integers(0, 1),
        slots,
        st.integers(1, 4),
        st.just([]) | st.lists(oddities, min_size=1, max_size=2),
        st.integers(0, 3),
    )
    forming = st.lists(ask, min_size=3, max_size=6)
    settled = st.lists(st.builds(Correct, SLOT, QUOTES) | ask, max_size=4)
    steps = st.tuples(forming, settled).map(lambda chapters: [*chapters[0], *chapters[1]])
    age_ms = st.sampled_from([BAR_MS, LAG_MS, LAG_MS + 2 * QUOTE_MS])
    return st.builds(Story, SERIES, age_ms, steps)


def all_but_the_first(values: dict[str, object]) -> Story:
    """One answer with all bars, the first of them with these values."""
    return with_one_of_no_use(0, values)


def with_one_of_no_use(slot: int, values: dict[str, object]) -> Story:
    """One answer with all bars, one of them with these values."""
    ask = Ask(0, 0, ALL, 4, [Oddity("useless", slot, replaced(**values))], 0)
    return Story([[(1.0, 1.0)]] * SLOTS, SLOTS * BAR_MS, [ask])


# --- how a story is played ---


class Moment(NamedTuple):
    """Some answers were saved: by one writer, or each by one of two at the same time."""

    answers: Sequence[Answer]
    before: Rows
    after: Rows


class Waiting(NamedTuple):
    """An answer that its writer will save after a step of the story."""

    answer: Answer
    writer: int
    step: int


class Play:
    """Plays stories with a provider and two writers, each story into empty tables."""

    def __init__(self, stores: tuple[Store, Store], sql: Sql, pool: ThreadPoolExecutor) -> None:
        self._stores = stores
        self._sql = sql
        self._pool = pool
        self.begin((), 0)

    def begin(self, series: Sequence[Quotes], age_ms: int) -> None:
        self._sql(
            "TRUNCATE market_data.ohlcv_5m, data_sources.assetbatch_spans, data_sources.assetbatch_answers"
        )
        self.provider = Provider(series)
        self.now_ms = start_of(0) + age_ms
        self._waiting: list[Waiting] = []
        self._savable: list[Answer] = []

    def play(self, story: Story) -> Iterator[Moment]:
        """Each saving of a story, as it happens: nothing waits for longer than `LATE_MS`."""
        self.begin(story.series, story.age_ms)
        for number, step in enumerate(story.steps):
            match step:
                case Ask(wait_ms, writer, slots, quotes, oddities, steps_later):
                    yield from self.pass_to(self.now_ms + wait_ms)
                    lag_ms = self.now_ms - (start_of(slots.start) + (quotes - 1) * QUOTE_MS)
                    lag_ms = min(max(0, lag_ms), LAG_MS)
                    answer = self.provider.answer(self.now_ms, slots, lag_ms, oddities)
                    self._waiting.append(Waiting(answer, writer, number + steps_later))
                case Correct(slot, quotes):
                    yield from self.pass_to(settled_ms(slot))
                    yield from self._save(self._waiting)
                    self.provider.correct(slot, quotes)
                    self._savable = []
            yield from self._save([waiting for waiting in self._waiting if waiting.step <= number])
        yield from self.pass_to(max(self.now_ms, settled_ms(SLOTS - 1)) + LATE_MS)

    def pass_to(self, moment_ms: int) -> Iterator[Moment]:
        """Let the time pass; what waits is saved when it must be."""
        while self._waiting and (last_ms := self._waiting[0].answer.asked_ms + LATE_MS) < moment_ms:
            self.now_ms = max(self.now_ms, last_ms)
            yield from self._save(self._waiting[:1])
        self.now_ms = max(self.now_ms, moment_ms)

    def _save(self, due: Sequence[Waiting]) -> Iterator[Moment]:
        """Save what is due, two answers of two writers at once."""
        self._waiting = [waiting for waiting in self._waiting if waiting not in due]
        left = list(due)
        while left:
            count = 2 if len(left) > 1 and left[0].writer != left[1].writer else 1
            yield self.save([waiting.answer for waiting in left[:count]], left[0].writer)
            del left[:count]

    def save(self, answers: Sequence[Answer], writer: int = 0) -> Moment:
        """Save answers now, the second by the other writer at the same time."""
        before = self.rows()
        batches = [batch for answer in answers if (batch := batch_of(answer))]
        list(self._pool.map(self._store, [writer, 1 - writer], batches))
        self._savable += answers
        return Moment(answers, before, self.rows())

    def save_again(self, picks: Sequence[int]) -> list[Saved]:
        """Save what may still be saved once more, in some order."""
        answers = [answer for answer in self._savable if self.now_ms <= answer.asked_ms + LATE_MS]
        chosen = [answers[pick % len(answers)] for pick in picks]
        return [self._store(0, batch) for answer in chosen if (batch := batch_of(answer))]

    def rows(self) -> Rows:
        found = self._sql(
            "SELECT (extract(epoch FROM ts) * 1000)::int8, open, high, low, close, volume, vwap, trades,"
            " ctid::text, xmin::text FROM market_data.ohlcv_5m"
        )
        return {row[0]: Row(Bar(*row[:8]), *row[8:]) for row in found}

    def spans(self) -> Sequence[CoveredInterval]:
        return self._stores[0].load([EURUSD.symbol])[EURUSD.symbol].coverage

    def _store(self, writer: int, batch: Changes) -> Saved:
        return self._stores[writer].save(batch, self.now_ms)


def batch_of(answer: Answer) -> Changes | None:
    """What a cycle makes of an answer; None if it refuses it."""
    call = BarsCall((Work(EURUSD, WorkKind.BARS),), answer.start_ms, answer.end_ms)
    try:
        page = decode_bars(
            answer.body, ticker=EURUSD.polygon_ticker, start_ms=call.start_ms, end_ms=call.end_ms
        )
    except Refusal:
        return None
    stored = {EURUSD.symbol: StoredAsset(symbol=EURUSD.symbol)}
    known = Entitlements(end_of_day=False)
    known.saw(EURUSD.asset_type, answer.asked_ms, answer.asked_ms, market_open=True)  # of another asset
    cycle = Batch(QUEUE, known, 0.0)
    cycle.add(WorkChunk(call.work, stored))
    cycle.apply(call, bars_findings(call, call.work, None, page, stored, known, answer.asked_ms))
    return cycle.take_unsaved(0.0)[1]


def bars_of(rows: Rows) -> dict[int, Bar]:
    return {t_ms: row.bar for t_ms, row in rows.items()}


@pytest.fixture
def play(store: Store, database_url: str, sql: Sql) -> Iterator[Play]:
    with Store.open(database_url) as other, ThreadPoolExecutor(2) as pool:
        yield Play((store, other), sql, pool)


# --- bars ---
# What goes wrong needs two writers, a fault and a correction in one story: often more than the profile's
# examples.


@pytest.mark.slow
def test_the_table_holds_the_newest_that_any_answer_has_shown_of_each_finished_bar(play: Play) -> None:
    @examples(3)
    @given(stories())
    def check(story: Story) -> None:
        newest: dict[int, Bar] = {}
        ranks: dict[int, int] = {}
        answers: list[Answer] = []
        doubtful: set[int] = set()
        for moment in play.play(story):
            answers += moment.answers  # of two that are saved at once either may be the first
            for answer in moment.answers:
                for t_ms, version in answer.finished.items():
                    if version.rank >= ranks.get(t_ms, 0):
                        newest[t_ms], ranks[t_ms] = version.bar, version.rank
                    # The store believes an answer to a later call, also one that was staler than this one.
                    if any(knew_less(later, t_ms, version, answer.asked_ms) for later in answers):
                        doubtful.add(t_ms)
            kept = {t_ms: bar for t_ms, bar in bars_of(moment.after).items() if t_ms not in doubtful}
            assert kept == {t_ms: bar for t_ms, bar in newest.items() if t_ms not in doubtful}

    check()


def knew_less(other: Answer, t_ms: int, version: Version, asked_ms: int) -> bool:
    """Whether an answer to a later call covered a bar, and had an older version of it or none."""
    if other.asked_ms <= asked_ms or not other.finished:
        return False
    within = min(other.finished) <= t_ms <= max(other.finished)
    known = other.finished.get(t_ms)
    return within and (known is None or known.rank < version.rank)


@pytest.mark.timeout(300)  # in CI's profile and beside other programs
def test_final_bars_stay_and_answers_that_are_saved_again_change_nothing(play: Play) -> None:
    """A bar that was final is not touched by an answer from before it was."""

    @examples(2)
    @given(stories(), st.lists(st.integers(0, 5), min_size=1, max_size=4))
    def check(story: Story, picks: list[int]) -> None:
        for moment in play.play(story):
            final = play.provider.final()
            asked_ms = max(answer.asked_ms for answer in moment.answers)
            for t_ms, row in moment.before.items():
                if row.bar == final[t_ms] and asked_ms < row.bar.end_ms + LAG_MS:
                    assert moment.after[t_ms] == row
            for saved in play.save_again(picks):
                assert (saved.bars_new, saved.bars_changed) == (0, 0)
            assert play.rows() == moment.after

    check()


def test_each_row_is_what_one_answer_said_and_a_good_late_answer_makes_all_the_truth(play: Play) -> None:
    """Each row is as a whole what one answer said of the bar after its end, whatever else it said."""

    @examples(1.5)
    @given(stories(ODDITIES | LIES), st.lists(HARMLESS, max_size=3))
    def check(story: Story, oddities: list[Oddity]) -> None:
        heard: set[Bar] = set()
        for moment in play.play(story):
            for answer in moment.answers:
                heard |= {bar for bar in answer.heard if bar.end_ms <= answer.asked_ms}
            assert set(bars_of(moment.after).values()) <= heard
        after = play.save([play.provider.answer(play.now_ms, ALL, LAG_MS, oddities)]).after
        assert bars_of(after) == play.provider.final()

    check()


def test_an_answer_that_is_cut_anywhere_is_refused_as_a_whole(play: Play) -> None:
    @given(SERIES, st.lists(ODDITIES, max_size=2), CUT)
    def check(series: list[Quotes], oddities: list[Oddity], first: int) -> None:
        whole = Provider(series).answer(NEVER_MS, ALL, 0, oddities)
        for length in range(first, len(whole.body), CUTS_APART):
            assert batch_of(whole._replace(body=whole.body[:length])) is None

    check()


def test_the_ledger_calls_nothing_missing_at_the_provider_that_is_there(play: Play) -> None:
    """Where it says asked and there is no row, the provider has no bar."""

    @examples(2)
    @given(stories(FAULTY, st.just(ALL)))
    @example(all_but_the_first({"c": None}))
    @example(all_but_the_first({"t": None}))
    def check(story: Story) -> None:
        for moment in play.play(story):
            spans = play.spans()
            asked = {
                t_ms
                for span in spans
                if span.state is IntervalState.ASKED
                for t_ms in range(span.start_ms, span.end_ms, BAR_MS)
            }
            assert not asked & play.provider.final().keys() - moment.after.keys()

    check()


# --- prices ---

PICKS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=2), max_size=8)
"""In which order answers are saved, some at once by two writers, some again, some never."""


class Told(NamedTuple):
    """`metadata.last_update` of a symbol, and the transaction that wrote it."""

    last_update: dict[str, Any]
    writer: str


class PricesMoment(NamedTuple):
    answers: Sequence[PricesAnswer]
    updated: Sequence[Price]
    before: dict[str, Told]
    after: dict[str, Told]


class PricesPlay:
    """Saves answers with prices in any order, each story over symbols without a price."""

    def __init__(self, stores: tuple[Store, Store], sql: Sql, pool: ThreadPoolExecutor) -> None:
        self._stores = stores
        self._sql = sql
        self._pool = pool

    def play(self, steps: Sequence[PricesStep], picks: Sequence[Sequence[int]]) -> Iterator[PricesMoment]:
        self._sql("UPDATE trading.symbols SET metadata = '{}'")
        answers = [prices_answer(step) for step in steps]
        for some in picks:
            yield self.save([answers[pick % len(answers)] for pick in some])

    def save(self, answers: Sequence[PricesAnswer]) -> PricesMoment:
        before = self.told()
        batches = [batch for answer in answers if (batch := batch_of_prices(answer))]
        saved = self._pool.map(lambda store, batch: store.save(batch, NOW_MS), self._stores, batches)
        return PricesMoment(answers, [price for one in saved for price in one.updated], before, self.told())

    def told(self) -> dict[str, Told]:
        rows = self._sql(
            "SELECT symbol, metadata -> 'last_update', xmin::text FROM trading.symbols"
            " WHERE metadata ? 'last_update'"
        )
        return {symbol: Told(last_update, writer) for symbol, last_update, writer in rows}


def batch_of_prices(answer: PricesAnswer) -> Changes | None:
    """What a cycle makes of an answer; None if it refuses it."""
    assets = {asset.polygon_ticker: asset.symbol for asset in (EURUSD, BTCUSD)}
    try:
        prices = decode_snapshot(answer.body, assets)
    except Refusal:
        return None
    call = SnapshotCall((Work(EURUSD), Work(BTCUSD)))
    cycle = Batch(PRIORITY, Entitlements(end_of_day=False), 0.0)
    cycle.add(WorkChunk(call.work, {}))
    cycle.apply(call, prices_findings(call, call.work, prices, {}, answer.asked_ms))
    return cycle.take_unsaved(0.0)[1]


@pytest.fixture
def prices_play(store: Store, database_url: str, sql: Sql) -> Iterator[PricesPlay]:
    with Store.open(database_url) as other, ThreadPoolExecutor(2) as pool:
        yield PricesPlay((store, other), sql, pool)


def test_a_symbol_has_the_newest_price_that_any_answer_has_shown(prices_play: PricesPlay) -> None:
    @examples(2)
    @given(st.lists(prices_steps(WHOLE_FAULTS), min_size=1, max_size=6), PICKS)
    def check(steps: list[PricesStep], picks: list[list[int]]) -> None:
        newest: dict[str, Price] = {}
        for moment in prices_play.play(steps, picks):
            for price in (price for answer in moment.answers for price in answer.shown.values()):
                if price.symbol not in newest or newest[price.symbol].as_of_ms < price.as_of_ms:
                    newest[price.symbol] = price
            last_updates = {symbol: told.last_update for symbol, told in moment.after.items()}
            assert last_updates == {symbol: document(price) for symbol, price in newest.items()}

    check()


def test_what_is_published_of_a_symbol_is_what_has_been_written(prices_play: PricesPlay) -> None:
    @given(st.lists(prices_steps(WHOLE_FAULTS), min_size=1, max_size=6), PICKS)
    def check(steps: list[PricesStep], picks: list[list[int]]) -> None:
        for moment in prices_play.play(steps, picks):
            newest = {price.symbol: price for price in sorted(moment.updated, key=lambda p: p.as_of_ms)}
            for symbol, told in moment.after.items():
                if symbol in newest:
                    assert told.last_update == document(newest[symbol])
                else:
                    assert told == moment.before[symbol]

    check()


def test_the_moment_of_a_price_never_goes_back(prices_play: PricesPlay) -> None:
    @given(st.lists(prices_steps([*WHOLE_FAULTS, *PART_FAULTS]), min_size=1, max_size=6), PICKS)
    def check(steps: list[PricesStep], picks: list[list[int]]) -> None:
        for moment in prices_play.play(steps, picks):
            for symbol, told in moment.before.items():
                after = moment.after[symbol].last_update
                assert told.last_update["timestamp"] <= after["timestamp"]

    check()


def test_all_values_of_a_price_are_from_one_answer_and_none_is_a_zero(prices_play: PricesPlay) -> None:
    @examples(2)
    @given(st.lists(prices_steps([*WHOLE_FAULTS, *PART_FAULTS]), min_size=1, max_size=6), PICKS)
    def check(steps: list[PricesStep], picks: list[list[int]]) -> None:
        heard: set[tuple[str, str, frozenset[float]]] = set()
        for moment in prices_play.play(steps, picks):
            heard |= {one for answer in moment.answers for one in answer.heard}
            for symbol, told in moment.after.items():
                values = {value for name, value in told.last_update.items() if name != "timestamp"}
                assert told.last_update["last_price"] is not None
                assert any(
                    (symbol, told.last_update["timestamp"]) == (of, moment_text)
                    and values - {None} <= numbers
                    for of, moment_text, numbers in heard
                )

    check()


def test_prices_that_are_saved_again_change_nothing(prices_play: PricesPlay) -> None:
    @given(st.lists(prices_steps(WHOLE_FAULTS), min_size=1, max_size=4), PICKS)
    def check(steps: list[PricesStep], picks: list[list[int]]) -> None:
        before: list[PricesAnswer] = []
        for moment in prices_play.play(steps, picks):
            before += moment.answers
            for answer in before:
                assert prices_play.save([answer]).updated == []
            assert prices_play.told() == moment.after

    check()


def test_a_snapshot_that_is_cut_anywhere_is_refused_as_a_whole() -> None:
    @given(prices_steps([*WHOLE_FAULTS, *PART_FAULTS]), CUT)
    def check(step: PricesStep, first: int) -> None:
        whole = prices_answer(step)
        for length in range(first, len(whole.body), CUTS_APART):
            assert batch_of_prices(whole._replace(body=whole.body[:length])) is None

    check()
