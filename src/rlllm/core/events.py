"""Progress callbacks: what a run reports while it works. A callback never changes what a run does.

The command line draws progress with one; the Python API is silent by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class ProgressCallback(Protocol):
    """Called during one run: `started` before the first `step`, `finished` last, `phase` and `note` at any time."""

    def started(self, stage: str, total_steps: int, run: Path) -> None:
        """Steps are about to be counted, up to `total_steps` (optimizer steps; items for an evaluation)."""

    def phase(self, name: str) -> None:
        """A named part begins, in words: "loading", "measuring before", "training", "saving"."""

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Step `step` (counted from 1) is done. `values` holds the stage's logged numbers under their metric names."""

    def note(self, text: str) -> None:
        """One sentence a person should see now: a warning, or where something was saved."""

    def finished(self, run: Path) -> None:
        """Nothing more will be written by this run; its status and verdict are on disk."""


class NullProgress:
    """A progress callback that does nothing."""

    def started(self, stage: str, total_steps: int, run: Path) -> None:
        pass

    def phase(self, name: str) -> None:
        pass

    def step(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def finished(self, run: Path) -> None:
        pass
