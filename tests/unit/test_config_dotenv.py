"""The `.env` file."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetbatch.config.dotenv import parse_dotenv


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        ("  A = b c  ", "b c"),
        ("export A=b", "b"),
        ("A=b # a comment", "b"),
        ("A=b#c", "b#c"),
        ("A= # a comment", ""),
        ("A='b # c' # a comment", "b # c"),
        ('A="b # c"', "b # c"),
        (r"A='b\n'", r"b\n"),
        (r'A="b\n\"c\"\\"', 'b\n"c"\\'),
        ('A="b\nc"', "b\nc"),
        ("A='b\nc'", "b\nc"),
        ("A=''", ""),
        ("A=pa$$word=${B}", "pa$$word=${B}"),
        ("A=b'c", "b'c"),
        ("A=1\nA=2", "2"),
        ("# A=1\n\nA=2\n\n", "2"),
        ("A=b\r\nB=c\r\n", "b"),
        ("A=b\rB=c\r", "b"),
        ("B=c\rexport A='b'  # a comment\r\r# A=d\r", "b"),
    ],
)
def test_a_value(line: str, value: str) -> None:
    assert parse_dotenv(line)["A"] == value


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A", 1),
        ("A=1\nA: 2", 2),
        ("A='b", 1),
        ('A="b\n\nC=d', 1),
        ("A='b' c", 1),
        ("1A=b", 1),
        ("A=1\n=2", 2),
        ("A='\0'", 1),
    ],
)
def test_what_is_no_assignment_is_told_by_its_line(text: str, line: int) -> None:
    with pytest.raises(ValueError, match=f"^line {line}: found no KEY=VALUE"):
        parse_dotenv(text)


@given(
    st.dictionaries(
        st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,5}\Z"),
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r'")),
    )
)
def test_values_in_single_quotes_come_back_as_they_are(variables: dict[str, str]) -> None:
    text = "".join(f"export {name}='{value}'\n" for name, value in variables.items())
    assert parse_dotenv(text) == variables


@given(st.from_regex(r"\A[a-z0-9_@%+=:,./-]{1,20}\Z"))
def test_a_bare_value_is_what_a_shell_would_read(value: str) -> None:
    assert [f"A={parse_dotenv(f'A={value}')['A']}"] == shlex.split(f"A={value}")


@given(st.text("A=\"'# \\\nexport$\t\r\0", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        told = "line " if parse_dotenv(text) is not None else ""
    except ValueError as error:
        told = str(error)
    assert told.startswith("line ")
