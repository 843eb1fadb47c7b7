"""Reads YAML without its silent surprises."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from assetbatch.config.checking import ConfigProblem, KeyPath
from assetbatch.secret import masked_prose

_DEEPEST = 50

# libyaml's parser where PyYAML was built with it: ten times faster
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # the base is chosen when it runs
    """A safe loader whose every failure is a YAMLError."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError):
            # such as the date 2024-13-45, `!!int many`, or a number of more digits than Python reads
            tag = node.tag.removeprefix("tag:yaml.org,2002:")
            raise yaml.constructor.ConstructorError(
                None, None, f"found a value that is no {tag}", node.start_mark
            ) from None


def parse_yaml(data: bytes) -> tuple[object, list[ConfigProblem]]:
    """Return the one document of a file (None if it is empty), and the keys that a mapping names twice.

    PyYAML would silently take the last of such keys. Raise ValueError, with what and where, for anything
    that is not one YAML document in UTF-8.
    """
    text = _text(data)
    try:
        _refuse_depth(text)
        with _no_collection():
            return _constructed(_Loader(text))
    except yaml.MarkedYAMLError as error:
        raise ValueError(_reason(error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line}: {error.reason}") from None
    except RecursionError:
        raise ValueError("a << that leads back to itself") from None


def _constructed(loader: _Loader) -> tuple[object, list[ConfigProblem]]:
    node = loader.get_single_node()
    if node is None:
        return None, []
    duplicates = _duplicates(node)  # before merge keys put keys beside those that replace them
    return loader.construct_document(node), duplicates


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from looking through the nodes while they grow: of 10,000 assets that is a
    quarter of the time. They hold no cycles, and are gone when it starts again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def compose_yaml(data: bytes) -> yaml.Node | None:
    """Return the nodes of a document that `parse_yaml` could read. They know their lines and spelling."""
    return yaml.compose(_text(data), Loader=_Loader)


def locate(root: yaml.Node | None, path: KeyPath) -> yaml.Node | None:
    """Return the node at a key path, or the nearest above it (a key may be missing)."""
    node = root
    for step in path:
        below = None
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            below = node.value[step]
        elif isinstance(node, yaml.MappingNode):
            below = next((value for key, value in node.value if key.value == step), None)
        if below is None:
            break
        node = below
    return node


def _refuse_depth(text: str) -> None:
    """Raise ValueError for deep nesting, which ends PyYAML's C composer with a segmentation fault."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ValueError(f"line {line}: nested more than {_DEEPEST} deep")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: not UTF-8") from None


def _reason(error: yaml.MarkedYAMLError) -> str:
    """Return line, column and problem without the snippet that PyYAML adds: it may show a password."""
    mark, begun = error.problem_mark or error.context_mark, error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    context = error.context
    if context and begun and mark and begun.line != mark.line:
        context += f" that begins in line {begun.line + 1}"
    problem = ", ".join(filter(None, (context, error.problem)))
    return place + masked_prose(re.sub(r"(alias|anchor|tag|handle) ['\"].*['\"]", r"\1", problem))


def _duplicates(root: yaml.Node) -> list[ConfigProblem]:
    """Return a problem for every key that its mapping has already named."""
    problems: list[ConfigProblem] = []
    waiting: list[tuple[yaml.Node, KeyPath]] = [(root, ())]
    seen = set()
    while waiting:
        node, path = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend((item, (*path, index)) for index, item in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            first: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                name, line = (key.tag, key.value), key.start_mark.line + 1
                if name in first:
                    text = f"is there twice, first in line {first[name]}"
                    problems.append(ConfigProblem((*path, key.value), text, line=line))
                first.setdefault(name, line)
                waiting.append((value, (*path, key.value)))
    return problems
