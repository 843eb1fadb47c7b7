"""The mutation runner itself, on a repository of two files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.mutants import Mutant, lua_mutants, python_mutants
from tests.mutation.runner import Equivalent, Outcome, Target, load_targets, run

RULE = "def is_big(number: int) -> bool:\n    return number > 10\n"
TEST = """
from rule import is_big

def test_eleven_is_big_and_nine_is_not():
    assert is_big(11)
    assert not is_big(9)
"""
TARGET = Target(("src/rule.py",), ("tests/test_rule.py",))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for path, text in (("src/rule.py", RULE), ("tests/test_rule.py", TEST)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_obvious_mutants_are_killed_and_the_survivor_is_reported_with_its_place(repository: Path) -> None:
    said: list[str] = []
    counts = run(repository, "rule", TARGET, say=said.append)
    # 11 in the place of 10 and None are seen
    assert (counts[Outcome.KILLED], counts[Outcome.SURVIVED]) == (2, 1)
    assert said == [
        "survived: src/rule.py:2\n  - return number > 10\n  + return number >= 10",
        "rule: 2 of 3 killed, 66.7 %",
    ]
    assert (repository / "src/rule.py").read_text() == RULE, "the checkout is left alone"


def test_an_equivalent_mutant_is_not_counted(repository: Path) -> None:
    said: list[str] = []
    harmless = Equivalent("src/rule.py", "return number > 10", "return number >= 10", "10 never comes")
    counts = run(repository, "rule", TARGET, [harmless], say=said.append)
    assert counts[Outcome.SURVIVED] == 0
    assert said == ["rule: 2 of 2 killed, 100.0 % (1 equivalent)"]


def test_an_equivalent_whose_line_is_gone_is_named(repository: Path) -> None:
    said: list[str] = []
    run(
        repository, "rule", TARGET, [Equivalent("src/rule.py", "gone", "away", "")], sample=1, say=said.append
    )
    assert said[0] == "stale in equivalent.toml: src/rule.py: gone"


def test_tests_that_fail_anyway_are_no_judge(repository: Path) -> None:
    (repository / "tests/test_rule.py").write_text("def test_no():\n    assert False\n")
    with pytest.raises(RuntimeError, match="fail without any change"):
        run(repository, "rule", TARGET, say=print)


def test_tests_that_do_not_see_the_copy_are_no_judge(repository: Path) -> None:
    (repository / "tests/test_rule.py").write_text("def test_yes():\n    assert True\n")
    with pytest.raises(RuntimeError, match=r"do not see a changed src/rule\.py"):
        run(repository, "rule", TARGET, say=print)


def becomes(mutants: list[Mutant]) -> set[str]:
    return {mutant.becomes for mutant in mutants}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x = a <= b", {"x = a < b"}),
        ("x = a is not b", {"x = a is b"}),
        ("x = a and b or c", {"x = a or b or c", "x = a and b and c"}),
        ("x = not a", {"x = a"}),
        ("x = min(a, b)", {"x = max(a, b)"}),
        ("x = a + 1", {"x = a - 1", "x = a + 2"}),
        ("x = ('ä', a == b)", {"x = ('ä', a != b)"}),
        ("x = a if b else c", {"x = a if not (b) else c"}),
        ("x: Literal[1] = True", {"x: Literal[1] = False"}),
        ("f(a)", {"pass"}),
        ("assert a == 1", set()),
        ("'a text'", set()),
    ],
)
def test_changes_of_python(line: str, expected: set[str]) -> None:
    assert becomes(python_mutants(line)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("if a ~= b then", {"if a == b then", "if not (a ~= b) then"}),
        ("local x = math.max(a - 1, b)", {"local x = math.min(a - 1, b)", "local x = math.max(a + 1, b)"}
         | {"local x = math.max(a - 2, b)"}),
        ("return r.at + 1000, 'a - 1'", {"return r.at - 1000, 'a - 1'", "return r.at + 2000, 'a - 1'"}
         | {"return nil"}),
        ("redis.call('DEL', key)", {""}),
        ("local n = redis.call('ZCOUNT', key, '(' .. x)", {"local n = redis.call('ZCOUNT', key, '' .. x)"}),
        ("-- a comment with 1 and 2", set()),
    ],
)  # fmt: skip
def test_changes_of_lua(line: str, expected: set[str]) -> None:
    assert becomes(lua_mutants(line)) == expected


def test_every_target_is_there() -> None:
    root = Path(__file__).resolve().parents[2]
    targets = load_targets(root / "tests/mutation/targets.toml")
    files = [file for target in targets.values() for file in (*target.mutate, *target.tests)]
    assert [file for file in files if not (root / file).is_file()] == []
