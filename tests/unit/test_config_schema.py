"""The JSON Schema of config.yml: it is up to date, takes what is right and finds what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from assetbatch.config import load
from assetbatch.config.schema import config_schema
from assetbatch.errors import ConfigError

ROOT = Path(__file__).parents[2]
RIGHT = """
batch: {interval_minutes: 1, priority_assets: [{symbol: XAUUSD, priority: 1}]}
secondary_assets:
  - {symbol: BTC-USD, priority: 2, name: null, bars: false}
  - {symbol: silver, polygon_ticker: "C:XAGUSD", asset_type: forex, priority: LOW}
  - {symbol: BRK.B, asset_type: stocks, extended_hours: true}
  - {symbol: Nasdaq 100, polygon_ticker: "I:NDX"}
rate_limiting:
  tier: starter
  plans: {currencies: basic, indices: business}
  calls_per_minute: null
  window: account
queue:
database:
  url: postgresql://me@db:5432/prices
  tables:
    symbols: {table: trading.symbols, id: symbol_id, exchange: coinbase, rank: 3}
    bars: {vwap: null, instrument: polygon_ticker, missing: {volume: 0}}
    providers:
    sync_status: {states: {success: completed}}
redis: {url: "redis+sentinel://one,two/mymaster", prefix: second}
alerts: {success_rate_min_percent: 99.5}
ping_url: {run-priority: https://hc-ping.com/a}
derived: [15m, 4h]
notify: [ntfy://topic, "slack://a/b/c"]
"""
WRONG = [
    "batch: {interval_minutes: 0}",
    "batch: {interval_minutes: five}",
    "batch: {interval: 5}",
    "batch: [1]",
    "colour: blue",
    "rate_limiting: {tier: gold}",
    "rate_limiting: {calls_per_minute: 0}",
    "rate_limiting: {plans: {stocks: gold}}",
    "rate_limiting: {plans: {stock: basic}}",
    "rate_limiting: {plans: basic}",
    "rate_limiting: {window: a b}",
    "rate_limiting: {window_seconds: null}",
    "queue: {max_concurrency: 65}",
    "database: {url: mysql://db}",
    "database: {url: embedded-too}",
    "database: {tables: {orders: {}}}",
    "database: {tables: {symbols: {id: null}}}",
    "database: {tables: {symbols: {table: symbols}}}",
    "database: {tables: {bars: {missing: {close: 1}}}}",
    "database: {tables: {sync_status: {states: {fresh: ok}}}}",
    "redis: {url: http://redis}",
    "redis: {prefix: 'a b'}",
    "redis: {prefix: '{a}{b}'}",
    "provider: {base_url: ftp://api}",
    "metrics: {prometheus_file: ''}",
    "events: {stream_maxlen: 0}",
    "ping_url: {run: https://hc-ping.com/a}",
    "ping_url: 5",
    "notify: 5",
    "derived: 15m",
    "derived: [2h]",
    "notify: [5]",
    "notify: nobody",
    "priority_assets: {symbol: XAUUSD}",
    "priority_assets: [XAUUSD]",
    "priority_assets: [{name: Gold}]",
    "priority_assets: [{symbol: XAUUSD, priority: HIGH}]",
    "priority_assets: [{symbol: ''}]",
    "secondary_assets: [{symbol: XAUUSD, priority: 5}]",
    "secondary_assets: [{symbol: XAUUSD, polygon_ticker: XAU/USD}]",
    "secondary_assets: [{symbol: XAUUSD, asset_type: metal}]",
    "secondary_assets: [{symbol: SPY, asset_type: stocks, extended_hours: 4}]",
    "secondary_assets: [{symbol: XAUUSD, update_frequency_seconds: 0}]",
    "secondary_assets: [{symbol: XAUUSD, ticker: 'C:XAUUSD'}]",
]


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema.Draft202012Validator.check_schema(config_schema())
    return jsonschema.Draft202012Validator(config_schema())


def test_the_file_in_docs_is_up_to_date() -> None:
    assert json.loads((ROOT / "docs" / "config.schema.json").read_text()) == config_schema()


def test_the_shipped_configuration_is_valid_and_names_its_schema(validator: Any) -> None:
    text = (ROOT / "config.yml").read_text()
    assert list(validator.iter_errors(yaml.safe_load(text))) == []
    path = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (ROOT / path).is_file()


def test_the_owner_s_configuration_is_valid(validator: Any, shared_dir: Path) -> None:
    document = yaml.safe_load((shared_dir / "platform" / "production.yml").read_text())
    assert list(validator.iter_errors(document)) == []


def test_what_the_program_takes_is_valid(validator: Any, tmp_path: Path) -> None:
    assert list(validator.iter_errors(yaml.safe_load(RIGHT))) == []
    assert loads(RIGHT, tmp_path)


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_found_as_the_program_finds_it(validator: Any, tmp_path: Path, text: str) -> None:
    assert list(validator.iter_errors(yaml.safe_load(text)))
    assert not loads(text, tmp_path)


def loads(text: str, folder: Path) -> bool:
    file = folder / "config.yml"
    file.write_text(text)
    try:
        load(file, {}, cwd=folder)
    except ConfigError:
        return False
    return True


def test_every_setting_says_what_it_does() -> None:
    definitions = config_schema()["$defs"]
    silent = [
        f"{name}.{key}"
        for name, definition in definitions.items()
        for key, setting in definition.get("properties", {}).items()
        if not any("title" in one for one in (setting, *setting.get("anyOf", [])))
    ]
    assert silent == []
