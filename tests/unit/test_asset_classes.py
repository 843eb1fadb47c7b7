"""What sets a class of assets apart, and that a new class needs nothing but its descriptor."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assetbatch.domain.asset_classes import (
    CLASSES,
    EXAMPLES,
    SESSIONS,
    AssetType,
    Market,
    class_of,
    class_of_type,
    ticker_pattern,
)
from tests.conftest import REPOSITORY

DESCRIPTOR = """
_TULIPS = AssetClass(
    asset_type=AssetType.TULIPS,
    market=Market.TULIPS,
    prefix="T:",
    example="T:SEMPER",
    bases=frozenset({"SEMPER"}),
    quotes=frozenset({"NLG", "EUR"}),
    sessions={2: ((10, 12), (14, 15))},
    locale="nl",
    grouped_market="bulbs",
    has_volume=False,
    largest_price=10_000.0,
    largest_volume=1.0,
    price_digits=2,
)
"""

SCRIPT = """
from datetime import UTC, date, datetime
from pathlib import Path
import assetbatch
from assetbatch.config import load
from assetbatch.domain.asset_classes import AssetType, Market
from assetbatch.domain.calls import GroupedDayCall, choose_calls
from assetbatch.domain.due import assess
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.market_hours import is_open, to_ms
from assetbatch.domain.work import Work
from assetbatch.provider.client import ProviderClient
from assetbatch.secret import Secret

assert Path(assetbatch.__file__).is_relative_to(Path.cwd())
written, derived = load(Path("config.yml"), {}, cwd=Path.cwd()).priority_assets
assert (written.asset_type, written.polygon_ticker) == ("tulips", "T:SEMPER")
assert (derived.asset_type, derived.polygon_ticker) == ("tulips", "T:SEMPEREUR")
assert derived.market is Market.TULIPS

wednesday = to_ms(datetime(2026, 11, 25, 16, 0, tzinfo=UTC))  # 11:00 in New York
assert is_open(derived.market, wednesday)
assert not is_open(derived.market, wednesday + 2 * 3_600_000)  # 13:00: the break

known = Entitlements(end_of_day=True)
for restriction in (Restriction.INTRADAY, Restriction.BARS):
    for ticker in (written.polygon_ticker, derived.polygon_ticker):
        known.refused(restriction, AssetType.TULIPS, "no", wednesday, ticker=ticker)
work = [Work(written), Work(derived)]
assert all(assess(item, None, known, wednesday).due for item in work)
(call,) = choose_calls(work, {}, known, wednesday)
assert isinstance(call, GroupedDayCall) and call.asset_type is AssetType.TULIPS

class Recorder(ProviderClient):
    def _get(self, target, seconds):
        self.target = target
        return b'{"status": "OK", "results": [{"T": "T:SEMPER", "o": 1, "h": 3, "l": 1, "c": 2, "t": 1}]}'

with Recorder("https://api.example.org", Secret("made-up")) as provider:
    symbols = {item.asset.polygon_ticker: item.asset.symbol for item in work}
    answer = provider.grouped_day(call.asset_type, date(2026, 11, 24), symbols)
assert provider.target.startswith("/v2/aggs/grouped/locale/nl/market/bulbs/2026-11-24?")
assert answer.prices["T:SEMPER"].last_price == 2
assert answer.empty == {"T:SEMPEREUR"}
print("configured, planned, decoded")
"""

CONFIG = """
priority_assets:
  - {symbol: Semper Augustus, polygon_ticker: "T:SEMPER"}
  - {symbol: SEMPER/EUR}
"""


@pytest.fixture
def with_tulips(tmp_path: Path) -> Path:
    """A copy of the program to whose one file a class was added."""
    shutil.copytree(REPOSITORY / "src" / "assetbatch", tmp_path / "assetbatch")
    file = tmp_path / "assetbatch" / "domain" / "asset_classes.py"
    text = file.read_text(encoding="utf-8")
    for old, new in (
        ('    CRYPTO = "crypto"\n', '    CRYPTO = "crypto"\n    TULIPS = "tulips"\n'),
        ("CLASSES = (", f"{DESCRIPTOR}\nCLASSES = (_TULIPS, "),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    (tmp_path / "config.yml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def test_a_new_class_is_configured_planned_and_decoded_by_its_descriptor_alone(with_tulips: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=with_tulips, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("configured, planned, decoded\n", "")


def test_an_example_is_of_its_class() -> None:
    assert [class_of(one.example) for one in CLASSES] == list(CLASSES)
    assert {class_of(ticker).asset_type for ticker in EXAMPLES.values()} == set(AssetType)


def test_every_type_has_a_class_and_every_market_its_hours() -> None:
    assert {class_of_type(asset_type).asset_type for asset_type in AssetType} == set(AssetType)
    longer = {one.extended_market for one in CLASSES} - {None}
    assert {one.market for one in CLASSES} | longer == set(Market)
    assert set(SESSIONS) == set(Market)


def test_classes_of_one_type_share_what_a_call_names() -> None:
    """One call brings metals and currencies."""
    for asset_type in AssetType:
        alike = [one for one in CLASSES if one.asset_type is asset_type]
        assert len({(one.locale, one.snapshot_market, one.grouped_market) for one in alike}) == 1


def test_a_foreign_ticker_is_of_no_class() -> None:
    with pytest.raises(ValueError, match="no asset class"):
        class_of("O:NCLH221014C00005000")


def test_the_pattern_has_each_prefix_once() -> None:
    forms = "C:[A-Z0-9._-]{1,32}|X:[A-Z0-9._-]{1,32}|[A-Z][A-Za-z0-9.]{0,31}|I:[A-Z0-9._-]{1,32}"
    assert ticker_pattern() == rf"^(?:{forms})\Z"


@pytest.mark.parametrize("ticker", ["A", "AAPL", "BRK.B", "KIMpL", "ACHR.WS", "I:NDX", "I:COMP", "C:EURUSD"])
def test_the_pattern_has_the_vendors_spellings(ticker: str) -> None:
    assert re.match(ticker_pattern(), ticker)


@pytest.mark.parametrize("ticker", ["aapl", "BRK-B", "BRK/B", "^NDX", "i:NDX", "I:", "O:NCLH", "AAPL "])
def test_the_pattern_has_no_other_spelling(ticker: str) -> None:
    assert not re.match(ticker_pattern(), ticker)


@pytest.mark.parametrize(
    ("ticker", "asset_type", "market"),
    [
        ("AAPL", AssetType.STOCKS, Market.STOCK),
        ("BRK.B", AssetType.STOCKS, Market.STOCK),
        ("EURUSD", AssetType.STOCKS, Market.STOCK),
        ("I:NDX", AssetType.INDICES, Market.INDEX),
        ("C:EURUSD", AssetType.FOREX, Market.FOREX),
    ],
)
def test_a_ticker_without_a_prefix_is_a_stock(ticker: str, asset_type: AssetType, market: Market) -> None:
    assert (class_of(ticker).asset_type, class_of(ticker).market) == (asset_type, market)
