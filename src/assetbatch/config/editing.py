"""Changes single settings in the text of a config.yml. Comments and all other settings stay as they are.

Each change is checked: the new text must mean what the old one meant, with this change and no other. A text
for which that cannot be done (anchors, merge keys, unusual styles) is refused with the line to change.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from assetbatch.config.documents import compose_yaml, parse_yaml
from assetbatch.errors import ConfigError

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_UNSEEN = re.compile(r"[\x7f-\xa0\u2028\u2029\ufeff]")
"""What YAML takes for a line break or refuses, and JSON leaves as it is."""


def set_setting(text: str, section: str, key: str, value: str | int | None) -> str:
    """Return the text with the setting `section.key` set to a value; raise ConfigError."""

    def wanted(document: dict[str, Any]) -> None:
        document[section] = {**(document.get(section) or {}), key: value}

    return _checked(
        text,
        lambda: _with_setting(text, section, key, scalar(value)),
        wanted,
        f"{section}.{key}: {scalar(value)}",
    )


def add_assets(text: str, name: str, assets: Sequence[Mapping[str, Any]]) -> str:
    """Return the text with assets added at the end of the list `name`; raise ConfigError."""
    if not assets:
        return text
    entries = [flow(asset) for asset in assets]

    def wanted(document: dict[str, Any]) -> None:
        holder = _holder(document, name)
        holder[name] = [*(holder.get(name) or []), *map(dict, assets)]

    return _checked(
        text,
        lambda: _with_entries(text, name, entries),
        wanted,
        f"{name}: {', '.join(entries)}",
    )


def keep_assets(text: str, name: str, symbols: Sequence[str]) -> str:
    """Return the text with those assets of the list `name` that have one of these symbols, and its rules."""

    def wanted(document: dict[str, Any]) -> None:
        holder = _holder(document, name)
        holder[name] = [
            one for one in holder.get(name) or [] if "symbol" not in one or one["symbol"] in symbols
        ] or None

    return _checked(text, lambda: _without_others(text, name, symbols), wanted, f"{name}: {list(symbols)}")


def scalar(value: str | int | None) -> str:
    """Return a value as YAML that means it in a block and in a flow."""
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    plain = _PLAIN.fullmatch(value) and yaml.safe_load(value) == value
    return value if plain else _UNSEEN.sub(_escaped, json.dumps(value, ensure_ascii=False))


def _escaped(character: re.Match[str]) -> str:
    return f"\\u{ord(character.group()):04x}"


def flow(mapping: Mapping[str, Any]) -> str:
    """Return a mapping in one line."""
    return "{" + ", ".join(f"{key}: {scalar(value)}" for key, value in mapping.items()) + "}"


def _checked(
    text: str, change: Callable[[], str], wanted: Callable[[dict[str, Any]], None], line: str
) -> str:
    """Return the changed text if it means what is wanted; else raise ConfigError with the line to write."""
    before, _ = parse_yaml(text.encode())
    expected = copy.deepcopy(before) if isinstance(before, dict) else {}
    wanted(expected)
    try:
        changed = change()
        found, twice = parse_yaml(changed.encode())
    except (ValueError, LookupError, yaml.YAMLError):
        found, twice, changed = None, [], text
    if found != expected or twice:
        raise ConfigError(
            "this config.yml is written in a way that setup does not change by itself",
            hint=f"write this into it by hand, then run setup again: {line}",
        )
    return changed


def _with_setting(text: str, section: str, key: str, value: str) -> str:
    root = compose_yaml(text.encode())
    found = _entry(root, section)
    if found is None:
        return f"{_ended(text)}\n{section}:\n  {key}: {value}\n"
    name, node = found
    if isinstance(node, yaml.ScalarNode):  # null: nothing is written there, or the word
        if node.start_mark.index == node.end_mark.index:
            return _insert_line_after(text, name.end_mark.index, f"  {key}: {value}")
        return _replaced(text, node, f"{{{key}: {value}}}")
    inner = _entry(node, key)
    if inner is not None:
        return _replaced(text, inner[1], value)
    if node.flow_style:
        at = node.start_mark.index + 1
        return f"{text[:at]}{key}: {value}{', ' if node.value else ''}{text[at:]}"
    first = node.value[0][0].start_mark
    at = first.index - first.column
    return f"{text[:at]}{' ' * first.column}{key}: {value}\n{text[at:]}"


def _with_entries(text: str, name: str, entries: Sequence[str]) -> str:
    found = _list(compose_yaml(text.encode()), name)
    if found is None:
        lines = "".join(f"  - {entry}\n" for entry in entries)
        return f"{_ended(text)}\n{name}:\n{lines}"
    key, node = found
    if isinstance(node, yaml.ScalarNode):
        if node.start_mark.index == node.end_mark.index:
            indent = " " * (key.start_mark.column + 2)
            lines = "\n".join(f"{indent}- {entry}" for entry in entries)
            return _insert_line_after(text, key.end_mark.index, lines)
        return _replaced(text, node, f"[{', '.join(entries)}]")
    if node.flow_style:
        at = node.end_mark.index - 1
        head = text[:at].rstrip().removesuffix(",") if node.value else text[:at]
        return f"{head}{', ' if node.value else ''}{', '.join(entries)}{text[at:]}"
    indent = " " * node.start_mark.column
    lines = "\n".join(f"{indent}- {entry}" for entry in entries)
    return _insert_line_after(text, _end(node), lines)


def _without_others(text: str, name: str, symbols: Sequence[str]) -> str:
    found = _list(compose_yaml(text.encode()), name)
    if found is None or isinstance(found[1], yaml.ScalarNode):
        return text
    node = found[1]
    for item in reversed(node.value):
        symbol = _entry(item, "symbol")
        if symbol is not None and symbol[1].value not in symbols:
            begin = text.rindex("\n", 0, item.start_mark.index) + 1
            end = _line_end(text, _end(item))
            text = text[:begin] + text[end:]
    return re.sub(r"\n{3,}", "\n\n", text)


def _holder(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the mapping that has the list: the document, or its section `batch`."""
    batch = document.get("batch")
    return batch if isinstance(batch, dict) and name in batch else document


def _list(root: Any, name: str) -> tuple[Any, Any] | None:
    batch = _entry(root, "batch")
    return _entry(root, name) or (_entry(batch[1], name) if batch else None)


def _entry(node: Any, name: str) -> tuple[Any, Any] | None:
    """Return the nodes of a key and of its value, or None."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((pair for pair in pairs if pair[0].value == name), None)


def _end(node: Any) -> int:
    """Return the index behind the last letter of a node, without the comments that follow a block."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    return max(map(_end, _children(node)))


def _children(node: Any) -> Iterator[Any]:
    for one in node.value:
        yield from one if isinstance(one, tuple) else (one,)


def _replaced(text: str, node: Any, value: str) -> str:
    """Put a value in the place of a node's. The comment behind it stays in its column if it can."""
    begin, end = node.start_mark.index, node.end_mark.index
    if begin == end:
        return f"{text[:begin]} {value}{text[end:]}"
    rest = text[end:]
    if gap := re.match(r"( {2,})#", rest):
        rest = " " * max(2, len(gap[1]) + (end - begin) - len(value)) + rest[len(gap[1]) :]
    return f"{text[:begin]}{value}{rest}"


def _insert_line_after(text: str, index: int, lines: str) -> str:
    at = _line_end(text, index)
    return f"{_ended(text[:at])}{lines}\n{text[at:]}"


def _line_end(text: str, index: int) -> int:
    """Return the index behind the line that holds `index`."""
    if text[index - 1 : index] == "\n":
        return index
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
