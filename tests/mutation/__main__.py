"""Counts how many small changes of the deciding modules the tests notice; by hand or nightly.

`python -m tests.mutation --sample 20 --seed 1 --module hours --module planning`
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .runner import Outcome, load_equivalents, load_targets, run

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the mutants that are asked for; 1 where fewer than `--at-least` percent were killed."""
    targets = load_targets(HERE / "targets.toml")
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sample", type=int, default=20, help="mutants of each module; 0 for all (default 20)"
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed is another sample (default 1)")
    parser.add_argument(
        "--module", action="append", choices=sorted(targets), help="may be repeated; default all"
    )
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried side by side (default 1)")
    parser.add_argument("--at-least", type=float, default=95.0, help="percent to be killed (default 95)")
    given = parser.parse_args()
    totals = dict.fromkeys(Outcome, 0)
    for name in given.module or targets:
        counts = run(
            HERE.parents[1],
            name,
            targets[name],
            load_equivalents(HERE / "equivalent.toml"),
            sample=given.sample,
            seed=given.seed,
            jobs=given.jobs,
            say=_say,
        )
        for outcome, count in counts.items():
            totals[outcome] += count
    tried = sum(totals.values()) - totals[Outcome.EQUIVALENT]
    killed = tried - totals[Outcome.SURVIVED]
    percent = 100 * killed / tried if tried else 100.0
    _say(f"all: {killed} of {tried} killed, {percent:.1f} %")
    return 0 if percent >= given.at_least else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
