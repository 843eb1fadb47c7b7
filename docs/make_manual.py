"""Makes the manual pages in docs/man from the help texts: `python docs/make_manual.py`.

One page for each command, and one for the program. The wheel carries them as share/man/man1, where `man`
looks beside the folder of a program on the PATH. `tests/deploy/test_manual.py` fails where a page is stale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from assetbatch import __version__
from assetbatch.cli.app import app

DOCS = Path(__file__).resolve().parent
MANUAL = DOCS / "man"
FILES = (
    ("./config.yml, $XDG_CONFIG_HOME/assetbatch/config.yml, /etc/assetbatch/config.yml",
     "The configuration. The first that is there counts; --config and ASSETBATCH_CONFIG go before all."),
    (".env", "Variables beside the configuration, such as the API key. Only its owner should read it."),
    ("$XDG_DATA_HOME/assetbatch",
     "The data of embedded servers and of the sandbox. Default: ~/.local/share/assetbatch."),
    ("$XDG_STATE_HOME/assetbatch",
     "What this host has reported of lasting failures. Default: ~/.local/state/assetbatch."),
)  # fmt: skip


def main() -> None:
    """Write every page; remove those of commands that are gone."""
    made = pages()
    MANUAL.mkdir(exist_ok=True)
    for old in MANUAL.iterdir():
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (MANUAL / name).write_text(text, encoding="ascii")


def pages() -> dict[str, str]:
    """Return each page by its file name."""
    root: Any = typer.main.get_command(app)
    context = typer.Context(root, info_name="assetbatch")
    commands = {name: root.get_command(context, name) for name in root.list_commands(context)}
    made = {
        "assetbatch.1": _page(
            _program(root, context, commands), "assetbatch", "market data on a budget of API calls"
        )
    }
    for name, command in commands.items():
        title = f"assetbatch-{name}"
        made[f"{title}.1"] = _page(_command(name, command, context), title, _first_sentence(command.help))
    return made


def _page(body: Iterator[str], title: str, summary: str) -> str:
    changelog = (DOCS.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(r"^## .*?(\d{4}-\d{2}-\d{2})$", changelog, re.MULTILINE)
    assert found, "the changelog has no dated section"
    head = [
        '.\\" Made from the help texts by docs/make_manual.py. Do not edit.',
        f'.TH {title.upper()} 1 {found[1]} "assetbatch {__version__}" "User Commands"',
        ".SH NAME",
        f"{_bare(title)} \\- {_text(summary.rstrip('.'))}",
    ]
    return "\n".join([*head, *body]) + "\n"


def _program(root: Any, context: typer.Context, commands: dict[str, Any]) -> Iterator[str]:
    yield from (".SH SYNOPSIS", r"\fBassetbatch\fR [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]")
    yield from (".SH DESCRIPTION", *_paragraphs(root.help))
    yield ".SH COMMANDS"
    for name, command in commands.items():
        yield from _item(
            name,
            f"{_first_sentence(command.help)} See \\fBassetbatch\\-{_bare(name)}\\fR(1).",
            is_marked=True,
        )
    yield from (".SH OPTIONS", "They stand before the command.", *_parameters(root, context))
    yield ".SH ENVIRONMENT"
    for names, meaning in _environment():
        yield from _item(names, _sentence(meaning))
    yield ".SH FILES"
    for names, meaning in FILES:
        yield from _item(names, meaning)
    yield from _ending(root.epilog)
    names = ",\n".join(f".BR assetbatch\\-{_bare(name)} (1)" for name in commands)
    yield from (".SH SEE ALSO", *names.splitlines())


def _command(name: str, command: Any, parent: typer.Context) -> Iterator[str]:
    context = typer.Context(command, parent=parent, info_name=name)
    yield ".SH SYNOPSIS"
    inner = {one: command.get_command(context, one) for one in getattr(command, "commands", {})}
    contexts = {one: typer.Context(of, parent=context, info_name=one) for one, of in inner.items()}
    if inner:
        for number, one in enumerate(inner):
            yield from ([".br"] if number else [])
            yield _synopsis(f"{name} {one}", inner[one], contexts[one])
    else:
        yield _synopsis(name, command, context)
    yield from (".SH DESCRIPTION", *_paragraphs(command.help))
    if inner:
        yield ".SH COMMANDS"
        for one, of in inner.items():
            yield f".SS assetbatch {_bare(name)} {_bare(one)}"
            yield from (*_paragraphs(of.help), *_parameters(of, contexts[one]))
    else:
        yield from (".SH OPTIONS", *_parameters(command, context))
    ways = [command, *inner.values()]
    examples = [example for way in ways for example in _examples(way.epilog)]
    yield from _ending(command.epilog, list(dict.fromkeys(examples)))
    yield from (".SH SEE ALSO", ".BR assetbatch (1)")


def _synopsis(name: str, command: Any, context: typer.Context) -> str:
    pieces = " ".join(f"\\fI{_bare(piece)}\\fR" for piece in command.collect_usage_pieces(context))
    return f"\\fBassetbatch {_bare(name)}\\fR {pieces}"


def _parameters(command: Any, context: typer.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and (parameter.name != "help" or context.parent is None):
            names, meaning = record
            yield from _item(names, " ".join(meaning.replace("[default: 0]", "").split()), is_marked=True)


def _item(term: str, meaning: str, *, is_marked: bool = False) -> Iterator[str]:
    yield ".TP"
    yield f"\\fB{_bare(term)}\\fR" if is_marked else _text(term)
    yield _text(meaning)


def _ending(epilog: str, examples: list[str] | None = None) -> Iterator[str]:
    """Yield the sections that the end of a help text becomes."""
    yield ".SH EXIT STATUS"
    codes = epilog.split("Exit codes: ", 1)[1].split("\n\n")[0]
    for number, part in enumerate(re.split(r"; |(?<=[a-zN])\. ", codes.rstrip("."))):
        before, colon, code = part.partition(": ") if part.startswith("before ") else ("", "", part)
        if colon:
            yield from (".PP", _text(_sentence(before, ":")))
        found = re.match(r"(\d+(?:[/,] ?\d+)*) (?!and others)(.+)", code, re.DOTALL)
        if found:
            yield from _item(found[1], _sentence(found[2]))
        else:
            yield from ([".PP"] if number else [])
            yield _text(_sentence(code))
    yield ".SH EXAMPLES"
    yield from (".nf", *(_bare(example) for example in examples or _examples(epilog)), ".fi")


def _sentence(text: str, end: str = ".") -> str:
    return f"{text[:1].upper()}{text[1:]}{end}"


def _examples(epilog: str) -> list[str]:
    line = epilog.split("\n\n")[0].removeprefix("Examples: ")
    return [example.strip() for example in re.split(r"\s\s*\|\s\s*", line)]


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        yield from ([".PP"] if number else [])
        yield _text(" ".join(paragraph.split()))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0].rstrip(".") + "."


def _environment() -> list[tuple[str, str]]:
    """Return the variables as docs/configuration.md lists them."""
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    table = page.split("\n## Environment\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|$", table, re.MULTILINE)
    return [
        (names.replace("`", ""), re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", meaning)) for names, meaning in rows
    ]


def _text(text: str) -> str:
    """Return prose as roff: code in bold, nothing taken for a request or an escape."""
    parts = text.split("\\fB")  # what has been marked already
    marked = "\\fB".join(_marked(part) for part in parts)
    return marked if marked[:1] not in (".", "'") else f"\\&{marked}"


def _marked(text: str) -> str:
    pieces = re.split(r"`([^`]+)`", text)
    return "".join(
        f"\\fB{_bare(piece)}\\fR" if number % 2 else _bare(piece) for number, piece in enumerate(pieces)
    )


def _bare(text: str) -> str:
    """Return text as it is, in roff: also on a terminal that would make a typographic dash of a hyphen."""
    text = re.sub(r"\\(?!f[BIR]|-)", r"\\e", text)
    text = re.sub(r"(?<!\\)-", r"\\-", text)
    text = "".join(one if ord(one) < 128 else f"\\[u{ord(one):04X}]" for one in text)
    return text if text[:1] not in (".", "'") else f"\\&{text}"


if __name__ == "__main__":
    main()
