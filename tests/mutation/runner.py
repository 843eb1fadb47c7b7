"""Runs the tests that a module is mapped to against each of its mutants, on a copy of the repository."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import SimpleQueue

from .mutants import Mutant, lua_mutants, python_mutants

NOT_COPIED = (
    ".git",
    ".venv",
    ".hypothesis",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    "__pycache__",
    "dist",
)
TEST_SECONDS = 90
"""Maximum time of one test, on a machine that others load; a mutant that makes one hang is killed by it."""
MEMORY_KIB = 4_000_000
"""Maximum address space of a run: a mutant may fill a list for ever."""
PASSED, NOTHING_TO_RUN = 0, 5  # pytest's exit codes
EXAMPLES_FIRST = ("not hypothesis", "hypothesis")
"""Expressions for `-m`: examples notice most mutants, in a fraction of the time that properties take."""


class Outcome(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    TIMED_OUT = "timed out"
    EQUIVALENT = "equivalent"


@dataclass(frozen=True)
class Target:
    """The files that decide, and the test files that are run against their mutants, the fastest first."""

    mutate: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Equivalent:
    """A change that changes nothing that anybody could see, with the reason."""

    file: str
    was: str
    becomes: str
    reason: str


def load_targets(path: Path) -> dict[str, Target]:
    """Read the modules by name."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: Target(tuple(table["mutate"]), tuple(table["tests"])) for name, table in tables.items()}


def load_equivalents(path: Path) -> list[Equivalent]:
    """Read the changes that no test can notice."""
    tables = tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", [])
    return [Equivalent(**table) for table in tables]


def mutants_of(root: Path, files: Sequence[str]) -> list[tuple[str, Mutant]]:
    """Return each mutant with its file, a path below `root`."""
    found = []
    for file in files:
        make = lua_mutants if file.endswith(".lua") else python_mutants
        found += [(file, mutant) for mutant in make((root / file).read_text(encoding="utf-8"))]
    return found


def run(
    root: Path,
    name: str,
    target: Target,
    equivalents: Sequence[Equivalent] = (),
    *,
    sample: int = 0,
    seed: int = 1,
    jobs: int = 1,
    say: Callable[[str], None],
) -> Mapping[Outcome, int]:
    """Try a sample of a module's mutants and `say` which survive; `sample` 0 is all of them.

    Raises RuntimeError where the tests fail without any change, or do not see the changed copy.
    """
    mutants = mutants_of(root, target.mutate)
    known = {(one.file, one.was, one.becomes) for one in equivalents}
    there = {(file, mutant.was, mutant.becomes) for file, mutant in mutants}
    for one in equivalents:
        if one.file in target.mutate and (one.file, one.was, one.becomes) not in there:
            say(f"stale in equivalent.toml: {one.file}: {one.was}")
    if 0 < sample < len(mutants):
        mutants = random.Random(f"{seed}:{name}").sample(mutants, sample)
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copies: SimpleQueue[_Copy] = SimpleQueue()
        for number in range(jobs):
            copies.put(_Copy(root, Path(folder) / str(number), target))

        def outcome_of(mutant: tuple[str, Mutant]) -> Outcome:
            file, change = mutant
            if (file, change.was, change.becomes) in known:
                return Outcome.EQUIVALENT
            copy = copies.get()
            try:
                outcome = copy.outcome(file, change)
            finally:
                copies.put(copy)
            if outcome is Outcome.SURVIVED:
                say(f"survived: {file}:{change.line}\n  - {change.was}\n  + {change.becomes}")
            return outcome

        with ThreadPoolExecutor(jobs) as pool:
            counts = Counter(pool.map(outcome_of, mutants))
    tried = len(mutants) - counts[Outcome.EQUIVALENT]
    killed = tried - counts[Outcome.SURVIVED]
    percent = 100 * killed / tried if tried else 100.0
    others = ", ".join(
        f"{counts[one]} {one}" for one in (Outcome.TIMED_OUT, Outcome.EQUIVALENT) if counts[one]
    )
    say(f"{name}: {killed} of {tried} killed, {percent:.1f} %" + (f" ({others})" if others else ""))
    return counts


class _Copy:
    """A copy of the repository in which one mutant at a time is put."""

    def __init__(self, root: Path, folder: Path, target: Target) -> None:
        self._root = folder / "repository"
        self._temporary = folder / "tmp"
        self._temporary.mkdir(parents=True)
        self._tests = target.tests
        shutil.copytree(root, self._root, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
        self._limit_seconds = 600.0
        started = time.monotonic()
        code, output = self._pytest(keep_bytecode=True)
        if code != PASSED:
            raise RuntimeError(f"the tests fail without any change:\n{output}")
        self._limit_seconds = TEST_SECONDS + 4 * (time.monotonic() - started)
        for file in target.mutate:
            broken = "error('changed')" if file.endswith(".lua") else "raise RuntimeError('changed')"
            if self._with_text(file, broken) is Outcome.SURVIVED:
                raise RuntimeError(f"the tests do not see a changed {file}")

    def outcome(self, file: str, mutant: Mutant) -> Outcome:
        """Put the mutant in, run the tests, take it out."""
        source = (self._root / file).read_text(encoding="utf-8")
        return self._with_text(file, mutant.apply(source))

    def _with_text(self, file: str, text: str) -> Outcome:
        path = self._root / file
        source = path.read_bytes()
        # a .pyc is taken for the source where size and second of the last change are the same
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()
        path.write_text(text, encoding="utf-8")
        try:
            for expression in EXAMPLES_FIRST:
                code, _ = self._pytest("-m", expression)
                if code is None:
                    return Outcome.TIMED_OUT
                if code not in (PASSED, NOTHING_TO_RUN):
                    return Outcome.KILLED
        finally:
            path.write_bytes(source)
        return Outcome.SURVIVED

    def _pytest(self, *arguments: str, keep_bytecode: bool = False) -> tuple[int | None, str]:
        """Run the tests; None as the exit code where they had to be ended."""
        environment = dict(os.environ) | {
            "PYTHONPATH": os.pathsep.join([str(self._root / "src"), str(self._root)]),
            "TMPDIR": str(self._temporary),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # loading all of them takes longer than most unit tests
        }
        if not keep_bytecode:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        options = ["-x", "-q", "--no-header", "--tb=short", "-p", "no:cacheprovider"]
        options += ["-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin", "--hypothesis-seed=0"]
        options += ["-o", f"timeout={TEST_SECONDS}"]
        pytest = [sys.executable, "-m", "pytest", *options, *arguments, *self._tests]
        process = subprocess.Popen(
            ["sh", "-c", f'ulimit -v {MEMORY_KIB}; exec "$@"', "sh", *pytest],
            cwd=self._root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=self._limit_seconds)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, ""
        finally:
            self._end_servers()

    def _end_servers(self) -> None:
        """End what tests have started in this copy's folder and left behind, as one does that was killed."""
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.fspath(self._temporary).encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir(exist_ok=True)
