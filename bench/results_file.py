"""Writes a file under `docs/results/`: numbers beside the command, the machine and the code that made them.

Every benchmark takes `--output docs/results/NAME.json`. `python -m rlllm_cli.results` renders such files into the pages. A
benchmark of SmolLM2-135M is given its folder as `$SMOLLM2`, and one that asks other tools their Python as `$TOOLS`, so that
its command names no machine's path.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlllm.core.code_hash import code_hash, package_hash
from rlllm.launch.local import processor, versions
from rlllm.tools.claims.claim_file import text_of
from rlllm.tools.claims.pack import claim

ROOT = Path(__file__).resolve().parents[1]
_ROOMS = (
    "core",
    "parsing",
    "sandbox",
    "data",
    "policies",
    "rewards",
    "rollouts",
    "algorithms",
    "evals",
    "launch",
    "training",
    "stages",
)
TRAINING = tuple(f"src/rlllm/{room}" for room in _ROOMS)
"""Code that takes part in a training run or an evaluation."""


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the option `--output` to a benchmark."""
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the numbers there, as docs/results/NAME.json"
    )


def write_results(
    path: Path | None,
    results: Any,
    *,
    sources: Sequence[str],
    threads: int | None = None,
    runs: Path | None = None,
) -> None:
    """Write a results file.

    Args:
        path: where to; None writes nothing.
        results: the numbers.
        sources: files and folders of the repository that the numbers measure; the calling script is added.
        threads: CPU threads of what was measured; None where it chose them itself.
        runs: folder of the training runs that the numbers come from. They are packed as a claim, for `rlllm verify`; where one
            of them was made with other code than there is now, the file says that it is old.
    """
    if path is None:
        return
    script = Path(sys.argv[0]).resolve().relative_to(ROOT).as_posix()
    sources = [*sources, script]
    content = {
        "command": _command(script, sys.argv[1:]),
        "recorded": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
        "versions": versions(),
        "hardware": {"processor": processor(), "cores": os.cpu_count(), "threads": threads, "device": "cpu"},
        "code": None if runs and not made_with_this_code(runs) else {n: code_hash([ROOT / n], ROOT) for n in sources},
        "results": results,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str)
    if runs is not None:
        text = f'{text[:-2]},\n "claim": {text_of(claim(runs)).rstrip()}\n}}'
    path.write_text(f"{text}\n", encoding="utf-8")


def made_with_this_code(folder: Path) -> bool:
    """Whether every run at and below a folder was made with the code of rlllm as it is now."""
    codes = {json.loads(path.read_text(encoding="utf-8")).get("code") for path in folder.rglob("env.json")}
    return codes <= {package_hash()}


def _command(script: str, words: Sequence[str]) -> str:
    """The line to type again: without `--output`, and with places of one machine as the variables that name them."""
    kept = list(words)
    if "--output" in kept:
        at = kept.index("--output")
        del kept[at : at + 2]
    places = {os.environ[name]: f"${name}" for name in ("SMOLLM2", "TOOLS") if name in os.environ}
    return " ".join(["python", script, *(places.get(word) or shlex.quote(word) for word in kept)])


def _commit() -> str | None:
    """The commit of the working tree, with a `+` where files differ from it; None outside of git."""
    done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or None
