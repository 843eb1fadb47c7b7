"""Reads the bytes of config.yml into settings, or into all that is wrong with them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import yaml
from msgspec import UNSET

from assetbatch.config.checking import (
    ConfigProblem,
    KeyPath,
    build,
    convert,
    dotted,
    fits,
    unknown_key,
    validation_errors,
)
from assetbatch.config.documents import compose_yaml, locate, parse_yaml
from assetbatch.config.settings import (
    ADDRESSES,
    ASSET_LISTS,
    LISTS,
    SECTIONS,
    YEARS_OF_DAYS,
    AssetSettings,
    Config,
    RuleSettings,
)
from assetbatch.config.symbols import Symbol, derive, plain
from assetbatch.config.urls import ServerUrl, UrlNames
from assetbatch.config.wording import kind_of, named, nearest, shown
from assetbatch.domain.asset_classes import (
    AssetClass,
    AssetType,
    class_of,
    class_of_type,
    examples_in_words,
)
from assetbatch.domain.assets import Asset, AssetPriority, Rule
from assetbatch.domain.bar_sizes import BarSize, as_bar_size
from assetbatch.secret import masked_name, may_be_quoted

_CLASSES: Mapping[object, AssetPriority] = {
    UNSET: AssetPriority.MEDIUM,
    2: AssetPriority.HIGH,
    3: AssetPriority.MEDIUM,
    4: AssetPriority.LOW,
    **{priority.value: priority for priority in AssetPriority},
}
"""The written priorities of secondary assets; UNSET is an absent one."""

FROM_SYMBOL = "derived from the symbol"
"""The origin of a ticker and a type that are absent."""

FROM_TICKER = "derived from the polygon_ticker"
"""The origin of a type if only the ticker is written."""


RULE_KEY = "every"
"""The key by which an entry of a list is a rule and no asset."""


class ConfigFile(NamedTuple):
    """A file as it was read. `label` is its name in messages, `path` is None for the built-in one."""

    path: Path | None
    label: str
    data: bytes


def read_config(file: ConfigFile, home: Path | None, wrong: list[str]) -> Config:
    """Return the configuration of the file alone; add its problems to `wrong`."""
    try:
        document, problems = parse_yaml(file.data)
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
    lists = _AssetLists(file, problems)
    kinds = {**LISTS, **ADDRESSES}
    names = [*SECTIONS, *ASSET_LISTS, *kinds]
    for name, raw in document.items():
        if name not in names:
            problems.append(unknown_key((), name, names))
        elif raw is None:
            continue  # a section whose every line is commented out
        elif name in SECTIONS:
            section = _section(name, raw, lists, problems)
            if section:
                values[name] = section
                origins |= {
                    f"{name}.{key}": f"{file.label} {name}.{key}"
                    for key in raw
                    if key in section.__struct_fields__
                }
        elif name in ASSET_LISTS:
            lists.add(name, (name,), raw)
        elif unfit := validation_errors(raw, kinds[name], (name,)):
            problems += unfit
        else:
            values[name] = convert(raw, kinds[name])
            origins[name] = f"{file.label} {name}"
    _find_duplicates(lists.assets, problems)
    _find_equal_rules(lists.rules, problems)
    wrong.extend(_tell(file, problems))
    values |= lists.values
    values["rules"] = tuple(lists.rules.values())
    config = Config(**values, file=file.path, origins=MappingProxyType(origins | lists.origins))
    paths = ("database.url", "redis.url", *ADDRESSES)
    secrets = tuple(path for path in paths if _holds_secret(config, path))
    config = msgspec.structs.replace(config, secrets_in_file=secrets)
    return _absolute_paths(_with_names(config), home)


def _holds_secret(config: Config, path: str) -> bool:
    if path in ADDRESSES:
        return bool(getattr(config, path))
    url: ServerUrl | None = getattr(config, path.partition(".")[0]).url
    return url is not None and url.holds_secret


def _with_names(config: Config) -> Config:
    """Let the URLs of the file know what they are called there, for hints."""
    for name in ("database", "redis"):
        section = getattr(config, name)
        if section.url:
            place = named(config.origins[f"{name}.url"])
            section = msgspec.structs.replace(section, url=section.url.called(UrlNames(place, place, place)))
            config = msgspec.structs.replace(config, **{name: section})
    return config


def _absolute_paths(config: Config, home: Path | None) -> Config:
    """Let a path in the file start from the file's folder: cron starts anywhere."""
    written = config.metrics.prometheus_file
    if not (written and config.file):
        return config
    at_home = home / written[2:] if home and written.startswith("~/") else None
    absolute = at_home or config.file.parent / written
    return msgspec.structs.replace(
        config, metrics=msgspec.structs.replace(config.metrics, prometheus_file=str(absolute))
    )


def _section(name: str, raw: object, lists: _AssetLists, problems: list[ConfigProblem]) -> Any:
    """Return a section from its mapping, or None. Add lists of assets that stand in `batch` to `lists`."""
    others: Sequence[str] = ()
    tables: object = None
    if name == "batch":
        others = tuple(ASSET_LISTS)
        if isinstance(raw, dict):
            for key in others:
                if raw.get(key) is not None:
                    lists.add(key, (name, key), raw[key])
            raw = {key: value for key, value in raw.items() if key not in others}
    elif name == "database" and isinstance(raw, dict):
        tables = raw.get("tables")
        raw = {key: value for key, value in raw.items() if key != "tables"}
    section = build(SECTIONS[name], raw, (name,), problems, others)
    if tables is not None:
        from assetbatch.config.mapping import read_tables  # few have it

        mapped = read_tables(tables, (name, "tables"), problems)
        section = section and msgspec.structs.replace(section, tables=mapped)
    return section


class _Placed(NamedTuple):
    """A right asset, with its place in the file and the origins of its absent keys.

    Without a number, the number is infinite.
    """

    path: KeyPath
    asset: Asset
    number: float
    origins: Mapping[str, str]


class _AssetLists:
    """The lists of assets, wherever they are written."""

    def __init__(self, file: ConfigFile, problems: list[ConfigProblem]) -> None:
        self._label = file.label
        self._problems = problems
        self._places: dict[str, KeyPath] = {}
        self.assets: dict[KeyPath, Asset] = {}
        """All right assets by their places in the file."""
        self.rules: dict[KeyPath, Rule] = {}
        """All right rules by their places in the file."""
        self.values: dict[str, tuple[Asset, ...]] = {}
        self.origins: dict[str, str] = {}

    def add(self, name: str, path: KeyPath, raw: object) -> None:
        """Read the list `name`, which is written at `path`."""
        if name in self._places:
            text = f"found besides {dotted(self._places[name])}, expected only one of them"
            self._problems.append(ConfigProblem(path, text))
            return
        self._places[name] = path
        if not isinstance(raw, list):
            text = f"found {kind_of(raw)}, expected a list of assets, each with its symbol"
            self._problems.append(ConfigProblem(path, text))
            return
        placed = []
        for index, item in enumerate(raw):
            where = (*path, index)
            if isinstance(item, dict) and RULE_KEY in item and "symbol" not in item:
                if rule := _rule(item, where, name, self._problems):
                    self.rules[where] = rule
                continue
            if isinstance(item, str):
                self._problems.append(ConfigProblem(where, _only_a_symbol(item)))
                continue
            settings = build(ASSET_LISTS[name], item, where, self._problems)
            if settings is None:
                self._problems += _ticker_too(item, where)
            elif asset := _asset(settings, where, name, self._problems):
                placed.append(asset)
        self.assets |= {one.path: one.asset for one in placed}
        placed.sort(key=lambda one: one.number)
        self.values[name] = tuple(one.asset for one in placed)
        self.origins[name] = f"{self._label} {dotted(path)}"
        for index, one in enumerate(placed):
            self.origins |= {f"{name}[{index}].{key}": origin for key, origin in one.origins.items()}


def _only_a_symbol(item: str) -> str:
    """Return what is wrong with an entry that is a text."""
    example = item if may_be_quoted(item) else "EURUSD"
    return f"found a text, expected a mapping with the keys of an asset, such as {{symbol: {example}}}"


def _ticker_too(item: object, path: KeyPath) -> list[ConfigProblem]:
    """Return the problem of the ticker of an asset that has other problems already, so that all are told at
    once. A type that is none counts as the one that it is nearly."""
    if not isinstance(item, dict) or "polygon_ticker" in item or not fits(item.get("symbol"), Symbol):
        return []
    written = item.get("asset_type")
    of = written if fits(written, AssetType) else nearest(written, AssetType)
    of_type = AssetType(of) if of else None
    return [] if derive(item["symbol"], of_type) else [_undetermined(item["symbol"], of_type, path)]


def _asset(
    settings: AssetSettings, path: KeyPath, name: str, problems: list[ConfigProblem]
) -> _Placed | None:
    """Return the asset that settings describe; add a problem and return None if its ticker is not known."""
    symbol, ticker, asset_type = str(settings.symbol), settings.polygon_ticker, settings.asset_type
    origins: dict[str, str] = {}
    if ticker is UNSET:
        of_type = None if asset_type is UNSET else asset_type
        derived = derive(symbol, of_type)
        if derived is None:
            problems.append(_undetermined(symbol, of_type, path))
            return None
        origins["polygon_ticker"] = FROM_SYMBOL
        if asset_type is UNSET:
            origins["asset_type"] = FROM_SYMBOL
        ticker, asset_type = derived
    elif asset_type is UNSET and (pair := _pair_without_prefix(ticker)):
        text = f"found {shown(ticker)}, expected {pair}, or asset_type: stocks beside a stock's ticker"
        problems.append(ConfigProblem((*path, "polygon_ticker"), text))
        return None
    elif asset_type is UNSET:
        asset_type = class_of(ticker).asset_type
        origins["asset_type"] = FROM_TICKER
    elif asset_type is not class_of(ticker).asset_type:
        problems.append(ConfigProblem((*path, "polygon_ticker"), _wrong_prefix(ticker, asset_type)))
    if settings.extended_hours and not class_of(ticker).extended_market:
        text = f"found true, expected false: {asset_type} have no extended hours"
        problems.append(ConfigProblem((*path, "extended_hours"), text))
    given, number = settings.priority, math.inf
    if name == "priority_assets":
        priority = AssetPriority.CRITICAL
        number = given if isinstance(given, int) else number
    else:
        priority = _CLASSES[given]
    asset = Asset(
        symbol=symbol,
        polygon_ticker=ticker,
        asset_type=asset_type,
        name=settings.name,
        priority=priority,
        update_frequency_seconds=settings.update_frequency_seconds,
        enabled=settings.enabled,
        bars=as_bar_size(settings.bars) if class_of(ticker).has_bars else BarSize.NONE,
        extended_hours=settings.extended_hours,
    )
    return _Placed(path, asset, number, origins)


def _rule(raw: object, path: KeyPath, name: str, problems: list[ConfigProblem]) -> Rule | None:
    """Return the rule that an entry of a list describes; add all its problems and return None if it has
    any."""
    if name != "secondary_assets":
        text = "found a rule, expected an asset with its symbol: a rule belongs into secondary_assets"
        problems.append(ConfigProblem((*path, RULE_KEY), text))
        return None
    settings = build(RuleSettings, raw, path, problems)
    if settings is None:
        return None
    of = class_of_type(settings.every)
    narrowed = {"exchange": settings.exchange, "type": settings.type, "quote": settings.quote}
    foreign = [key for key, value in narrowed.items() if value is not UNSET and key not in _narrowed_by(of)]
    for key in foreign:
        allowed = " and ".join(_narrowed_by(of)) or "nothing"
        text = f"found {key} for {settings.every}, expected {allowed} to narrow it"
        problems.append(ConfigProblem((*path, key), text))
    if settings.extended_hours and not of.extended_market:
        foreign.append("extended_hours")
        text = f"found true, expected false: {settings.every} have no extended hours"
        problems.append(ConfigProblem((*path, "extended_hours"), text))
    if foreign:
        return None
    bars = as_bar_size(settings.bars) if of.has_bars else BarSize.NONE
    default_years = YEARS_OF_DAYS if not bars and of.grouped_market else 0
    return Rule(
        every=settings.every,
        exchange=_several(settings.exchange),
        kind=_several(settings.type),
        quote=_several(settings.quote),
        priority=_CLASSES[settings.priority],
        update_frequency_seconds=settings.update_frequency_seconds,
        enabled=settings.enabled,
        bars=bars,
        extended_hours=settings.extended_hours,
        years_of_days=default_years if settings.years_of_days is UNSET else settings.years_of_days,
    )


def _narrowed_by(of: AssetClass) -> tuple[str, ...]:
    """Return the keys that narrow a market: pairs have a currency, stocks an exchange and a type."""
    if of.quotes:
        return ("quote",)
    return ("exchange", "type") if of.asset_type is AssetType.STOCKS else ()


def _several(written: str | tuple[str, ...] | msgspec.UnsetType) -> tuple[str, ...]:
    if written is UNSET:
        return ()
    return (written,) if isinstance(written, str) else tuple(dict.fromkeys(written))


def _find_equal_rules(rules: Mapping[KeyPath, Rule], problems: list[ConfigProblem]) -> None:
    """Report two rules for the same assets."""
    first: dict[str, KeyPath] = {}
    for path, rule in rules.items():
        if rule.key in first:
            text = f"found the same rule again, expected it once (first in {dotted(first[rule.key])})"
            problems.append(ConfigProblem((*path, RULE_KEY), text))
        first.setdefault(rule.key, path)


def _pair_without_prefix(ticker: str) -> str | None:
    """Return the ticker that is meant where a pair without its prefix looks like a stock."""
    derived = derive(ticker) if class_of(ticker).asset_type is AssetType.STOCKS else None
    return derived and derived.polygon_ticker


def _wrong_prefix(ticker: str, asset_type: AssetType) -> str:
    prefix, name = class_of_type(asset_type).prefix, ticker.rpartition(":")[2]
    article = "an" if asset_type[0] in "aeiou" else "a"
    right = (
        f"{prefix} before {article} {asset_type} ticker"
        if prefix
        else f"{shown(name)}: {asset_type} have no prefix"
    )
    return f"found {shown(ticker)}, expected {right}"


def _undetermined(symbol: str, asset_type: AssetType | None, path: KeyPath) -> ConfigProblem:
    """Return why no ticker follows from a symbol: it is of another type, no pair of known names, or no ticker
    of the written type."""
    found = f"the symbol {symbol!r}" if may_be_quoted(symbol) else "the symbol"
    if asset_type and (other := derive(symbol)):
        text = f"found {asset_type.value!r}, but {found} is of {other.asset_type}: write asset_type: "
        text += f"{other.asset_type}, or the polygon_ticker of the asset"
        return ConfigProblem((*path, "asset_type"), text)
    stock = _as_stock(symbol)
    if asset_type is None:
        wanted = examples_in_words(one for one in AssetType if class_of_type(one).prefix)
        if_stock = f"write polygon_ticker: {stock} if it is a stock, else" if stock else "write"
        text = f"no pair of known names: {if_stock} the provider's name with its prefix, such as {wanted}"
    else:
        of, wanted = class_of_type(asset_type), examples_in_words([asset_type])
        if of.is_named_by_ticker:
            wanted = stock if stock and asset_type is AssetType.STOCKS else wanted
            text = f"no ticker of {asset_type}: write the provider's name, such as {wanted}"
        else:
            text = f"no {asset_type} pair of known names: write the provider's name with its prefix, such as "
            text += wanted
    return ConfigProblem((*path, "polygon_ticker"), f"missing, and {found} is {text}")


def _as_stock(symbol: str) -> str | None:
    """Return the ticker that a symbol most likely means, if it is a stock: BRK.B for BRK-B and brk/b."""
    for spelling in (symbol, re.sub("[-/_ ]", ".", symbol.upper())):
        derived = derive(spelling, AssetType.STOCKS)
        _, _, share_class = spelling.partition(".")
        if derived and len(share_class) <= 2 and may_be_quoted(derived.polygon_ticker):
            return derived.polygon_ticker
    return None


def _find_duplicates(assets: Mapping[KeyPath, Asset], problems: list[ConfigProblem]) -> None:
    """Report two assets of one symbol or one ticker, in whichever list.

    One ticker under two spellings of a symbol is a warning (see `lookalikes`): a platform may tell them
    apart.
    """
    for key in ("symbol", "polygon_ticker"):
        first: dict[str, KeyPath] = {}
        for path, asset in assets.items():
            value = getattr(asset, key)
            earlier = assets[first[value]].symbol if value in first else None
            if earlier is not None and (earlier == asset.symbol or plain(earlier) != plain(asset.symbol)):
                text = (
                    f"found {masked_name(value)!r} again, "
                    f"expected every {key} once (first in {dotted(first[value])})"
                )
                problems.append(ConfigProblem((*path, key), text))
            first.setdefault(value, path)


def _tell(file: ConfigFile, problems: list[ConfigProblem]) -> Iterator[str]:
    """Yield one text for each problem, with its line in the file."""
    root = compose_yaml(file.data) if problems else None
    for problem in problems:
        node = locate(root, problem.path)
        line = problem.line or (node.start_mark.line + 1 if node else 1)
        spelling = _spelling(node, problem.kind) if problem.kind else ""
        yield f"{file.label}: {dotted(problem.path)}: {problem.text} (line {line}{spelling})"


def _spelling(node: yaml.Node | None, kind: Any) -> str:
    """Return how a value is written if YAML reads something else: NO is false, 1:30 is 90."""
    if not isinstance(node, yaml.ScalarNode) or node.style or node.tag.endswith((":str", ":null")):
        return ""
    advice = ": put it in quotes" if fits(node.value, kind) else ""
    plain = node.tag.endswith(":timestamp") or re.fullmatch(
        r"true|false|-?[1-9][0-9.]*|0", node.value.lower()
    )
    return advice if plain or not may_be_quoted(node.value) else f", written {node.value}{advice}"
