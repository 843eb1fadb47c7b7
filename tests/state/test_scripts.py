"""How the Lua scripts are written: what they include, and how they name what they are given."""

from __future__ import annotations

import re
from importlib import resources

import pytest

LUA = resources.files("assetbatch.state") / "lua"
FILES = {file.name: file.read_text(encoding="utf-8") for file in LUA.iterdir() if file.name.endswith(".lua")}
SCRIPTS = sorted(name for name in FILES if not name.startswith("_"))


def code_of(name: str) -> str:
    """The text of a file without its comments."""
    return re.sub(r"--.*", "", FILES[name])


def included(name: str) -> list[str]:
    return re.findall(r"^--@include (\S+)$", FILES[name], re.MULTILINE)


def names_of(file: str) -> set[str]:
    """What a helper file declares at its top level."""
    declared = re.findall(r"^local (?:function )?([\w, ]+)", code_of(file), re.MULTILINE)
    return {name.strip() for some in declared for name in some.split(",")}


def used(code: str, names: set[str]) -> set[str]:
    return {name for name in names if re.search(rf"\b{name}\b", code)}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_includes_only_what_it_uses(name: str) -> None:
    files = included(name)
    for at, file in enumerate(files):
        rest = code_of(name) + "".join(map(code_of, files[at + 1 :]))
        assert used(rest, names_of(file)), f"{file} is not used"


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_uses_is_included_before(name: str) -> None:
    """Lua would find the mistake only where the line runs."""
    helpers = {file: names_of(file) for file in FILES if file.startswith("_")}
    seen: set[str] = set()
    for file in [*included(name), name]:
        for helper, names in helpers.items():
            if helper != file and helper not in seen:
                own = set(re.findall(r"\blocal (?:function )?(\w+)", code_of(file)))
                called = {one for one in names - own if re.search(rf"(?<![.\w]){one}\(", code_of(file))}
                assert called == set(), f"{file} calls what {helper} has"
        seen.add(file)


@pytest.mark.parametrize("name", sorted(FILES))
def test_arguments_are_named_once(name: str) -> None:
    """Beyond the lines that name them, ARGV and KEYS stand only in loops over the rest of them."""
    code = code_of(name)
    for argument in set(re.findall(r"ARGV\[\d+\]|KEYS\[\d+\]", code)):
        assert code.count(argument) == 1, argument


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_head_says_keys_and_arguments(name: str) -> None:
    head = FILES[name].partition("\nlocal ")[0]
    assert re.search(r"^-- KEYS: ", head, re.MULTILINE)
    assert re.search(r"^-- ARGV: ", head, re.MULTILINE) or "ARGV" not in code_of(name)
    assert re.search(r"^-- Returns: ", head, re.MULTILINE) or not re.search(r"^return ", code_of(name), re.M)
