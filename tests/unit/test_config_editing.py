"""Changing a setting in the text of a config.yml: the change is made, and nothing else of it moves."""

from __future__ import annotations

from difflib import ndiff
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from assetbatch.config import built_in_config
from assetbatch.config.editing import add_assets, flow, keep_assets, scalar, set_setting
from assetbatch.errors import ConfigError

URL = "postgresql://me@host:5432/name"
FORMS = {
    "no file": "",
    "comments only": "# mine\n",
    "no such section": "redis: {url: embedded}\n",
    "an empty section": "database:\n",
    "a section of comments": "database:\n  # url: embedded\nredis:\n  url: embedded\n",
    "a null section": "database: null # mine\n",
    "a block": "database: # mine\n  # above\n  url: embedded   # behind\n  tables:\n",
    "a block without the key": "database:\n    # above\n    tables:\n",
    "a key without a value": "database:\n  url:\n  tables:\n",
    "a flow": "database: {tables: null, url: embedded} # mine\n",
    "an empty flow": "database: {}\n",
    "quotes": "database:\n  'url': \"embedded\"  # behind\n",
    "no newline at the end": "database:\n  url: embedded",
    "windows' lines": "database:\r\n  url: embedded # mine\r\nredis:\r\n",
    "letters beyond ASCII": "# größer als 😀\ndatabase: {url: embedded} # ünd\n",
}


def changed_lines(before: str, after: str) -> list[str]:
    return [line for line in ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]


class TestSetting:
    @pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
    @pytest.mark.parametrize("value", [URL, "embedded", None, 'it\'s: "odd" # \\'])
    def test_is_set_and_each_comment_stays(self, text: str, value: str | None) -> None:
        after = set_setting(text, "database", "url", value)
        expected: dict[str, Any] = yaml.safe_load(text) or {}
        assert yaml.safe_load(after) == expected | {
            "database": (expected.get("database") or {}) | {"url": value}
        }
        for line in text.splitlines():
            if "#" in line:
                assert line[line.index("#") :] in after

    def test_moves_no_other_line_of_the_shipped_file(self) -> None:
        text = built_in_config().decode()
        after = set_setting(text, "database", "url", URL)
        assert changed_lines(text, after) == [
            "-   url: embedded                  # or postgresql://user@host:5432/name",
            f'+   url: "{URL}"  # or postgresql://user@host:5432/name',
        ]

    def test_keeps_the_column_of_a_comment_where_there_is_room(self) -> None:
        text = "rate_limiting:\n  tier: free       # your plan\n"
        assert set_setting(text, "rate_limiting", "tier", "starter") == (
            "rate_limiting:\n  tier: starter    # your plan\n"
        )

    @pytest.mark.parametrize(
        "text",
        [
            "{redis: {url: embedded}}\n",
            "x: &a {url: embedded}\ndatabase: *a\n",
            "database: &a {url: embedded}\nredis: *a\n",
            "database: {url: embedded}\ndatabase: {url: embedded}\n",
            "database:\n  url: |\n    embedded\nredis:\n",
            "redis: {url: embedded}\n...\n",
        ],
    )
    def test_is_refused_with_the_line_to_write_where_more_would_change(self, text: str) -> None:
        with pytest.raises(ConfigError) as raised:
            set_setting(text, "database", "url", URL)
        assert raised.value.exit_code == 2
        assert raised.value.hint
        assert f'database.url: "{URL}"' in raised.value.hint

    @given(st.one_of(st.text(max_size=20), st.integers(), st.none()))
    @example("\x85")
    @example("a\u2028b\x7f")
    def test_of_any_value_is_read_as_that_value_in_a_block_and_in_a_flow(
        self, value: str | int | None
    ) -> None:
        try:
            expected = yaml.safe_load(f"{{a: {scalar(value)}}}")
        except yaml.YAMLError:  # a control character that no YAML can hold is refused when it is set
            with pytest.raises(ConfigError):
                set_setting("a: {b: 1}\n", "a", "b", value)
            return
        assert expected == {"a": value}
        assert yaml.safe_load(set_setting("a: {b: 1}\n", "a", "b", value)) == {"a": {"b": value}}
        assert yaml.safe_load(set_setting("a:\n  b: 1\n", "a", "b", value)) == {"a": {"b": value}}


LISTS = {
    "no list": "redis: {url: embedded}\n",
    "an empty list": "priority_assets: []\n",
    "a null list": "priority_assets:\nredis:\n",
    "a flow": "priority_assets: [{symbol: A}] # mine\n",
    "a flow over lines": "priority_assets: [\n  {symbol: A},\n]\n",
    "a block": "priority_assets:\n  - symbol: A\n    name: a # mine\n\n# below\nredis:\n",
    "a block without indentation": "priority_assets:\n- {symbol: A}\n# below\n- symbol: B\nredis:\n",
    "in the section batch": "batch:\n  priority_assets:\n    - {symbol: A}\n  interval_minutes: 5\n",
}


class TestAssets:
    @pytest.mark.parametrize("text", LISTS.values(), ids=LISTS.keys())
    def test_are_added_at_the_end_of_their_list(self, text: str) -> None:
        new = [{"symbol": "EUR/USD", "name": "Euro: x"}, {"symbol": "NO"}]
        after = add_assets(text, "priority_assets", new)
        document = yaml.safe_load(after)
        holder = document if "priority_assets" in document else document["batch"]
        assert holder["priority_assets"][-2:] == new
        assert [line for line in changed_lines(text, after) if line[0] == "-" and "#" in line] == [
            line for line in changed_lines(text, after) if line[0] == "-" and "# mine" in line and "[" in line
        ]

    def test_that_are_not_kept_go_with_their_lines_alone(self) -> None:
        text = built_in_config().decode()
        after = keep_assets(text, "secondary_assets", ["GBPUSD", "SOLUSD"])
        assert [one["symbol"] for one in yaml.safe_load(after)["secondary_assets"]] == ["GBPUSD", "SOLUSD"]
        gone = changed_lines(text, after)
        assert all(line[0] == "-" for line in gone)
        assert all("symbol:" in line for line in gone if line.strip("- "))

    def test_of_which_none_is_kept_leave_an_empty_list(self) -> None:
        after = keep_assets(built_in_config().decode(), "secondary_assets", [])
        assert yaml.safe_load(after)["secondary_assets"] is None

    def test_that_are_not_kept_leave_the_rules(self) -> None:
        text = "secondary_assets:\n  - {symbol: EURUSD}\n  - {every: crypto, quote: [USD, EUR]}\n"
        after = keep_assets(text, "secondary_assets", [])
        assert yaml.safe_load(after)["secondary_assets"] == [{"every": "crypto", "quote": ["USD", "EUR"]}]

    def test_are_added_behind_a_rule(self) -> None:
        text = "secondary_assets:\n  - {every: crypto}\n"
        after = add_assets(text, "secondary_assets", [{"symbol": "EURUSD"}])
        assert yaml.safe_load(after)["secondary_assets"] == [{"every": "crypto"}, {"symbol": "EURUSD"}]

    def test_in_one_line_are_read_as_they_are(self) -> None:
        asset = {"symbol": "yes", "name": "a, b: {c}", "priority": 2}
        assert yaml.safe_load(flow(asset)) == asset
