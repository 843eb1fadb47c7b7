"""Makes docs/status.svg, the README's picture, from a real start: `python docs/make_picture.py`.

Runs the three commands in a sandbox of its own and draws what `status` shows.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console

from assetbatch.health import Health
from assetbatch.views.terminal.status import render


def main() -> None:
    """Write the picture beside this script."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "XDG_DATA_HOME": folder}

        def start(*arguments: str) -> bytes:
            command = [sys.executable, "-m", "assetbatch", "--sandbox", *arguments]
            return subprocess.run(command, env=env, check=True, capture_output=True).stdout

        for command in ("run-priority", "enqueue-secondary"):
            start(command)
        start("run-queue", "--max-seconds", "10")
        health = msgspec.json.decode(start("status", "--json"), type=Health)
    console = Console(record=True, width=80, file=io.StringIO(), highlight=False)
    console.print(render(health, {}))
    svg = console.export_svg(title="assetbatch --sandbox status")
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)  # no font from the network
    Path(__file__).with_name("status.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
