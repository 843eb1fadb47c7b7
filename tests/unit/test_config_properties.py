"""Whatever is configured: a configuration or a ConfigError, and no secret in sight."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.config import Config, load
from assetbatch.config.display import effective
from assetbatch.config.settings import SECTIONS
from assetbatch.config.tables import TABLES
from assetbatch.errors import ConfigError

MARK = "MARKED-SECRET"


def from_bytes(data: bytes, dotenv: bytes = b"", env: dict[str, str] | None = None) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.yml").write_bytes(data)
        Path(folder, ".env").write_bytes(dotenv)
        return load(None, env or {}, cwd=Path(folder))


def outcome(data: bytes, dotenv: bytes = b"", env: dict[str, str] | None = None) -> list[str]:
    """The lines that are shown for this configuration: its mistakes, or its settings."""
    try:
        return [f"shown: {line}" for line in effective(from_bytes(data, dotenv, env))]
    except ConfigError as error:
        return str(error).split("\n")


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=4)
    | st.sampled_from(
        ["embedded", "free", "HIGH", "forex", "C:EURUSD", "EURUSD", "https://h", "redis://h", "status"]
    )
)
ASSET_KEYS = [
    "symbol",
    "polygon_ticker",
    "asset_type",
    "priority",
    "name",
    "enabled",
    "update_frequency_seconds",
]
KEYS = st.sampled_from(sorted({key for section in SECTIONS.values() for key in section.__struct_fields__}))
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | SCALARS.filter(bool), inner, max_size=3)
    ),
    max_leaves=6,
)
ASSETS = st.lists(
    st.dictionaries(st.sampled_from(ASSET_KEYS), VALUES, max_size=7)
    | st.fixed_dictionaries(
        {
            "symbol": st.sampled_from("ABC"),
            "polygon_ticker": st.sampled_from(["C:A", "X:B"]),
            "asset_type": st.just("forex"),
        }
    ),
    max_size=3,
)
TABLE_MAPPINGS = st.fixed_dictionaries(
    {
        "tables": st.dictionaries(
            st.sampled_from([*TABLES]),
            VALUES
            | st.dictionaries(
                st.sampled_from(
                    [*TABLES["bars"], *TABLES["symbols"], "table", "missing", "states", "instrument"]
                )
                | SCALARS.filter(bool),
                VALUES,
                max_size=4,
            ),
            max_size=3,
        )
    }
)
BATCHES = st.dictionaries(st.sampled_from(["priority_assets", "secondary_assets"]), VALUES | ASSETS)
NAMES = [*SECTIONS, "priority_assets", "secondary_assets", "ping_url", "notify"]
DOCUMENTS = VALUES | st.dictionaries(
    st.sampled_from(NAMES),
    VALUES | ASSETS | TABLE_MAPPINGS | BATCHES | st.dictionaries(KEYS, VALUES, max_size=4),
    max_size=4,
)


@given(DOCUMENTS)
def test_any_yaml_document_loads_or_is_a_config_error(document: Any) -> None:
    data = yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace")
    assert all(line.startswith(("shown: ", "config.yml: ", "and ")) for line in outcome(data))


@given(st.binary(max_size=60) | st.text("ab:- \n[]{}&*!|>'\"%#?,<~0_.\t", max_size=60).map(str.encode))
def test_any_bytes_load_or_are_a_config_error(data: bytes) -> None:
    assert all(line.startswith(("shown: ", "config.yml: ", ".env: ", "and ")) for line in outcome(data, data))


VARIABLES = [
    *("POLYGON_API_KEY", "MASSIVE_API_KEY", "POLYGON_API_KEY_FILE", "POLYGON_BASE_URL", "POLYGON_RATE_LIMIT"),
    *(
        "POLYGON_TIER",
        "BATCH_INTERVAL_MINUTES",
        "PRIORITY_ASSETS_ENABLED",
        "QUEUE_MAX_SIZE",
        "DB_HOST",
        "DB_PORT",
    ),
    *("DB_NAME", "DB_USER", "DB_PASSWORD", "DB_PASSWORD_FILE", "REDIS_URL", "DATABASE_URL"),
    *("DB_PASSWORD_COMMAND", "REDIS_PASSWORD", "REDIS_URL_COMMAND", "POLYGON_API_KEY_COMMAND"),
]


@given(
    st.dictionaries(
        st.sampled_from(VARIABLES),
        st.text(st.characters(exclude_characters="\0"), max_size=20)
        | st.sampled_from(
            ["5", "true", "free", "localhost", "redis://h", "postgresql://h/n", "embedded", "\udcff"]
        ),
    )
)
def test_any_environment_loads_or_is_a_config_error(env: dict[str, str]) -> None:
    assert all(line.startswith(("shown: ", "env ")) for line in outcome(b"", env=env))


SECRETS: list[tuple[str, str, dict[str, str]]] = [
    (f"database: {{url: 'postgresql://u:{MARK}@h/n?password={MARK}'}}", "", {}),
    (f"redis: {{url: 'redis://:{MARK}@h/0'}}", "", {}),
    (f"ping_url: https://hc.example/{MARK}", "", {}),
    (f"notify: ntfy://{MARK}", "", {}),
    (f"notify: ['{MARK}://x']", "", {}),
    (f"ping_url: {{status: 'https://hc.example/{MARK}'}}", "", {}),
    ("", f"POLYGON_API_KEY={MARK}\nDB_HOST=h\nDB_NAME=n\nDB_PASSWORD={MARK}", {}),
    (
        "",
        "",
        {
            "MASSIVE_API_KEY": MARK,
            "DATABASE_URL": f"postgresql://u:{MARK}@h/n",
            "REDIS_URL": f"redis://{MARK}@h",
        },
    ),
]


@pytest.mark.parametrize(("text", "dotenv", "env"), SECRETS)
def test_a_secret_is_nowhere_in_what_is_printed(text: str, dotenv: str, env: dict[str, str]) -> None:
    config = from_bytes(text.encode(), dotenv.encode(), env)
    printed = f"{config!r} {config} {effective(config)} {dict(config.origins)}"
    assert MARK not in printed
    assert "***" in printed


WRONG_SECRETS: list[tuple[str, str, dict[str, str]]] = [
    (f"database: {{url: 'mysql://u:{MARK}@h/n'}}", "", {}),
    (f"database: {{url: 'postgresql://u:{MARK}@@h/n'}}", "", {}),
    (f"database: postgresql://u:{MARK}@h/n", "", {}),
    (f"database: {{url: {MARK}}}", "", {}),
    (f"database: {{password: {MARK}}}", "", {}),
    (f"database: {{url: *{MARK}}}", "", {}),
    (f"database: {{url: !{MARK} x}}", "", {}),
    (f"database:\n  url: postgresql://u:{MARK}@h/n: x", "", {}),
    (f"queue: {{max_size: 'postgresql://u:{MARK}@h/n'}}", "", {}),
    (f"redis: {{url: [{MARK}]}}", "", {}),
    (f"ping_url: {{run: https://hc.example/{MARK}}}", "", {}),
    (f"notify: [{MARK}, 'ntfy://x']", "", {}),
    (f"notify: ntfy://{MARK} {MARK}", "", {}),
    ("", "", {"ASSETBATCH_NOTIFY_URLS": MARK}),
    (f"api_key: {MARK}", "", {}),
    (f"provider: {MARK}", "", {}),
    (f"provider: {{base_url: 'https://{MARK}@h'}}", "", {}),
    ("", f"POLYGON_API_KEY {MARK}", {}),
    ("", f'POLYGON_API_KEY="{MARK}', {}),
    ("", "", {"POLYGON_API_KEY": f"{MARK}\n"}),
    ("", "", {"POLYGON_API_KEY": f"{MARK}é"}),
    ("", "", {"POLYGON_API_KEY_FILE": MARK}),
    ("", "", {"DB_PASSWORD_FILE": f"/{MARK}/\0", "DB_HOST": "h", "DB_NAME": "n"}),
    ("", "", {"DATABASE_URL": MARK}),
    ("", "", {"REDIS_URL": f"redis://:{MARK}@h:port"}),
]


@pytest.mark.parametrize(("text", "dotenv", "env"), WRONG_SECRETS)
def test_a_secret_is_nowhere_in_an_error(text: str, dotenv: str, env: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        from_bytes(text.encode(), dotenv.encode(), env)
    printed = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert MARK not in printed
