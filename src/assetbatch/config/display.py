"""The effective configuration as lines for a person."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import UNSET

from assetbatch.assets import Asset
from assetbatch.config.settings import SECTIONS, Config
from assetbatch.config.urls import HttpUrl, PingUrls, ServerUrl
from assetbatch.secret import Secret, masked


class Shown(NamedTuple):
    """A setting's key path, its value with secrets masked, and where it came from."""

    path: str
    value: str
    origin: str


def effective(config: Config) -> list[Shown]:
    """Every setting in the order of config.yml, sections first; an asset is one line."""

    def line(path: str, value: str, source: str | None = None) -> Shown:
        return Shown(path, value, config.origins.get(source or path, "default"))

    lines = [line("api_key", _text(config.api_key)), line("ping_url", _text(config.ping_url))]
    for name in SECTIONS:
        section = getattr(config, name)
        for key in section.__struct_fields__:
            if key == "calls_per_minute":
                lines.append(_calls_per_minute(config))
            elif config.sandbox and (name, key) == ("provider", "base_url"):
                lines.append(Shown("provider.base_url", "a simulated vendor on this machine", "--sandbox"))
            else:
                lines.append(line(f"{name}.{key}", _text(getattr(section, key))))
    for name in ("priority_assets", "secondary_assets"):
        lines += [
            line(f"{name}[{index}]", _asset(asset), name) for index, asset in enumerate(getattr(config, name))
        ]
    return lines


def _text(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, HttpUrl):
        return value.masked()
    if isinstance(value, ServerUrl | PingUrls | Secret):  # these mask themselves
        return str(value)
    return f"{value:g}" if isinstance(value, float) else masked(str(value))


def _calls_per_minute(config: Config) -> Shown:
    path = "rate_limiting.calls_per_minute"
    calls, origin = config.rate_limiting.calls_per_minute, config.origins.get(path, "default")
    if calls is UNSET:
        calls, origin = config.tier.rate_limit, f"default of {config.rate_limiting.tier}"
    return Shown(path, "unlimited" if calls is None else str(calls), origin)


def _asset(asset: Asset) -> str:
    words = [asset.symbol, asset.polygon_ticker, asset.asset_type, asset.priority]
    words.append(f"every {asset.update_frequency_seconds} s")
    if not asset.bars:
        words.append("without bars")
    if not asset.enabled:
        words.append("switched off")
    return " ".join(words)
