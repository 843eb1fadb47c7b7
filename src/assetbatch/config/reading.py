"""From the bytes of config.yml to settings, or to all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import yaml

from assetbatch.assets import Asset, AssetPriority, AssetType
from assetbatch.config.checking import KeyPath, Mistake, build, convert, dotted, fits, misfit, unknown_key
from assetbatch.config.documents import compose_yaml, locate, parse_yaml
from assetbatch.config.settings import SECTIONS, Config
from assetbatch.config.urls import PingUrls
from assetbatch.config.wording import kind_of, shown
from assetbatch.secret import may_be_quoted

_CLASSES = {
    "priority_assets": (AssetPriority.CRITICAL,),
    "secondary_assets": (AssetPriority.HIGH, AssetPriority.MEDIUM, AssetPriority.LOW),
}
_DEFAULT_CLASSES = {"priority_assets": AssetPriority.CRITICAL, "secondary_assets": AssetPriority.MEDIUM}
_PREFIXES = {AssetType.FOREX: "C:", AssetType.CRYPTO: "X:"}


class ConfigFile(NamedTuple):
    """A file as it was read; `label` is its name in messages, `path` None for the built-in one."""

    path: Path | None
    label: str
    data: bytes


def read_config(file: ConfigFile, home: Path | None, wrong: list[str]) -> Config:
    """The configuration that the file alone gives; its mistakes are added to `wrong`."""
    try:
        document, mistakes = parse_yaml(file.data)
    except ValueError as error:
        wrong.append(f"{file.label}: {error}")
        return Config(file=file.path)
    document = {} if document is None else document
    if not isinstance(document, dict):
        wrong.append(
            f"{file.label}: found {kind_of(document)}, expected a mapping with sections such as batch"
        )
        return Config(file=file.path)

    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    assets: dict[KeyPath, Asset] = {}
    names = [*SECTIONS, *_CLASSES, "ping_url"]
    for name, raw in document.items():
        if name not in names:
            mistakes.append(unknown_key((), name, names))
        elif raw is None:
            continue  # a section whose every line is commented out
        elif name in SECTIONS:
            section = build(SECTIONS[name], raw, (name,), mistakes)
            if section:
                values[name] = section
                origins |= {f"{name}.{key}": f"{file.label} {name}.{key}" for key in raw}
        elif name in _CLASSES:
            right = _assets(name, raw, mistakes)
            assets |= right
            values[name] = tuple(right.values())
            origins[name] = f"{file.label} {name}"
        elif mistake := misfit(raw, PingUrls, (name,)):
            mistakes.append(mistake)
        else:
            values[name] = convert(raw, PingUrls)
            origins[name] = f"{file.label} {name}"
    _find_twins(assets, mistakes)
    wrong.extend(_tell(file, mistakes))
    config = Config(**values, file=file.path, origins=MappingProxyType(origins))
    return _absolute_paths(config, home)


def _absolute_paths(config: Config, home: Path | None) -> Config:
    """A path in the file starts from the file's folder: cron starts anywhere."""
    written = config.metrics.prometheus_file
    if not (written and config.file):
        return config
    at_home = home / written[2:] if home and written.startswith("~/") else None
    absolute = at_home or config.file.parent / written
    return msgspec.structs.replace(
        config, metrics=msgspec.structs.replace(config.metrics, prometheus_file=str(absolute))
    )


def _assets(name: str, raw: object, mistakes: list[Mistake]) -> dict[KeyPath, Asset]:
    """The assets of a list that are right, each with its place."""
    if not isinstance(raw, list):
        text = f"found {kind_of(raw)}, expected a list of assets with symbol, polygon_ticker and asset_type"
        mistakes.append(Mistake((name,), text))
        return {}
    assets: dict[KeyPath, Asset] = {}
    classes = _CLASSES[name]
    words = {"priority": f"one of {', '.join(classes)}" if len(classes) > 1 else str(classes[0])}
    for index, item in enumerate(raw):
        path = (name, index)
        asset = build(Asset, item, path, mistakes, words)
        given = item.get("priority") if isinstance(item, dict) else None
        if given in list(AssetPriority) and given not in classes:
            text = f"found {shown(given)}, expected {words['priority']}"
            mistakes.append(Mistake((*path, "priority"), text))
        if asset is None:
            continue
        if "priority" not in item:
            asset = msgspec.structs.replace(asset, priority=_DEFAULT_CLASSES[name])
        prefix = _PREFIXES[asset.asset_type]
        if not asset.polygon_ticker.startswith(prefix):
            text = (
                f"found {shown(asset.polygon_ticker)}, expected {prefix} before a {asset.asset_type} ticker"
            )
            mistakes.append(Mistake((*path, "polygon_ticker"), text))
        assets[path] = asset
    return assets


def _find_twins(assets: dict[KeyPath, Asset], mistakes: list[Mistake]) -> None:
    """Two assets of one symbol or one ticker, in whichever list."""
    for key in ("symbol", "polygon_ticker"):
        first: dict[str, KeyPath] = {}
        for path, asset in assets.items():
            value = getattr(asset, key)
            if value in first:
                text = (
                    f"found {shown(value)} again, expected every {key} once (first in {dotted(first[value])})"
                )
                mistakes.append(Mistake((*path, key), text))
            first.setdefault(value, path)


def _tell(file: ConfigFile, mistakes: list[Mistake]) -> Iterator[str]:
    """One text for each mistake, with its line in the file."""
    root = compose_yaml(file.data) if mistakes else None
    for mistake in mistakes:
        node = locate(root, mistake.path)
        line = mistake.line or (node.start_mark.line + 1 if node else 1)
        spelling = _spelling(node, mistake.kind) if mistake.kind else ""
        yield f"{file.label}: {dotted(mistake.path)}: {mistake.text} (line {line}{spelling})"


def _spelling(node: yaml.Node | None, kind: Any) -> str:
    """How a value is written, where YAML reads something else: NO is false, 1:30 is 90."""
    if not isinstance(node, yaml.ScalarNode) or node.style or node.tag.endswith((":str", ":null")):
        return ""
    advice = ": put it in quotes" if fits(node.value, kind) else ""
    plain = node.tag.endswith(":timestamp") or re.fullmatch(
        r"true|false|-?[1-9][0-9.]*|0", node.value.lower()
    )
    return advice if plain or not may_be_quoted(node.value) else f", written {node.value}{advice}"
