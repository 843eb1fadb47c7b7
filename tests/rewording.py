"""A copy of the program in which every message is another text.

What counts as a message: a string literal or an f-string with two words of lower-case letters side by side.
So texts for people are found, and names, keys, paths and SQL keywords are not. Left alone are docstrings,
regular expressions, and the files of `READS_FOREIGN_WORDS`, which compare what other programs say.

A reworded message is `#` and a hash of the old one and of its place, so that the same words in two places
become two. It keeps the parts that the code fills in: `%s` and the like, `{name}`, and the values of an
f-string.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
from pathlib import Path

PROSE = re.compile(r"[a-z]{2,}[,:;]? [a-z]{2,}")
FILLED_IN = re.compile(r"%(?:\(\w+\))?[-#0 +]*\d*(?:\.\d+)?[diouxXeEfFgGcrs%]|\{\w*\}")

READS_FOREIGN_WORDS = (
    "provider/refusals.py",  # which kind of refusal the provider's words are
    "state/connection.py",  # what Redis says
    "state/scripts.py",  # the same of its scripts
    "state/failover.py",
    "database/failures.py",  # what PostgreSQL says
    "database/session.py",
    "database/statements.py",  # SQL
    "database/adoption",  # the words that other programs' tables use
    "config",  # what YAML, libyaml and msgspec say
    "cli",  # help texts: Typer reads them
    "sandbox",  # the provider's side
    "embedded",
)


class Rewording(ast.NodeTransformer):
    """Replaces the messages of one module, and counts them."""

    def __init__(self, module: str) -> None:
        self._module = module
        self.count = 0

    def _reworded(self, text: str, node: ast.expr) -> ast.Constant:
        return ast.Constant(reworded(text, f"{self._module}:{node.lineno}:{node.col_offset}"))

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        is_docstring = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return node if is_docstring else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        is_regex = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "re"
        return node if is_regex else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str) or not PROSE.search(node.value):
            return node
        self.count += 1
        return ast.copy_location(self._reworded(node.value, node), node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
        is_prose = PROSE.search("x".join(str(part) for part in parts)) is not None
        self.count += is_prose
        values: list[ast.expr] = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                text = str(part.value)
                values.append(self._reworded(text, part) if is_prose and text.strip() else part)
            else:
                values.append(part)
        return ast.copy_location(ast.JoinedStr(values), node)


def reworded(text: str, place: str) -> str:
    """Return the hash of a message and its place, with what is filled in."""
    digest = hashlib.blake2b(f"{place} {text}".encode(), digest_size=6).hexdigest()
    return " ".join([f"#{digest}", *FILLED_IN.findall(text)])


def reword_package(source: Path, target: Path) -> int:
    """Copy the program and reword its messages. Return how many there are."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    count = 0
    for path in sorted(target.rglob("*.py")):
        if str(path.relative_to(target)).startswith(READS_FOREIGN_WORDS):
            continue
        rewording = Rewording(str(path.relative_to(target)))
        tree = rewording.visit(ast.parse(path.read_text(encoding="utf-8")))
        path.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
        count += rewording.count
    return count
