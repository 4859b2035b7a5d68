"""Checkpoints with a manifest of file hashes, which is written once every file is complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlllm.core.runs import write_manifest


class SealedCheckpoints:
    """Mixin for TRL trainers: a checkpoint counts only from the moment its manifest exists.

    A kill during a save leaves a folder without manifest, which `Run.latest_checkpoint` passes over.
    """

    args: Any
    state: Any

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL writes a README into the parent of every checkpoint; the run directory already says what it would."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        if self.args.should_save:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            self.save_state(folder)
            write_manifest(folder)

    def save_state(self, folder: Path) -> None:
        """Write what the trainer itself must keep beside what transformers saves; sealed with it."""
