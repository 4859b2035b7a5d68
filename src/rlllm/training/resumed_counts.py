"""What rewards were given and failed on before the first checkpoint, which a resume does not measure again."""

from __future__ import annotations

from rlllm.core.runs import Run, read_object
from rlllm.rewards.composition import Composition

_FILE = "reward_counts.json"


def keep_counts(run: Run, rewards: Composition | None) -> None:
    """Write the counts of a run's rewards, before what they have scored is written."""
    if rewards is not None:
        run.write(_FILE, rewards.counts())


def recall_counts(run: Run, rewards: Composition | None) -> None:
    """Go on from the counts of an earlier start; a checkpoint that is loaded later has later ones."""
    if rewards is not None and (run.path / _FILE).exists():
        rewards.restore_counts(read_object(run.path / _FILE))
