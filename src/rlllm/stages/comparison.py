"""`rlllm compare`: two evaluations, problem by problem."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rlllm.core.runs import open_run

if TYPE_CHECKING:
    from rlllm.evals.compare import Comparison


def compare(a: Path | str, b: Path | str, *, seed: int = 0) -> Comparison:
    """Pair the items of two `eval` runs.

    Args:
        a, b: run directories; differences are b minus a.
        seed: seeds the resampling.

    Raises:
        RlllmError: one is no evaluation, or they do not measure the same thing.
    """
    from rlllm.evals.compare import compare_runs

    return compare_runs(open_run(a), open_run(b), seed=seed)
