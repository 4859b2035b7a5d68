"""Checkpoints with a manifest of file hashes, which is written once every file is complete."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rlllm.core.run_lock import check_held
from rlllm.core.runs import verify_manifest, write_manifest
from rlllm.policies.model_sources import weight_shapes
from rlllm.policies.sharded_weights import load_parameters, save_parameters

REFERENCE = "reference.safetensors"
"""In a checkpoint: the weights of a reference model that moves."""


class SealedCheckpoints:
    """Mixin for TRL trainers: a checkpoint counts only from the moment its manifest exists.

    A kill during a save leaves a folder without manifest, which `Run.latest_checkpoint` passes over.
    """

    args: Any
    state: Any
    model: Any
    accelerator: Any
    ref_model: Any = None
    step_batches: list[Any] | None = None
    """What the forward passes of the current optimizer step were given, for the callback that made this a list."""

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self.step_batches is not None:
            self.step_batches.append(inputs)
        return super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL writes a README into the parent of every checkpoint; the run directory already says what it would."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        check_held(Path(self.args.output_dir).parent)  # else a directory that is gone would be made anew
        folder, writes = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}", self.args.should_save
        if (
            writes and folder.exists() and verify_manifest(folder)
        ):  # what a kill left of this one would be sealed with it
            shutil.rmtree(folder, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        self.accelerator.wait_for_everyone()  # every process writes the state of its own random generators
        self.save_state(folder, writes=writes)
        if writes:
            write_manifest(folder)

    def _save(self, *args: Any, **kwargs: Any) -> None:
        """As transformers', which also writes all arguments into `training_args.bin`: without the token of the Hub."""
        token, self.args.hub_token = self.args.hub_token, None
        try:
            super()._save(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.args.hub_token = token

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """As transformers', which gives the names in the file to `load_state_dict`.

        `save_pretrained` writes some vision-language models under the names of an older layout, so that no weight would be
        read, with a warning at most; `from_pretrained` knows both.
        """
        super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        if self.accelerator.is_fsdp2:  # reads a file of its own, under the names of the model at hand
            return
        own = self.accelerator.unwrap_model(self.model if model is None else model)
        stored = weight_shapes(Path(resume_from_checkpoint)) or {}
        if any(name.startswith("base_model.") for name in stored) or stored.keys() <= own.state_dict().keys():
            return
        own.load_state_dict(type(own).from_pretrained(resume_from_checkpoint, dtype=own.dtype).state_dict())

    def save_state(self, folder: Path, *, writes: bool = True) -> None:
        """Write what the trainer itself must keep beside what transformers saves; sealed with it.

        That is a reference model that moves (`sync_ref_model`): a resumed run would begin again with that of the start.
        All processes call it, since it may be spread over them; one of them `writes`.
        """
        if self._moving_reference is not None:
            save_parameters(self._moving_reference.named_parameters(), folder / REFERENCE, writes=writes)

    def load_state(self, folder: Path) -> None:
        """Read what `save_state` wrote."""
        if self._moving_reference is not None:
            load_parameters(self._moving_reference.named_parameters(), folder / REFERENCE)

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if checkpoint is not None:
            self.load_state(Path(checkpoint))

    @property
    def _moving_reference(self) -> Any:
        """The reference model, where training moves it; None otherwise."""
        if not getattr(self.args, "sync_ref_model", False) or self.ref_model is None:
            return None
        return self.accelerator.unwrap_model(self.ref_model)
