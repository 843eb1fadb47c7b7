"""Papers can rot: their examples, links, paths and tables are held against the program."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from assetbatch.config import load
from assetbatch.config.environment import SECRETS
from assetbatch.health import Health
from assetbatch.health.document import AssetHealth, JobHealth
from assetbatch.views.prometheus import render
from tests.conftest import REPOSITORY
from tests.deploy.command_lines import check_command, commands_in, commands_of, options_of, program
from tests.documented import DOCS, PAPERS, anchors, blocks, prose
from tests.views.conftest import asset, health

LINKED = [*PAPERS, REPOSITORY / "benchmarks" / "README.md", REPOSITORY / "tests" / "mutation" / "README.md"]


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def page(name: str) -> str:
    return (REPOSITORY / "docs" / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level."""
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def first_column(text: str) -> list[str]:
    """What stands in backticks in the first column of the tables."""
    cells = re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_bytes()) <= 8192


class TestEveryPaper:
    @pytest.mark.parametrize("paper", LINKED, ids=name_of)
    def test_links_to_files_and_headings_that_exist(self, paper: Path) -> None:
        text = paper.read_text(encoding="utf-8")
        links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(text)) if "://" not in link]
        for link in links:
            file, _, anchor = link.partition("#")
            target = (paper.parent / file) if file else paper
            assert target.exists(), link
            if anchor:
                assert anchor in anchors(target.read_text(encoding="utf-8")), link

    @pytest.mark.parametrize("paper", PAPERS, ids=name_of)
    def test_has_commands_that_exist(self, paper: Path) -> None:
        for line in commands_in(paper.read_text(encoding="utf-8")):
            check_command(line)

    @pytest.mark.parametrize("paper", PAPERS, ids=name_of)
    def test_has_examples_in_the_language_they_name(self, paper: Path, tmp_path: Path) -> None:
        text = paper.read_text(encoding="utf-8")
        for block in blocks(text, "json"):
            json.loads(block)
        for block in blocks(text, "python"):
            compile(block, name_of(paper), "exec")
        for block in blocks(text, "sh"):
            done = subprocess.run(["bash", "-n", "-c", block], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block}\n{done.stderr}"
        known = {"json", "python", "sh", "yaml", "sql", "mermaid", "toml", "lua", "text", ""}
        assert set(re.findall(r"^```(\w*)\n", text, re.MULTILINE)) <= known

    @pytest.mark.parametrize("paper", DOCS, ids=name_of)
    def test_shows_a_configuration_that_is_valid(self, paper: Path, tmp_path: Path) -> None:
        for block in blocks(paper.read_text(encoding="utf-8"), "yaml"):
            (tmp_path / "config.yml").write_text(block)
            load(tmp_path / "config.yml", {}, cwd=tmp_path)


class TestPageOfTheCommands:
    def test_has_every_command_and_every_option(self) -> None:
        text = page("commands.md")
        root = program()
        options = options_of(root)
        for name, command in commands_of(root).items():
            assert re.search(rf"`(?:assetbatch )?{name}\b", text), name
            options |= options_of(command)
        assert {name for name in options if name.startswith("--") and f"`{name}" not in text} == set()

    def test_would_find_a_command_of_a_group(self) -> None:
        assert {"run-priority", "dead retry", "config show", "slot take"} <= set(commands_of(program()))


SAMPLES = {
    "POLYGON_API_KEY": "key",
    "MASSIVE_API_KEY": "key",
    "POLYGON_BASE_URL": "https://api.example.org",
    "POLYGON_TIER": "starter",
    "POLYGON_RATE_LIMIT": "unlimited",
    "BATCH_INTERVAL_MINUTES": "10",
    "PRIORITY_ASSETS_ENABLED": "false",
    "QUEUE_MAX_SIZE": "5",
    "DATABASE_URL": "postgresql://host/name",
    "DB_HOST": "host",
    "DB_PORT": "5432",
    "DB_NAME": "name",
    "DB_USER": "me",
    "DB_PASSWORD": "made-up",
    "REDIS_URL": "redis://host/0",
    "REDIS_PASSWORD": "made-up",
    "ASSETBATCH_NOTIFY_URLS": "ntfy://topic",
}
"""A value for each variable that sets something."""

PARTS = [*SAMPLES, *(f"{name}_{source}" for name in SECRETS for source in ("FILE", "COMMAND"))]


class TestPageOfTheConfiguration:
    def test_has_every_setting_with_its_default(self, tmp_path: Path) -> None:
        (tmp_path / "config.yml").write_text("")
        done = subprocess.run(
            [sys.executable, "-m", "assetbatch", "--config", "config.yml", "config", "show", "--json"],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        shown = {one["key"]: one["value"] for one in json.loads(done.stdout)} | {"api_key": ""}
        rows = re.findall(
            r"^\| `([\w.]+)` \| (.*?) \|", section(page("configuration.md"), "Settings"), re.MULTILINE
        )
        defaults = dict(rows)
        assert set(defaults) == set(shown) - {"api_key"}
        differing = {key for key, text in defaults.items() if text != shown[key]}
        assert differing == {"rate_limiting.calls_per_minute"}  # the tier's

    def test_has_every_setting_of_an_asset(self) -> None:
        from assetbatch.config.settings import AssetSettings

        assert set(AssetSettings.__struct_fields__) == set(
            first_column(section(page("configuration.md"), "Assets"))
        )

    def test_has_every_setting_of_a_rule(self) -> None:
        from assetbatch.config.settings import RuleSettings

        assert set(RuleSettings.__struct_fields__) == set(
            first_column(section(page("configuration.md"), "Rules"))
        )

    def variables(self) -> set[str]:
        return set(first_column(section(page("configuration.md"), "Environment")))

    def test_has_every_variable(self) -> None:
        source = "".join(path.read_text() for path in (REPOSITORY / "src/assetbatch/config").glob("*.py"))
        used = set(re.findall(r'"((?:[A-Z]+_)+[A-Z]+)"', source)) & (set(SAMPLES) | {"ASSETBATCH_CONFIG"})
        assert len(used) > 8
        expected = set(PARTS)
        others = {
            "ASSETBATCH_CONFIG",
            "ASSETBATCH_LOG_FILE",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_STATE_HOME",
            "NO_COLOR",
        }
        assert self.variables() == expected | others
        assert used <= self.variables()

    @pytest.mark.parametrize("name", PARTS)
    def test_names_variables_that_set_something(self, tmp_path: Path, name: str) -> None:
        value = SAMPLES[name.removesuffix("_FILE").removesuffix("_COMMAND")]
        env = {name: f"echo {value}" if name.endswith("_COMMAND") else value}
        if name.endswith("_FILE"):
            (tmp_path / "secret").write_text(env[name])
            env[name] = "secret"
        if name.startswith("DB_"):
            env |= {"DB_HOST": "host", "DB_NAME": "name"}
        if name.startswith("REDIS_PASSWORD"):
            env["REDIS_URL"] = "redis://host"
        (tmp_path / "config.yml").write_text("")
        origins = load(tmp_path / "config.yml", env, cwd=tmp_path).origins.values()
        assert any(f"env {name}" in origin for origin in origins)


class TestPageOfTheMonitors:
    def test_names_metrics_that_are_written(self) -> None:
        written = render(health([asset(0), asset(1)]), {})
        names = re.findall(r"`(assetbatch_\w+)", page("monitoring.md"))
        assert len(names) > 15
        for name in names:
            assert f"# TYPE {name} " in written, name


class TestPageOfTheData:
    def test_has_every_key_of_the_health_document(self) -> None:
        text = section(page("data-and-events.md"), "The health document")
        assert set(first_column(text)) == set(Health.__struct_encode_fields__)
        for struct in (AssetHealth, JobHealth):
            for field in struct.__struct_encode_fields__:
                assert f"`{field}`" in text, field

    def test_has_every_table_of_ours(self) -> None:
        sources: list[Any] = [
            path.read_text(encoding="utf-8")
            for suffix in ("*.sql", "*.py")
            for path in (REPOSITORY / "src").rglob(suffix)
        ]
        used = set(re.findall(r"\bdata_sources\.(assetbatch_\w+)", "".join(sources)))
        gone = {"assetbatch_rejections"}  # migration 0006 takes its rows over
        named = set(first_column(section(page("data-and-events.md"), "Tables")))
        assert used - gone == {name for name in named if name.startswith("assetbatch_")}


class TestChangelog:
    SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")

    def releases(self) -> dict[str, str]:
        text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
        _, *parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
        return dict(zip(parts[::2], parts[1::2], strict=True))

    def test_begins_with_what_is_unreleased_and_goes_back_day_by_day(self) -> None:
        first, *dated = self.releases()
        assert first == "Unreleased"
        days = [re.fullmatch(r"(?:\d+\.\d+\.\d+ - )?(\d{4}-\d{2}-\d{2})", heading) for heading in dated]
        assert all(days), dated
        found = [day[1] for day in days if day]
        assert found == sorted(found, reverse=True)

    def test_has_the_usual_sections_in_their_order_each_with_entries(self) -> None:
        for heading, text in self.releases().items():
            _, *parts = re.split(r"^### (.+)\n", text, flags=re.MULTILINE)
            named = parts[::2]
            assert named == [section for section in self.SECTIONS if section in named], heading
            assert all("\n- " in entries for entries in parts[1::2]), heading


COMING: set[str] = set()
"""What the papers name already."""


class TestArchitecture:
    @pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/glossary.md"])
    def test_names_paths_that_exist(self, name: str) -> None:
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        paths = {word.rstrip("/") for word in re.findall(r"`([^`\s]+)`", prose(text)) if is_path(word)}
        assert len(paths) > 3
        assert {path for path in paths if not exists(path)} <= COMING

    def test_has_modules_that_exist_and_everything_at_the_top_in_its_tree(self) -> None:
        tree = set(paths_of_tree((REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")))
        assert len(tree) > 40
        assert {path for path in tree if not (REPOSITORY / "src" / "assetbatch" / path).exists()} <= COMING
        source = REPOSITORY / "src" / "assetbatch"
        modules = {path.relative_to(source).parts[0] for path in source.rglob("*.py")}
        assert modules - {"__init__.py", "__main__.py"} == {path.split("/")[0] for path in tree}

    def test_has_every_module_of_the_domain_and_of_the_engine_in_its_tree(self) -> None:
        tree = set(paths_of_tree((REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")))
        there = {
            f"{package}/{path.name}"
            for package in ("domain", "refresh")
            for path in (REPOSITORY / "src" / "assetbatch" / package).glob("*.py")
        }
        there -= {"domain/__init__.py", "refresh/__init__.py"}
        assert there <= tree

    def test_has_the_layers_that_the_contracts_hold(self) -> None:
        contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"][
            "contracts"
        ]
        (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
        text = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
        assert "\n".join(layers).replace("assetbatch.", "") + "\n" in blocks(text, "text")


def is_path(word: str) -> bool:
    """Whether a word in backticks is a path of the repository, from its root or from src/assetbatch."""
    if re.search(r"[<>{}:…]|NNNN|^/|^~|://", word):
        return False
    return bool(re.search(r"\.(py|lua|sql|md|toml|yml|example)$", word)) or word.endswith("/")


def exists(path: str) -> bool:
    """Whether something is there; a path may have a `*`."""
    roots = (REPOSITORY, REPOSITORY / "src" / "assetbatch")
    return any(any(root.glob(path.rstrip("/"))) for root in roots)


def paths_of_tree(text: str) -> list[str]:
    """The paths of the tree in ARCHITECTURE.md, from src/assetbatch: each with a line about it."""
    (tree,) = re.findall(r"```\n(src/.*?)```", text, re.DOTALL)
    folders: list[str] = []
    found = []
    for line in tree.splitlines()[1:]:
        match = re.match(r"^((?:  )+)([\w./]+)", line)
        if match is None:
            continue
        depth = len(match[1]) // 2
        folders[depth - 1 :] = [match[2].rstrip("/")]
        found.append("/".join(folders))
    return found
