"""`quarantine.jsonl` of a run: every sample that a reward failed on, with the reason, so that it can be tried alone.

Rows are only appended, also by a resumed run: a sample that failed twice has two rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rlllm.core.errors import RunDirectoryError
from rlllm.core.records import Sample
from rlllm.core.runs import append_jsonl
from rlllm.rewards.scores import Issue

FILE = "quarantine.jsonl"


@dataclass(frozen=True)
class Quarantine:
    """Where the samples go that a reward failed on.

    Args:
        path: JSON-lines file; made with the first row.
    """

    path: Path

    def add(self, reward: str, failures: Iterable[tuple[Sample, Issue]]) -> None:
        """Write down the failures of one batch.

        Raises:
            RunDirectoryError: the file cannot be written.
        """
        rows = [
            {
                "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
                "reward": reward,
                "reason": issue.message,
                "seconds": None if issue.seconds is None else round(issue.seconds, 3),
                "prompt": sample.prompt,
                "completion": sample.completion,
                "answer": sample.answer,
            }
            for sample, issue in failures
        ]
        if not rows:
            return
        try:
            append_jsonl(self.path, rows)
        except OSError as error:
            raise RunDirectoryError(f"the quarantine file cannot be written: {error}", given=self.path) from error
