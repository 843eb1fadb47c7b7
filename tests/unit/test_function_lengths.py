"""Functions stay short: ruff limits complexity and statements (pyproject.toml), this test limits lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.conftest import REPOSITORY

LONGEST = 50
"""Maximum number of lines of a function, without its docstring."""


def functions() -> Iterator[tuple[str, int]]:
    """Yield each function of the program with its lines."""
    source = REPOSITORY / "src" / "assetbatch"
    for path in sorted(source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(source)}: {node.name}", lines_of(node)


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    has_docstring = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def test_no_function_is_longer_than_fifty_lines() -> None:
    assert {name for name, lines in functions() if lines > LONGEST} == set()


def test_a_docstring_does_not_count() -> None:
    text = 'def one() -> None:\n    """A\n\n    B\n    """\n    return None\n'
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    assert lines_of(function) == 2
