"""The members of rules: registered page by page, gone only after a walk that has seen everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import pytest

from assetbatch.config.tables import TableMappings
from assetbatch.database import Store
from assetbatch.database.members import PageTaken
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Rule
from assetbatch.domain.market_days import left_alone
from assetbatch.domain.models import Changes, MarketDay
from assetbatch.domain.rules import ListedTicker, Member, advanced, continued, queries
from assetbatch.domain.units import DAY_MS

from .conftest import Sql

NOW = 1_764_500_000_000
RULE = Rule(every=AssetType.STOCKS)
NO_OWNERS: Mapping[str, str] = {}


def page(*tickers: str) -> list[ListedTicker]:
    return [ListedTicker(ticker=ticker, name=f"{ticker} Inc.") for ticker in tickers]


def take(
    store: Store,
    *pages: Sequence[ListedTicker],
    at_ms: int = NOW,
    owners: Mapping[str, str] = NO_OWNERS,
    is_whole: bool = True,
    rule: Rule = RULE,
) -> list[PageTaken]:
    """Take the pages of one walk."""
    found, walk = [], continued(rule, None, at_ms)
    for number, some in enumerate(pages, 1):
        walk = advanced(
            rule, walk, some[-1].ticker, at_ms, is_last_page=number == len(pages), is_whole=is_whole
        )
        found.append(store.take_page(rule, some, walk, owners, TableMappings(), ()))
    return found


def symbols(store: Store, rule: Rule = RULE) -> list[str]:
    return [member.symbol for member in store.members([rule.key]).get(rule.key, [])]


def test_a_page_registers_what_is_new(store: Store, sql: Sql) -> None:
    assert take(store, page("AAPL", "KIMpL")) == [PageTaken(2, (), (), 2, is_first=True)]
    assert store.members([RULE.key]) == {
        RULE.key: [Member("AAPL", "AAPL", "AAPL Inc."), Member("KIMpL", "KIMpL", "KIMpL Inc.")]
    }
    assert sql("SELECT symbol, asset_type FROM trading.symbols WHERE symbol = 'AAPL'") == [("AAPL", "stocks")]


def test_the_same_page_again_changes_nothing(store: Store, sql: Sql) -> None:
    take(store, page("AAPL"))
    before = sql("SELECT symbol_id, since FROM data_sources.assetbatch_members")
    (taken,) = take(store, page("AAPL"), at_ms=NOW + DAY_MS)
    assert (taken.new, taken.is_first) == (0, False)
    assert sql("SELECT symbol_id, since FROM data_sources.assetbatch_members") == before


def test_what_a_whole_walk_has_not_seen_is_gone_and_kept(store: Store, sql: Sql) -> None:
    take(store, page("AAPL", "MSFT"), page("SPY"))
    first, last = take(store, page("AAPL"), page("SPY"), at_ms=NOW + DAY_MS)
    assert (first.gone, last.gone, last.members) == ((), ("MSFT",), 2)
    assert symbols(store) == ["AAPL", "SPY"]
    assert sql("SELECT count(*) FROM trading.symbols WHERE symbol = 'MSFT'") == [(1,)]


def test_what_is_listed_again_is_there_again(store: Store) -> None:
    take(store, page("AAPL", "MSFT"))
    take(store, page("AAPL"), at_ms=NOW + DAY_MS)
    assert take(store, page("AAPL", "MSFT"), at_ms=NOW + 2 * DAY_MS)[0].new == 1
    assert symbols(store) == ["AAPL", "MSFT"]


@pytest.mark.parametrize(("listed", "is_whole"), [(("AAPL",), True), (("AAPL", "B", "C"), False)])
def test_a_list_that_was_cut_takes_nothing_away(
    store: Store, listed: tuple[str, ...], *, is_whole: bool
) -> None:
    take(store, page("AAPL", "B", "C", "D"))
    assert take(store, page(*listed), at_ms=NOW + DAY_MS, is_whole=is_whole)[0].gone == ()
    assert symbols(store) == ["AAPL", "B", "C", "D"]


def test_a_walk_of_other_queries_is_told_apart_also_by_an_earlier_version(store: Store, sql: Sql) -> None:
    walk = continued(RULE, None, NOW)
    walk = advanced(RULE, walk, "AAPL", NOW, is_last_page=False, is_whole=True)
    store.take_page(RULE, page("AAPL"), walk, {}, TableMappings(), ())
    assert store.walks([RULE.key]) == {RULE.key: walk}
    ((query,),) = sql("SELECT query FROM data_sources.assetbatch_walks")
    assert query >= len(queries(RULE))  # by which an earlier version begins anew
    sql("UPDATE data_sources.assetbatch_walks SET query = 0 RETURNING 1")  # as that version writes it
    theirs = store.walks([RULE.key])[RULE.key]
    assert continued(RULE, theirs, NOW + 1).after == ""


def test_an_unfinished_walk_takes_nothing_away(store: Store) -> None:
    take(store, page("AAPL", "MSFT"))
    before = store.walks([RULE.key])[RULE.key]
    walk = continued(RULE, before, NOW + DAY_MS)
    walk = advanced(RULE, walk, "AAPL", NOW + DAY_MS, is_last_page=False, is_whole=True)
    assert walk.knows_members
    assert store.take_page(RULE, page("AAPL"), walk, {}, TableMappings(), ()).gone == ()
    assert store.walks([RULE.key]) == {RULE.key: walk}


DAY = date(2026, 11, 24)


def days(store: Store, market: str = "stocks") -> set[date]:
    return left_alone(store.market_days(market, DAY), NOW)


def test_answers_of_no_use_are_counted_until_one_is_of_use(store: Store) -> None:
    def came(bars: int, at_ms: int) -> tuple[int, int]:
        store.save(Changes(market_days=[MarketDay("stocks", DAY, bars)]), at_ms)
        (found,) = store.market_days("stocks", DAY)
        return found.asked_ms, found.bars

    assert came(0, NOW) == (NOW, 0)
    assert came(0, NOW) == (NOW, 0)  # the same answer
    assert came(0, NOW + 7 * DAY_MS) == (NOW + 7 * DAY_MS, -1)
    assert came(0, NOW + 37 * DAY_MS) == (NOW + 37 * DAY_MS, -2)
    assert came(12_400, NOW + 217 * DAY_MS) == (NOW + 217 * DAY_MS, 12_400)
    assert came(0, NOW + 218 * DAY_MS) == (NOW + 218 * DAY_MS, 0)


def test_the_end_of_a_first_walk_makes_all_days_of_its_market_missing(store: Store) -> None:
    """Its members have none of the days that had come; those of later walks are few."""
    store.save(Changes(market_days=[MarketDay(market, DAY, 5) for market in ("stocks", "crypto")]), NOW)
    first = advanced(RULE, continued(RULE, None, NOW), "AAPL", NOW, is_last_page=False, is_whole=True)
    store.take_page(RULE, page("AAPL"), first, {}, TableMappings(), ())
    assert days(store) == {DAY}
    last = advanced(RULE, first, "MSFT", NOW, is_last_page=True, is_whole=True)
    store.take_page(RULE, page("MSFT"), last, {}, TableMappings(), ())
    assert (days(store), days(store, "crypto")) == (set(), {DAY})
    store.save(Changes(market_days=[MarketDay("stocks", DAY, 5)]), NOW)
    again = continued(RULE, store.walks([RULE.key])[RULE.key], NOW + DAY_MS)
    again = advanced(RULE, again, "NEW", NOW + DAY_MS, is_last_page=True, is_whole=True)
    store.take_page(RULE, page("NEW"), again, {}, TableMappings(), ())
    assert days(store) == {DAY}


def test_a_walk_that_begins_before_the_last_one_was_finished_is_unfinished(store: Store) -> None:
    """The clock was set back."""
    take(store, page("AAPL"))
    walk = continued(RULE, store.walks([RULE.key])[RULE.key], NOW - 2 * DAY_MS)
    walk = advanced(RULE, walk, "AAPL", NOW - 2 * DAY_MS, is_last_page=False, is_whole=True)
    store.take_page(RULE, page("AAPL"), walk, {}, TableMappings(), ())
    assert store.walks([RULE.key]) == {RULE.key: walk}


def test_a_symbol_of_the_configuration_is_left_out_and_told(store: Store) -> None:
    (taken,) = take(store, page("AAPL", "GOLD"), owners={"GOLD": "C:XAUUSD"})
    assert taken.clashes == (("GOLD", "GOLD", "C:XAUUSD"),)
    assert symbols(store) == ["AAPL"]


def test_a_symbol_of_another_rule_s_member_is_left_out_and_told(store: Store) -> None:
    indices = Rule(every=AssetType.INDICES)
    take(store, page("COMP"))
    (taken,) = take(store, page("I:COMP", "I:NDX"), rule=indices)
    assert taken.clashes == (("COMP", "I:COMP", "COMP"),)
    assert symbols(store, indices) == ["NDX"]


@pytest.mark.parametrize(("word", "is_taken"), [("metal", False), ("Equity", True), ("asset", True)])
def test_a_row_of_another_class_is_left_alone(store: Store, sql: Sql, word: str, *, is_taken: bool) -> None:
    """GOLD is a stock of the provider's, and gold on many platforms."""
    sql("INSERT INTO trading.symbols (symbol, name, asset_type) VALUES ('GOLD', 'Gold', %s)", word)
    (taken,) = take(store, page("AAPL", "GOLD"))
    assert symbols(store) == (["AAPL", "GOLD"] if is_taken else ["AAPL"])
    clash = ("GOLD", "GOLD", "an asset of the type 'metal'")
    assert taken.clashes == (() if is_taken else (clash,))
    assert sql("SELECT name, asset_type FROM trading.symbols WHERE symbol = 'GOLD'") == [("Gold", word)]


def test_a_thousand_tickers_are_one_page(store: Store) -> None:
    tickers = [f"A{number:03}"[:4].replace("0", "X") + str(number) for number in range(1000)]
    assert take(store, page(*tickers)) == [PageTaken(1000, (), (), 1000)]
