"""The effective configuration as lines for a person."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import UNSET

from assetbatch.config.notify_urls import NotifyUrls
from assetbatch.config.ping_urls import PingUrls
from assetbatch.config.settings import ADDRESSES, ASSET_LISTS, LISTS, SECTIONS, Config, PlanSettings
from assetbatch.config.tables import TABLES, TableMapping, TableMappings
from assetbatch.config.urls import HttpUrl, ServerUrl
from assetbatch.domain.assets import Asset, Rule
from assetbatch.domain.bar_sizes import BarSize
from assetbatch.domain.formatting import plural
from assetbatch.secret import Secret, masked, masked_name


class Shown(NamedTuple):
    """A setting's key path, its value with secrets masked, and where it came from."""

    path: str
    value: str
    origin: str


def effective(config: Config) -> list[Shown]:
    """Return every setting in the order of config.yml, sections first.

    An asset is one line, and one more for each key that follows from others.
    """

    def line(path: str, value: str, source: str | None = None) -> Shown:
        return Shown(path, value, config.origins.get(source or path, "default"))

    lines = [line("api_key", _text(config.api_key))]
    lines += [line(name, _text(getattr(config, name))) for name in ADDRESSES]
    lines += [line(name, ", ".join(getattr(config, name)) or "none") for name in LISTS]
    for name in SECTIONS:
        section = getattr(config, name)
        for key in section.__struct_fields__:
            if key == "tables":
                origin = config.origins.get("database.tables", "default")
                lines += [Shown(path, value, origin) for path, value in _tables(section.tables)]
            elif key == "plans":
                lines.append(line(f"{name}.{key}", _plans(section.plans)))
            elif key == "calls_per_minute":
                lines.append(_calls_per_minute(config))
            elif config.sandbox and (name, key) == ("provider", "base_url"):
                lines.append(Shown("provider.base_url", "a simulated provider on this machine", "--sandbox"))
            else:
                lines.append(line(f"{name}.{key}", _text(getattr(section, key))))
    for name in ASSET_LISTS:
        for index, asset in enumerate(getattr(config, name)):
            path = f"{name}[{index}]"
            lines.append(line(path, _asset(asset), name))
            lines += [
                line(f"{path}.{key}", str(getattr(asset, key)))
                for key in ("polygon_ticker", "asset_type")
                if f"{path}.{key}" in config.origins
            ]
    lines += [
        line(f"secondary_assets[{index}]", _rule(rule), "secondary_assets")
        for index, rule in enumerate(config.rules, len(config.secondary_assets))
    ]
    return lines


def _text(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, HttpUrl):
        return value.masked()
    if isinstance(value, ServerUrl | PingUrls | NotifyUrls | Secret):  # these mask themselves
        return str(value)
    return f"{value:g}" if isinstance(value, float) else masked(str(value))


def _tables(tables: TableMappings) -> list[tuple[str, str]]:
    """Return every configured name with its path."""
    found = []
    for name in TABLES:
        table: TableMapping = getattr(tables, name)
        named: dict[str, object] = {"table": table.table, **table.columns, "instrument": table.instrument}
        entries = {
            key: "null" if key in table.columns and value is None else value for key, value in named.items()
        }
        entries |= table.constants
        entries |= {f"missing.{column}": value for column, value in table.missing.items()}
        entries |= {f"states.{state}": word for state, word in table.states.items()}
        found += [
            (f"database.tables.{name}.{masked_name(key)}", _text(value))
            for key, value in entries.items()
            if value is not None
        ]
    return found or [("database.tables", _text(None))]


def _plans(plans: PlanSettings) -> str:
    written = {key: plan for key, plan in msgspec.structs.asdict(plans).items() if plan is not UNSET}
    return ", ".join(f"{key}: {plan}" for key, plan in written.items()) or "the tier for all"


def _calls_per_minute(config: Config) -> Shown:
    path = "rate_limiting.calls_per_minute"
    calls, origin = config.rate_limiting.calls_per_minute, config.origins.get(path, "default")
    if calls is UNSET:
        plans = dict.fromkeys(map(config.rate_limiting.plan_of, config.products))
        calls, origin = config.rate_limiting.calls_of(config.products), f"default of {', '.join(plans)}"
    return Shown(path, "unlimited" if calls is None else str(calls), origin)


def _rule(rule: Rule) -> str:
    words = [f"every {rule.every}"]
    narrowed = {"exchange": rule.exchange, "type": rule.kind, "quote": rule.quote}
    words += [f"of {key} {', '.join(some)}" for key, some in narrowed.items() if some]
    words += [str(rule.priority), f"every {rule.update_frequency_seconds} s", *_of_bars(rule.bars)]
    if rule.extended_hours:
        words.append("extended hours")
    if rule.years_of_days:
        words.append(f"{plural(rule.years_of_days, 'year')} of days")
    if not rule.enabled:
        words.append("switched off")
    return " ".join(words)


def _of_bars(bars: BarSize) -> list[str]:
    if not bars:
        return ["without bars"]
    return [] if bars is BarSize.FIVE_MINUTES else [f"bars of {bars}"]


def _asset(asset: Asset) -> str:
    words = [masked_name(asset.symbol), asset.polygon_ticker, asset.asset_type, asset.priority]
    words += [f"every {asset.update_frequency_seconds} s", *_of_bars(asset.bars)]
    if asset.extended_hours:
        words.append("extended hours")
    if not asset.enabled:
        words.append("switched off")
    return " ".join(words)
