"""Mutants of a source text: each is the text with one small change that a test should notice.

Pure. Python is read with `ast`; of a Lua line only what is neither a string nor a comment is changed.
Annotations, decorators, class arguments, asserts and texts are left alone: no decision is in them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest


@dataclass(frozen=True)
class Mutant:
    """One change of one file: bytes `start` to `end` of it become `text`.

    `was` and `becomes` are the first line that differs, without its indentation.
    """

    line: int
    start: int
    end: int
    text: str
    was: str
    becomes: str

    def apply(self, source: str) -> str:
        """Return the source with the change in it."""
        raw = source.encode()
        return (raw[: self.start] + self.text.encode() + raw[self.end :]).decode()


_Change = tuple[int, int, str]  # from byte, to byte, the text between them

_OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "+"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
_OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}


def python_mutants(source: str) -> list[Mutant]:
    """Return all mutants of a Python module, in the order of their lines."""
    return _mutants(source, _PythonChanges(source).changes())


class _PythonChanges:
    def __init__(self, source: str) -> None:
        self._raw = source.encode()
        lines = self._raw.splitlines(keepends=True)
        self._offsets = [0]
        for line in lines:
            self._offsets.append(self._offsets[-1] + len(line))
        self._tree = ast.parse(source)

    def changes(self) -> Iterator[_Change]:
        return self._of(self._tree)

    def _of(self, node: ast.AST) -> Iterator[_Change]:
        yield from self._own(node)
        for child in self._children(node):
            yield from self._of(child)

    def _children(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what can hold a decision."""
        match node:
            case ast.FunctionDef():
                yield from (default for default in node.args.defaults + node.args.kw_defaults if default)
                yield from node.body
            case ast.ClassDef():
                yield from node.body
            case ast.AnnAssign():
                yield from [node.value] if node.value else []
            case ast.Assert() | ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
                return
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                return
            case _:
                yield from ast.iter_child_nodes(node)

    def _own(self, node: ast.AST) -> Iterator[_Change]:
        yield from self._of_expression(node)
        yield from self._of_condition(node)
        yield from self._of_statement(node)

    def _of_expression(self, node: ast.AST) -> Iterator[_Change]:
        match node:
            case ast.Compare():
                operands = [node.left, *node.comparators]
                yield from self._swaps(node.ops, operands)
            case ast.BoolOp():
                yield from self._swaps([node.op] * (len(node.values) - 1), node.values)
            case ast.BinOp():
                yield from self._swaps([node.op], [node.left, node.right])
            case ast.UnaryOp(op=ast.Not()):
                yield self._span(node)[0], self._span(node.operand)[0], ""
            case ast.Constant():
                yield from self._constant(node)
            case ast.Call(func=ast.Name(id=name)) if name in _OPPOSITES:
                yield *self._span(node.func), _OPPOSITES[name]

    def _of_condition(self, node: ast.AST) -> Iterator[_Change]:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                return
            case ast.If() | ast.While() | ast.IfExp():
                yield from self._negation(node.test)
            case ast.comprehension():
                for test in node.ifs:
                    yield from self._negation(test)

    def _of_statement(self, node: ast.AST) -> Iterator[_Change]:
        match node:
            case ast.Return() if node.value and not _is_false(node.value):
                yield *self._span(node.value), "None"
            case ast.Expr(value=ast.Call()) | ast.AugAssign():
                yield *self._span(node), "pass"
            case ast.Raise() if "AssertionError" not in ast.dump(node):  # that one is said to be out of reach
                yield *self._span(node), "pass"
            case ast.Continue():
                yield *self._span(node), "break"
            case ast.Break():
                yield *self._span(node), "continue"

    def _swaps(self, operators: Iterable[ast.AST], operands: list[ast.expr]) -> Iterator[_Change]:
        for position, operator in enumerate(operators):
            old, new = _OPERATORS.get(type(operator), ("", ""))
            gap_from, gap_to = self._span(operands[position])[1], self._span(operands[position + 1])[0]
            at = self._raw.find(old.encode(), gap_from, gap_to) if old else -1
            if at >= 0:
                yield at, at + len(old), new

    def _negation(self, test: ast.expr) -> Iterator[_Change]:
        if isinstance(test, ast.Compare | ast.UnaryOp) and not (
            isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE)
        ):
            return  # its operator is changed already, to the same effect
        start, end = self._span(test)
        yield start, end, f"not ({self._raw[start:end].decode()})"

    def _constant(self, node: ast.Constant) -> Iterator[_Change]:
        if isinstance(node.value, bool):
            yield *self._span(node), str(not node.value)
        elif isinstance(node.value, int | float):
            yield *self._span(node), repr(node.value + 1)

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._offsets[node.lineno - 1] + node.col_offset,
            self._offsets[node.end_lineno - 1] + node.end_col_offset,
        )


def _is_false(node: ast.expr) -> bool:
    """Whether None in its place is as good: it is None itself, or the False of a condition."""
    return isinstance(node, ast.Constant) and (node.value is None or node.value is False)


_LUA_TOKEN = re.compile(
    r"""(?P<comment>--.*$)|(?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|(?P<number>\b\d+\b)"""
    r"""|(?P<word>[A-Za-z_][\w.]*)|(?P<operator><=|>=|==|~=|\.\.|[-<>+*/%#])"""
)
_LUA_OPERATORS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "~=", "~=": "==",
    "+": "-", "-": "+", "*": "/", "/": "*", "%": "+",
}  # fmt: skip
_LUA_WORDS = {
    "and": "or", "or": "and", "true": "false", "false": "true", "not": "",
    "math.max": "math.min", "math.min": "math.max", "math.floor": "math.ceil",
}  # fmt: skip
_LUA_STATEMENT = re.compile(r"^\s*((?:redis\.call|[a-z_]+)\(.*\)|[\w.]+ = [^{]*[^{,])$")
_LUA_CONDITION = re.compile(r"\b(?:else)?if (.*) then\b")
_LUA_RETURN = re.compile(r"^\s*return (?!nil\b)(.*[^{,])$")


def lua_mutants(source: str) -> list[Mutant]:
    """Return all mutants of a Lua script, in the order of their lines."""
    return _mutants(source, _lua_changes(source))


def _lua_changes(source: str) -> Iterator[_Change]:
    at = 0
    for line in source.splitlines(keepends=True):
        code = line.rstrip("\n")
        tokens = [found for found in _LUA_TOKEN.finditer(code) if found.lastgroup != "comment"]
        comment = next((found for found in _LUA_TOKEN.finditer(code) if found.lastgroup == "comment"), None)
        bare = code[: comment.start()].rstrip() if comment else code
        for start, end, text in [*_lua_tokens(bare, tokens), *_lua_lines(bare)]:
            yield at + len(code[:start].encode()), at + len(code[:end].encode()), text
        at += len(line.encode())


def _lua_tokens(code: str, tokens: list[re.Match[str]]) -> Iterator[_Change]:
    for token in tokens:
        text = token.group()
        match token.lastgroup:
            case "number":  # one more of a large number is nearly the same
                number = int(text)
                yield token.start(), token.end(), str(number + 1 if number < 1000 else number * 2)
            case "word" if text in _LUA_WORDS:
                yield token.start(), token.end(), _LUA_WORDS[text]
            case "operator" if text == "-" and not code[: token.start()].rstrip()[-1:].isalnum():
                if not code[: token.start()].rstrip().endswith((")", "]")):
                    yield token.start(), token.end(), ""  # the sign of a number
                else:
                    yield token.start(), token.end(), "+"
            case "operator" if text in _LUA_OPERATORS:
                yield token.start(), token.end(), _LUA_OPERATORS[text]
            case "string" if text == "'('":  # the border of a range of scores
                yield token.start(), token.end(), "''"


def _lua_lines(code: str) -> Iterator[_Change]:
    if statement := _LUA_STATEMENT.match(code):
        yield statement.start(1), statement.end(1), ""
    if condition := _LUA_CONDITION.search(code):
        yield condition.start(1), condition.end(1), f"not ({condition[1]})"
    if returned := _LUA_RETURN.match(code):
        yield returned.start(1), returned.end(1), "nil"


def _mutants(source: str, changes: Iterable[_Change]) -> list[Mutant]:
    raw = source.encode()
    before = source.splitlines()
    found = []
    for start, end, text in sorted(changes):
        after = (raw[:start] + text.encode() + raw[end:]).decode().splitlines()
        line = next(
            (at for at, (one, other) in enumerate(zip_longest(before, after, fillvalue="")) if one != other),
            None,
        )
        if line is not None:
            was, becomes = before[line].strip(), "".join(after[line : line + 1]).strip()
            found.append(Mutant(line + 1, start, end, text, was, becomes))
    return found
