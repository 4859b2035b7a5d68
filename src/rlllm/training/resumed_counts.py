"""What rewards were given and failed on outside of training steps, in work that a resume does not do again.

The counts lie beside the file that the work has made, and are written before it: where that file is, they are.
"""

from __future__ import annotations

from pathlib import Path

from rlllm.core.runs import read_run_file, write_json
from rlllm.rewards.composition import Composition


def keep_counts(made: Path, rewards: Composition | None) -> None:
    """Write the counts of a run's rewards, when `made` is about to be written."""
    if rewards is not None:
        write_json(_place(made), rewards.counts())


def recall_counts(made: Path, rewards: Composition | None) -> None:
    """Go on from the counts of the start that has written `made`; a checkpoint that is loaded later has later ones."""
    if rewards is not None and _place(made).exists():
        rewards.restore_counts(read_run_file(_place(made)))


def _place(made: Path) -> Path:
    return made.with_name(f"{made.stem}_counts.json")
