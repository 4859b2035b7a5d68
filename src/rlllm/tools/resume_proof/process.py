"""A run in a process of its own, which tells its parent what it does, so that it can be killed at any moment of its life.

python -m rlllm.tools.resume_proof.process STAGE SETTINGS.json RUN EVENTS [--resume]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlllm.core.errors import RlllmError
from rlllm.core.runs import RunOptions, read_run_file
from rlllm.stages.catalog import resolve_settings, stage_function

FAILED = 3
"""Exit code of a process whose run raised an error with a message."""


class _Events:
    """A progress callback that writes each event as a line of JSON: place inside the run, name, and step."""

    def __init__(self, descriptor: int, root: Path) -> None:
        self.descriptor = descriptor
        self.root = root
        self.place = "."
        self.last = 0

    def started(self, stage: str, total_steps: int, run: Path) -> None:
        self.place = Path(os.path.relpath(run, self.root)).as_posix()
        self.last = 0

    def phase(self, name: str) -> None:
        self._tell(name)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        self.last = step
        self._tell("step")

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def finished(self, run: Path) -> None:
        self._tell("finished")

    def _tell(self, name: str) -> None:
        os.write(self.descriptor, (json.dumps([self.place, name, self.last]) + "\n").encode())


def main(words: Sequence[str]) -> int:
    """Run what the words say; returns the exit code."""
    stage, settings, run, events, *rest = words
    config = resolve_settings(stage, {**read_run_file(Path(settings)), "output_dir": run})
    options = RunOptions(_Events(int(events), Path(run)), resume="--resume" in rest)
    try:
        stage_function(stage)(config, options)
    except RlllmError as error:
        print(error, file=sys.stderr, flush=True)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
