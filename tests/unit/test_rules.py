"""Rules: what they take of the provider's list, by which calls, and when a member is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from assetbatch.config import Config, load
from assetbatch.config.display import effective
from assetbatch.config.symbols import EXCHANGES, doubts_of_rules
from assetbatch.domain.asset_classes import AssetType
from assetbatch.domain.assets import Asset, AssetPriority, Rule
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.rules import (
    FIRST_WALK_MS,
    WALK_AGAIN_MS,
    WALK_STALE_MS,
    ListedTicker,
    Member,
    Walk,
    advanced,
    continued,
    expected_calls,
    is_due,
    is_first_under_way,
    may_be,
    may_say_what_is_gone,
    members_of,
    queries,
    take,
)
from assetbatch.errors import ConfigError

NOW = 1_764_500_000_000
COINS = Rule(every=AssetType.CRYPTO, quote=("USD",))


def read(folder: Path, text: str) -> Config:
    (folder / "config.yml").write_text(text, encoding="utf-8")
    return load(None, {}, cwd=folder)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return str(caught.value).split("\n")


def stocks(**options: Any) -> Rule:
    return Rule(every=AssetType.STOCKS, **options)


def coin(ticker: str, quote: str = "USD") -> ListedTicker:
    return ListedTicker(ticker=ticker, quote=quote)


class TestConfiguration:
    def test_has_the_options_of_its_members(self, tmp_path: Path) -> None:
        text = "secondary_assets: [{every: crypto, quote: USD, priority: LOW, bars: none}]"
        (rule,) = read(tmp_path, text).rules
        asset = rule.member("BTCUSD", "X:BTCUSD", "Bitcoin")
        assert (asset.priority, asset.bars, asset.name) == (AssetPriority.LOW, BarSize.NONE, "Bitcoin")

    def test_stands_beside_assets(self, tmp_path: Path) -> None:
        config = read(tmp_path, "secondary_assets: [{every: forex}, {symbol: BTCUSD}, {every: crypto}]")
        assert [asset.symbol for asset in config.secondary_assets] == ["BTCUSD"]
        assert [rule.every for rule in config.rules] == [AssetType.FOREX, AssetType.CRYPTO]

    @pytest.mark.parametrize(
        ("options", "years"), [("bars: none", 2), ("bars: 5m", 0), ("bars: 5m, years_of_days: 1", 1)]
    )
    def test_keeps_days_of_the_past_where_it_keeps_no_bars(
        self, tmp_path: Path, options: str, years: int
    ) -> None:
        (rule,) = read(tmp_path, f"secondary_assets: [{{every: crypto, {options}}}]").rules
        assert rule.years_of_days == years

    def test_that_is_switched_off_has_no_members(self, tmp_path: Path) -> None:
        config = read(tmp_path, "secondary_assets: [{every: crypto, enabled: false}]")
        assert config.enabled_rules == ()

    def test_is_shown(self, tmp_path: Path) -> None:
        text = "secondary_assets: [{symbol: BTCUSD}, {every: crypto, quote: [USD, EUR], bars: none}]"
        shown = {line.path: line.value for line in effective(read(tmp_path, text))}
        wanted = "every crypto of quote USD, EUR MEDIUM every 300 s without bars 2 years of days"
        assert shown["secondary_assets[1]"] == wanted

    def test_mistakes_are_told_all_at_once(self, tmp_path: Path) -> None:
        text = "secondary_assets:\n- {every: metals}\n- {every: crypto, prioritty: LOW, quote: usd}\n"
        first, second, third = mistakes(tmp_path, text)
        assert "secondary_assets[0].every: found 'metals', expected one of forex" in first
        assert "secondary_assets[1].prioritty: unknown key, did you mean priority?" in second
        assert "secondary_assets[1].quote: found 'usd', did you mean USD? expected a currency" in third
        assert "(line 2)" in first
        assert "(line 3)" in third

    @pytest.mark.parametrize(
        ("rule", "words", "hint"),
        [
            (
                "{every: stocks, exchange: NYSE}",
                "stocks/NYSE: NYSE is no exchange",
                "did you mean XNYS?",
            ),
            ("{every: stocks, exchange: [XNSA]}", "XNSA is no exchange", "did you mean XNAS?"),
            ("{every: stocks, exchange: ABCD}", "ABCD is no exchange", "known are XNYS, XNAS,"),
            ("{every: crypto, quote: [USD, USDD]}", "USDD is no currency", "such as USD"),
        ],
    )
    def test_with_a_name_that_nobody_knows_is_doubted(
        self, tmp_path: Path, rule: str, words: str, hint: str
    ) -> None:
        (doubt,) = doubts_of_rules(read(tmp_path, f"secondary_assets: [{rule}]").rules)
        assert words in doubt.words
        assert hint in doubt.hint

    def test_with_the_exchanges_of_the_provider_is_not_doubted(self, tmp_path: Path) -> None:
        text = f"secondary_assets: [{{every: stocks, exchange: [{', '.join(EXCHANGES)}]}}, {{every: crypto}}]"
        assert list(doubts_of_rules(read(tmp_path, text).rules)) == []

    def test_of_the_us_market_is_narrowed_by_exchange_and_type(self, tmp_path: Path) -> None:
        text = "secondary_assets: [{every: stocks, exchange: [XNYS, XNAS], type: CS, extended_hours: true}]"
        (rule,) = read(tmp_path, text).rules
        assert (rule.key, rule.extended_hours) == ("stocks/XNAS,XNYS/CS", True)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (
                "type: EFT",
                "secondary_assets[0].type: found 'EFT', did you mean ETF? expected one of CS, ETF",
            ),
            ("exchange: []", "secondary_assets[0].exchange: found a list, expected a code of ISO 10383"),
            (
                "exchange: [XNYS, nyse]",
                "secondary_assets[0].exchange[1]: found 'nyse', did you mean XNYS? expected a code",
            ),
            ("type: [CS, 5]", "secondary_assets[0].type[1]: found 5, expected one of CS, ETF"),
            ("exchange: NYSE2", "secondary_assets[0].exchange: found 'NYSE2', expected a code of ISO 10383"),
            ("quote: USD", "found quote for stocks, expected exchange and type to narrow it"),
        ],
    )
    def test_a_mistake_of_a_stock_rule_says_what_is_allowed(
        self, tmp_path: Path, options: str, words: str
    ) -> None:
        (line,) = mistakes(tmp_path, f"secondary_assets: [{{every: stocks, {options}}}]")
        assert words in line

    def test_indices_are_not_narrowed(self, tmp_path: Path) -> None:
        (line,) = mistakes(tmp_path, "secondary_assets: [{every: indices, type: ETF}]")
        assert "expected nothing to narrow it" in line

    def test_a_pair_has_no_exchange(self, tmp_path: Path) -> None:
        (line,) = mistakes(tmp_path, "secondary_assets: [{every: crypto, exchange: XNYS}]")
        assert "secondary_assets[0].exchange: found exchange for crypto, expected quote to narrow it" in line

    def test_a_rule_is_no_priority_asset(self, tmp_path: Path) -> None:
        (line,) = mistakes(tmp_path, "priority_assets: [{every: crypto}]")
        assert "a rule belongs into secondary_assets" in line

    def test_the_same_rule_twice_is_a_mistake(self, tmp_path: Path) -> None:
        text = "secondary_assets: [{every: crypto, quote: [USD, EUR]}, {every: crypto, quote: [EUR, USD]}]"
        (line,) = mistakes(tmp_path, text)
        assert "secondary_assets[1].every: found the same rule again" in line


class TestMembers:
    def test_are_the_tickers_that_fit(self) -> None:
        page = [coin("X:BTCUSD"), coin("X:BTCEUR", "EUR"), coin("C:EURUSD"), coin("X:btc usd")]
        assert take(COINS, page, {}).members == (Member("BTCUSD", "X:BTCUSD"),)

    def test_fit_by_their_end_where_the_quote_is_not_said(self) -> None:
        page = [coin("X:BTCUSD", ""), coin("X:BTCEUR", "")]
        assert [member.symbol for member in take(COINS, page, {}).members] == ["BTCUSD"]

    def test_of_stocks_are_named_by_their_ticker(self) -> None:
        page = [
            ListedTicker(ticker="BRK.B", exchange="XNYS", kind="CS"),
            ListedTicker(ticker="KIMpL", exchange="XNYS", kind="PFD"),
            ListedTicker(ticker="SPY", exchange="ARCX", kind="ETF"),
        ]
        taken = take(stocks(exchange=("XNYS",)), page, {})
        assert [(one.symbol, one.ticker) for one in taken.members] == [("BRK.B", "BRK.B"), ("KIMpL", "KIMpL")]

    def test_of_indices_are_named_without_their_prefix(self) -> None:
        taken = take(Rule(every=AssetType.INDICES), [ListedTicker(ticker="I:NDX")], {})
        assert taken.members == (Member("NDX", "I:NDX"),)

    def test_a_symbol_of_another_ticker_is_a_clash(self) -> None:
        taken = take(COINS, [coin("X:GOLDUSD"), coin("X:BTCUSD")], {"GOLDUSD": "C:XAUUSD"})
        assert [member.symbol for member in taken.members] == ["BTCUSD"]
        assert taken.clashes == (("GOLDUSD", "X:GOLDUSD", "C:XAUUSD"),)

    def test_an_asset_of_the_configuration_wins(self) -> None:
        own = Asset(symbol="BTC", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO)
        stored = {COINS.key: [Member("BTCUSD", "X:BTCUSD"), Member("ETHUSD", "X:ETHUSD")]}
        assert [asset.symbol for asset in members_of([COINS], stored, [own])] == ["ETHUSD"]

    def test_no_ticker_of_an_unknown_class_fits(self) -> None:
        assert take(stocks(), [ListedTicker(ticker="O:SPY251219C00650000")], {}).members == ()

    def test_an_asset_that_is_switched_off_keeps_its_ticker_out(self) -> None:
        own = Asset(symbol="X", polygon_ticker="X:BTCUSD", asset_type=AssetType.CRYPTO, enabled=False)
        assert members_of([COINS], {COINS.key: [Member("BTCUSD", "X:BTCUSD")]}, [own]) == ()

    def test_a_rule_that_is_switched_off_has_none(self) -> None:
        off = Rule(every=AssetType.CRYPTO, enabled=False)
        assert members_of([off], {off.key: [Member("BTCUSD", "X:BTCUSD")]}, []) == ()

    def test_two_of_one_symbol_are_one(self) -> None:
        indices = Rule(every=AssetType.INDICES)
        stored = {stocks().key: [Member("COMP", "COMP")], indices.key: [Member("COMP", "I:COMP")]}
        (found,) = members_of([stocks(), indices], stored, [])
        assert found.polygon_ticker == "COMP"

    def test_the_earlier_rule_wins(self) -> None:
        all_coins = Rule(every=AssetType.CRYPTO, priority=AssetPriority.LOW)
        member = Member("BTCUSD", "X:BTCUSD")
        (asset,) = members_of([COINS, all_coins], {COINS.key: [member], all_coins.key: [member]}, [])
        assert asset.priority is AssetPriority.MEDIUM


@pytest.mark.parametrize(
    ("asset_type", "word", "may"),
    [
        (AssetType.STOCKS, "stocks", True),
        (AssetType.STOCKS, " Equity ", True),
        (AssetType.STOCKS, "ETF", True),
        (AssetType.STOCKS, "precious_metal", True),  # it may mean anything
        (AssetType.STOCKS, "metal", False),
        (AssetType.STOCKS, "forex", False),
        (AssetType.STOCKS, "cryptocurrency", False),
        (AssetType.INDICES, "index", True),
        (AssetType.INDICES, "stocks", False),
        (AssetType.FOREX, "commodity", True),
        (AssetType.CRYPTO, "coin", True),
        (AssetType.CRYPTO, "index", False),
    ],
)
def test_a_platform_s_word_for_a_class_is_understood(asset_type: AssetType, word: str, *, may: bool) -> None:
    assert may_be(asset_type, word) is may


class TestWalk:
    def test_asks_once_a_day(self) -> None:
        walk = Walk(rule=COINS.key, started_ms=NOW, finished_ms=NOW)
        assert not is_due(walk, NOW + WALK_AGAIN_MS - 1)
        assert is_due(walk, NOW + WALK_AGAIN_MS)
        assert is_due(None, NOW)

    def test_goes_on_after_the_last_ticker(self) -> None:
        walk = continued(COINS, None, NOW)
        walk = advanced(COINS, walk, "X:ETHUSD", NOW, is_last_page=False, is_whole=True)
        assert continued(COINS, walk, NOW + 1) == walk
        assert (walk.after, walk.calls, walk.is_finished) == ("X:ETHUSD", 1, False)

    def test_begins_anew_when_the_queries_are_others(self) -> None:
        """Those of another version may be as many. It may have written no checksum."""
        rule = stocks(exchange=("XNAS", "XNYS"), kind=("CS", "ETF"))
        mine = structs.replace(continued(rule, None, NOW - 1), query=1, after="MSFT", calls=5)
        assert continued(rule, mine, NOW) == mine
        for plan in (0, mine.plan ^ 1):
            others = structs.replace(mine, plan=plan)
            assert continued(rule, others, NOW) == continued(rule, None, NOW)

    def test_goes_on_with_the_next_query(self) -> None:
        rule = stocks(exchange=("XNAS", "XNYS"), kind=("CS", "ETF"))
        walk = advanced(rule, continued(rule, None, NOW), "B", NOW, is_last_page=True, is_whole=True)
        assert (walk.query, walk.after, walk.is_finished, walk.is_whole) == (1, "", False, True)

    def test_ends_with_the_last_page(self) -> None:
        walk = advanced(COINS, continued(COINS, None, NOW), None, NOW, is_last_page=True, is_whole=True)
        assert walk.is_finished
        assert walk.is_whole

    def test_begins_anew_after_a_day(self) -> None:
        walk = advanced(COINS, continued(COINS, None, NOW), "X:A", NOW, is_last_page=False, is_whole=True)
        assert continued(COINS, walk, NOW + WALK_STALE_MS).started_ms == NOW + WALK_STALE_MS

    def test_that_leads_back_does_not_go_round_for_ever(self) -> None:
        walk = advanced(COINS, continued(COINS, None, NOW), "X:B", NOW, is_last_page=False, is_whole=True)
        walk = advanced(COINS, walk, "X:A", NOW, is_last_page=False, is_whole=True)
        assert (walk.is_finished, walk.is_whole) == (True, False)

    @pytest.mark.parametrize(("after", "last"), [("TpA", "TSLA"), ("TZ", "TpA")])
    def test_goes_on_wherever_lower_case_letters_stand(self, after: str, last: str) -> None:
        walk = Walk(rule=COINS.key, started_ms=NOW, after=after)
        assert advanced(COINS, walk, last, NOW, is_last_page=False, is_whole=True).after == last

    def test_that_leads_nowhere_ends_and_knows_nothing_of_what_is_gone(self) -> None:
        walk = advanced(COINS, continued(COINS, None, NOW), "X:A", NOW, is_last_page=False, is_whole=True)
        walk = advanced(COINS, walk, "X:A", NOW, is_last_page=False, is_whole=True)
        assert walk.is_finished
        assert not may_say_what_is_gone(walk, 5, 5)

    @pytest.mark.parametrize(("seen", "is_gone"), [(100, True), (50, True), (49, False), (0, False)])
    def test_that_found_less_than_half_takes_nothing_away(self, seen: int, *, is_gone: bool) -> None:
        walk = Walk(rule=COINS.key, started_ms=NOW, finished_ms=NOW)
        assert may_say_what_is_gone(walk, seen, 100) is is_gone

    def test_with_a_row_that_could_not_be_read_takes_nothing_away(self) -> None:
        walk = advanced(COINS, continued(COINS, None, NOW), "X:A", NOW, is_last_page=True, is_whole=False)
        assert not may_say_what_is_gone(walk, 100, 100)

    def test_is_a_first_one_under_way_until_it_has_seen_every_page_or_takes_too_long(self) -> None:
        walk = Walk(rule=COINS.key, started_ms=NOW)
        assert is_first_under_way(walk, NOW)
        assert is_first_under_way(walk, NOW + FIRST_WALK_MS - 1)
        assert not is_first_under_way(walk, NOW + FIRST_WALK_MS)
        assert not is_first_under_way(walk, NOW - 1)
        assert not is_first_under_way(structs.replace(walk, finished_ms=NOW), NOW)
        assert not is_first_under_way(structs.replace(walk, is_first=False), NOW)
        assert not is_first_under_way(None, NOW)


class TestQueries:
    def test_of_a_market_of_pairs_are_one(self) -> None:
        assert queries(COINS) == ((AssetType.CRYPTO, None, None),)

    def test_name_exchange_and_type_where_that_saves_calls(self) -> None:
        of = AssetType.STOCKS
        assert queries(stocks(exchange=("XNYS",), kind=("CS",))) == ((of, "XNYS", "CS"),)

    def test_name_less_where_many_small_answers_would_be_more_calls(self) -> None:
        rule = stocks(exchange=("XNYS", "XNAS", "XASE"), kind=("RIGHT", "UNIT", "WARRANT", "ADRC"))
        assert len(queries(rule)) < 12
        assert expected_calls(rule) <= 4

    def test_are_never_more_than_the_whole_market_has(self) -> None:
        rule = stocks(exchange=("XNYS", "XNAS", "XASE", "ARCX", "BATS"), kind=("CS", "ETF"))
        assert expected_calls(rule) <= expected_calls(stocks())
