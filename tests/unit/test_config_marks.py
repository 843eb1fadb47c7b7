"""A mark is planted in every variable and every setting there is; nothing that is said or shown has it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from assetbatch.config import load
from assetbatch.config.display import effective
from assetbatch.config.options import check_options
from assetbatch.config.settings import ASSET_LISTS, SECTIONS, Config
from assetbatch.config.tables import TABLES
from assetbatch.errors import ConfigError

MARK = "M4rkZk3vP9sQ1xT7bN5mR2wY8cL4dF6g"
SHAPES = [
    MARK,
    f"free; POLYGON_API_KEY={MARK}",
    f"free;{MARK}",
    f"{MARK}=x",
    f"5 {MARK}",
    f"5\t{MARK}",
    f"5\n{MARK}",
    f"me:{MARK}@host",
    f"https://host/{MARK}",
    f"https://host/?key={MARK}",
    f"https://{MARK}.example/x",
    f"postgresql://u:{MARK}@h/n?{MARK}={MARK}",
    f"postgresql://{MARK}@{MARK}/{MARK}?sslmode={MARK}",
    f"redis://:{MARK}@h:{MARK}/0",
    f"redis://{MARK}:{MARK}@{MARK}/0?client_name={MARK}&db={MARK}",
    f"redis+sentinel://{MARK},b/{MARK}",
    f"/tmp/{MARK}/x",
    f"{MARK}://x",
    f"http://{MARK}",
]
EMPTY: dict[str, str] = {}
ASSET = {"symbol": "A", "polygon_ticker": "C:A", "asset_type": "forex"}


class Recorder(Mapping[str, str]):
    """An environment in which nothing is set, and which notes what is asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def variables(folder: Path) -> set[str]:
    """Every variable that is looked at, with `config.yml` in the folder or not."""
    recorder = Recorder()
    with pytest.raises(ConfigError):
        load(None, recorder, cwd=folder / "nothing here")
    (folder / "config.yml").write_text("database: {url: 'postgresql://h/n'}\nredis: {url: 'redis://h'}")
    load(None, recorder, cwd=folder)
    return recorder.asked


def documents(value: object) -> Iterator[dict[str, Any]]:
    """Documents with the value in each place of the model: settings, keys, sections, assets."""
    yield {str(value): 1}
    for top in msgspec.structs.fields(Config):
        yield {top.name: value}
        yield {top.name: {str(value): 1}}
        yield {top.name: [value]}
    for name, section in SECTIONS.items():
        for field in msgspec.structs.fields(section):
            yield {name: {field.name: value}}
            yield {name: {field.name: {str(value): value}}}
    for name, kind in ASSET_LISTS.items():
        yield {"batch": {name: value}}
        yield {name: [{**ASSET, str(value): value}]}
        yield {name: [{"symbol": value}]}
        for field in msgspec.structs.fields(kind):
            yield {name: [{**ASSET, field.name: value}]}
            yield {name: [{**ASSET, field.name: value}, {**ASSET, field.name: value}]}
    for table in TABLES:
        yield {"database": {"tables": {table: value}}}
        yield {"database": {"tables": {table: {str(value): value}}}}
        for key in (*TABLES[table], "table", "instrument", "missing", "states", "further"):
            yield {"database": {"tables": {table: {key: value}}}}
            yield {"database": {"tables": {table: {key: {"volume": value, "success": value}}}}}
    yield {"ping_url": {"status": value}}


def said(folder: Path, env: Mapping[str, str], path: Path | None = None) -> str:
    """All that is said and shown of this configuration."""
    try:
        config = load(path, env, cwd=folder)
        shown = f"{effective(config)} {dict(config.origins)}"
        check_options(config)
    except ConfigError as error:
        return "".join(traceback.format_exception(error)) + repr(error)
    return shown


def test_the_variables_are_found(tmp_path: Path) -> None:
    some = {
        "POLYGON_TIER",
        "DB_PASSWORD_FILE",
        "ASSETBATCH_CONFIG",
        "HOME",
        "REDIS_URL",
        "REDIS_PASSWORD_COMMAND",
    }
    assert some <= variables(tmp_path)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_variable_is_quoted(tmp_path: Path, shape: str) -> None:
    for name in sorted(variables(tmp_path)):
        for more in (EMPTY, {"DB_HOST": "h", "DB_NAME": "n"}):
            assert MARK not in said(tmp_path, {**more, name: shape}), name
    for name in sorted(variables(tmp_path)):
        (tmp_path / ".env").write_text(f"{name}={shape}\n")
        assert MARK not in said(tmp_path, {}), name


@pytest.mark.parametrize("shape", SHAPES)
def test_no_setting_is_quoted(tmp_path: Path, shape: str) -> None:
    for document in documents(shape):
        (tmp_path / "config.yml").write_text(yaml.safe_dump(document))
        assert MARK not in said(tmp_path, {}), document


@pytest.mark.parametrize("number", [12345678901234567890, 0.1234567890123456, -4111111111111111])
def test_no_long_number_is_quoted(tmp_path: Path, number: float) -> None:
    for document in documents(number):
        (tmp_path / "config.yml").write_text(yaml.safe_dump(document))
        assert str(abs(number))[2:12] not in said(tmp_path, {}), document


@pytest.mark.parametrize(
    "text",
    [
        "a: *MARK",
        "a: &MARK 1\nb: &MARK 2\nc: [",
        "a: !MARK x",
        "a: !MARK!b x",
        "%TAG !e! MARK\n---\na: !x!b 1",
        "%MARK\n---\n",
        "a: 'MARK",
        'a: "\\MARK"',
        "MARK: 1\nMARK: 2",
        "a: {MARK: 1, MARK: 2}",
        "MARK",
        "a: MARK: b",
        "- MARK\nb: 1",
        "a: !!int MARK",
        "a: !!timestamp MARK",
        "<<: MARK",
        "queue: {max_size: 0x{}}",
        "POLYGON_API_KEY=MARK",
        "\tMARK",
        "@MARK",
        "`MARK",
    ],
)
def test_no_broken_yaml_is_quoted(tmp_path: Path, text: str) -> None:
    for mark in (MARK, "abcdef0123456789abcdef0123456789"):
        (tmp_path / "config.yml").write_text(text.replace("MARK", mark))
        assert mark not in said(tmp_path, {})


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if "\n" not in shape])
def test_no_path_of_a_file_is_quoted(tmp_path: Path, shape: str) -> None:
    for path in (Path(shape), tmp_path / shape):
        assert MARK not in said(tmp_path, {}, path)
    place = tmp_path / shape.replace("/", "-")
    place.mkdir()
    (place / "config.yml").write_text("queue: {max_size: 0}")
    (place / ".env").write_text("nonsense")
    assert MARK not in said(place, {})
    assert MARK not in said(tmp_path, {}, place / "config.yml")
    (place / "config.yml").write_text("queue: {max_size: 1}")
    (place / ".env").write_text("QUEUE_MAX_SIZE=5")
    assert MARK not in " ".join(f"{line}" for line in effective(load(place / "config.yml", {}, cwd=tmp_path)))
