"""The JSON Schema of config.yml, generated from the settings for editors.

`python -m assetbatch.config.schema > src/assetbatch/config.schema.json` writes it again. `config check` finds
what a schema cannot say: an unknown pair needs its ticker, and each symbol stands once.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from assetbatch.config.mapping import FILLED, INSTRUMENTS, OPTIONAL, STATES
from assetbatch.config.notify_urls import NotifyUrls
from assetbatch.config.ping_urls import PINGED_COMMANDS, PingUrls
from assetbatch.config.settings import ADDRESSES, ASSET_LISTS, LISTS, SECTIONS, RuleSettings
from assetbatch.config.symbols import MAX_SYMBOL_LENGTH, Symbol
from assetbatch.config.tables import BARS, OF_INSTRUMENTS, TABLES, TableMappings
from assetbatch.config.urls import HttpUrl, ServerUrl

_NAME = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": r"^[^.]+$"}
_RULE = "a rule"
_LIST_TITLES = {
    "priority_assets": "The assets that every run-priority refreshes, in this order",
    "secondary_assets": "The assets that enqueue-secondary queues when they are due",
}


def config_schema() -> dict[str, Any]:
    """Return the schema of a whole file."""
    sections: list[type[msgspec.Struct]] = [*SECTIONS.values(), *ASSET_LISTS.values(), RuleSettings]
    kinds = [
        *map(_without_parsed_defaults, sections),
        *ADDRESSES.values(),
        *LISTS.values(),
    ]
    schemas, definitions = msgspec.json.schema_components(
        kinds, schema_hook=_custom, ref_template="#/$defs/{name}"
    )
    found = dict(zip([*SECTIONS, *ASSET_LISTS, _RULE, *ADDRESSES, *LISTS], schemas, strict=True))
    rule = found.pop(_RULE)
    found["secondary_assets"] = {"anyOf": [found["secondary_assets"], rule]}
    for name in ASSET_LISTS:
        found[name] = {"title": _LIST_TITLES[name], "type": ["array", "null"], "items": found[name]}
    definitions["BatchSettings"]["properties"] |= {name: found[name] for name in ASSET_LISTS}
    properties = {name: one if name in ASSET_LISTS else _or_null(one) for name, one in found.items()}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of assetbatch",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": {name: _tidied(name, one) for name, one in sorted(definitions.items())},
    }
    return _with_ecma_patterns(schema)  # type: ignore[no-any-return]


class _Tables:
    """Stands for `database.tables`, which has a reader of its own."""


def _without_parsed_defaults(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return the same settings with defaults that are JSON."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(kind):
        if field.type is TableMappings:
            fields.append((field.name, _Tables | None, None))
        elif isinstance(field.default, HttpUrl):
            fields.append((field.name, field.type, str(field.default)))
        else:
            fields.append((field.name, field.type, *([] if field.required else [field.default])))
    return msgspec.defstruct(
        kind.__name__, fields, namespace={"__doc__": kind.__doc__}, kw_only=True, forbid_unknown_fields=True
    )


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Allow null: a section whose every line is commented out."""
    return {"anyOf": [schema, {"type": "null"}]}


def _tidied(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    """Return a definition with its docstring's first line as title, instead of the name of a class."""
    sections = {kind.__name__: key for key, kind in SECTIONS.items()}
    summary = definition.pop("description", "").split("\n")[0]
    return definition | {"title": summary or sections.get(name, name)}


def _custom(kind: type) -> dict[str, Any]:
    """Return the schema of a type that reads its own value."""
    if kind is _Tables:
        tables = {name: _or_null(_table(name)) for name in TABLES}
        title = "Your names of the tables and their columns"
        return {"type": "object", "title": title, "properties": tables, "additionalProperties": False}
    if issubclass(kind, Symbol):
        return {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_SYMBOL_LENGTH,
            "description": kind.expected,
        }
    address = {"type": "string", "pattern": "^https?://"}
    if issubclass(kind, PingUrls):
        commands = dict.fromkeys(PINGED_COMMANDS, address)
        one_each = {"type": "object", "properties": commands, "additionalProperties": False}
        return {
            "title": "Addresses of a dead man's switch",
            "description": kind.expected,
            "anyOf": [address, one_each],
        }
    if issubclass(kind, NotifyUrls):
        url = {"type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9+.-]*://\S"}
        return {
            "title": "Services that are told what cron's mail is told",
            "description": kind.expected,
            "anyOf": [url, {"type": "array", "items": url}],
        }
    if issubclass(kind, ServerUrl):
        schemes = "|".join(scheme.replace("+", r"\+") for scheme in kind.schemes)
        return {"type": "string", "pattern": f"^(embedded$|({schemes})://)", "description": kind.expected}
    if issubclass(kind, HttpUrl):
        return {**address, "description": kind.expected}
    raise NotImplementedError(kind)  # how a hook of msgspec says that it does not know a type


def _table(name: str) -> dict[str, Any]:
    """Return the schema of one table in `database.tables`."""
    columns = {
        column: _or_null(_NAME) if column in OPTIONAL.get(name, ()) else _NAME for column in TABLES[name]
    }
    settings: dict[str, Any] = {
        "table": {"type": "string", "pattern": r"^[^.]+\.[^.]+$", "title": "schema.name"}
    }
    if name in OF_INSTRUMENTS:
        settings["instrument"] = {
            "enum": list(INSTRUMENTS),
            "title": "What a text column for the instrument holds",
        }
    if name in BARS:
        settings["missing"] = _mapping(FILLED, "number", "What to write where the provider gives no value")
    if name == "sync_status":
        settings["states"] = _mapping(STATES, "string", "Your words for the states")
    return {
        "type": "object",
        "description": "your names of the columns; each other key is a further column with its value",
        "properties": columns | settings,
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    }


def _mapping(names: tuple[str, ...], kind: str, title: str) -> dict[str, Any]:
    properties = {name: {"type": kind} for name in names}
    return {"type": "object", "title": title, "properties": properties, "additionalProperties": False}


def _with_ecma_patterns(value: Any) -> Any:
    """Return the schema with the end of a pattern as JSON Schema writes it."""
    if isinstance(value, dict):
        return {
            key: one.replace(r"\Z", "$") if key == "pattern" else _with_ecma_patterns(one)
            for key, one in value.items()
        }
    return [_with_ecma_patterns(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(config_schema()), indent=2) + b"\n")
