"""The disk under a run: whether its checkpoints will fit, and what is said when a write fails."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rlllm.core.errors import ConfigError, RunLostError
from rlllm.core.events import ProgressCallback
from rlllm.core.run_lock import check_held
from rlllm.core.runs import Run
from rlllm.training.cost import steps_of
from rlllm.training.memory import disk_of
from rlllm.training.plan import ExperimentPlan, Plan

_FAULTS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would be larger than this process or file system allows",
    errno.EACCES: "the run directory may not be written to",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk does not answer",
    errno.ESTALE: "the network file system lost the directory",
}
_MOMENTS = 2 * 4
"""Bytes of Adam's two moments of a weight, in float32."""


def storage_error(error: BaseException, run: Run) -> RunLostError | None:
    """The error that says which fault of the disk was behind another one; None where none was."""
    if isinstance(error, RunLostError):
        return None
    try:
        check_held(run.path)
    except RunLostError as gone:
        return gone
    number = _errno_of(error, run)
    if number is None:
        return None
    place = getattr(error, "filename", None) or run.path
    try:
        checkpoint = run.latest_checkpoint()
    except OSError:
        checkpoint = None
    kept = f"{checkpoint.name} is whole" if checkpoint else "no checkpoint was finished"
    way = "make room (save_total_limit=1 keeps one checkpoint)" if number == errno.ENOSPC else "repair that"
    return RunLostError(
        f"{_FAULTS[number]}: {place} could not be written",
        given=str(run.path),
        hint=f"{kept}; {way}, then the same command with --resume goes on",
    )


@contextmanager
def named_faults(run: Run) -> Iterator[None]:
    """A fault of the disk in the block is raised as the error that names it."""
    try:
        yield
    except Exception as error:
        if (fault := storage_error(error, run)) is not None:
            raise fault from error
        raise


def _errno_of(error: BaseException, run: Run) -> int | None:
    """The number of a fault of the disk; libraries below Python only have it in their texts."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FAULTS:
            return seen.errno if seen.errno != errno.EACCES or _is_inside(seen.filename, run) else None
        if match := re.search(r"os error (\d+)", str(seen)):
            number = int(match[1])
            return number if number in _FAULTS else None
        if "PytorchStreamWriter failed writing" in str(seen) or "unexpected pos" in str(seen):
            return errno.ENOSPC
        seen = seen.__cause__ or seen.__context__
    return None


def _is_inside(name: Any, run: Run) -> bool:
    return isinstance(name, str) and Path(name).absolute().is_relative_to(run.path.absolute())


@dataclass(frozen=True)
class Room:
    """What a run's model and checkpoints take of the disk, and what is free.

    Args:
        place: the run directory, which need not exist yet.
        model, checkpoint: bytes of each.
        kept: checkpoints that lie on the disk together.
        free: bytes; what an earlier run in the directory takes counts as free.
    """

    place: Path
    model: float
    checkpoint: float
    kept: int
    free: float

    @property
    def needed(self) -> float:
        return self.model + self.kept * self.checkpoint

    def to_json(self) -> dict[str, Any]:
        parts = {"model": self.model, "checkpoint": self.checkpoint}
        return {"needed": self.needed, "free": self.free, "parts": parts}

    def check(self) -> str:
        """What is to be said of a disk that will be full; empty where it has room.

        Raises:
            ConfigError: there is less room than one checkpoint and the model take.
        """
        first = self.model + (self.checkpoint if self.kept else 0)
        if self.free < first:
            what = "the model with one checkpoint" if self.kept else "the model"
            hint = "; save_strategy=no keeps no checkpoints" if self.kept else ""
            raise ConfigError(
                f"the disk has {_bytes(self.free)} left, and {what} takes {_bytes(first)}",
                given=str(self.place),
                hint=f"make room, or choose an --output-dir on another disk{hint}",
            )
        if self.free >= self.needed:
            return ""
        fewer = max(1, int((self.free - self.model) // self.checkpoint) - 1)
        return (
            f"{self.kept} checkpoints of {_bytes(self.checkpoint)} and the model take {_bytes(self.needed)}, "
            f"and the disk has {_bytes(self.free)} left: save_total_limit={fewer} keeps fewer"
        )


def planned_room(plan: Plan[Any]) -> Room | None:
    """The room of a run that has not begun; None for a model whose sizes are not known before it is loaded."""
    sizes = disk_of(plan)
    if sizes is None:
        return None
    names = ("save_strategy", "save_steps", "save_total_limit", "num_train_epochs")
    args = SimpleNamespace(**{name: plan.setting(name) for name in names}, max_steps=steps_of(plan))
    runs = len(plan.runs) if isinstance(plan, ExperimentPlan) else getattr(plan.config, "members", 1)
    place = plan.config.directory().expanduser()
    above = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
    earlier = sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) if place.is_dir() else 0
    free = shutil.disk_usage(above).free + earlier
    return Room(place, sizes["model"] * runs, sizes["checkpoint"], _checkpoints(args) * runs, free)


def check_planned_room(plan: Plan[Any]) -> str:
    """As `Room.check`, for a run that has not begun.

    Raises:
        ConfigError: there is too little room, or the run directory cannot be written to.
    """
    place = plan.config.directory().expanduser().absolute()
    above = next(folder for folder in (place, *place.parents) if folder.exists())
    if not os.access(above, os.W_OK):
        why = _FAULTS[errno.EROFS if os.statvfs(above).f_flag & os.ST_RDONLY else errno.EACCES]
        raise ConfigError(f"{why}: {above} cannot be written to", given=str(place), hint="choose another --output-dir")
    room = planned_room(plan)
    return room.check() if room else ""


def check_space(run: Run, trainer: Any, progress: ProgressCallback) -> None:
    """Refuse a run whose first checkpoint and model cannot fit, and warn of one that will fill the disk.

    Raises:
        ConfigError: there is less room than one checkpoint and the model take.
    """
    weights, checkpoint = _sizes(trainer)
    free = shutil.disk_usage(run.path).free
    if text := Room(run.path, weights, checkpoint, _checkpoints(trainer.args), free).check():
        progress.note(f"warning: {text}")


def _sizes(trainer: Any) -> tuple[int, int]:
    """Bytes of the weights as they are saved, and of a checkpoint: the weights that train, and two moments of each."""
    parameters = list(trainer.accelerator.unwrap_model(trainer.model).parameters())
    whole = sum(item.numel() * item.element_size() for item in parameters)
    training = [item for item in parameters if item.requires_grad]
    moving = sum(item.numel() * item.element_size() for item in training)
    return whole, (moving if len(training) < len(parameters) else whole) + sum(i.numel() for i in training) * _MOMENTS


def _checkpoints(args: Any) -> int:
    """How many checkpoints lie on the disk at once, as far as the settings tell; one more is there while it is written."""
    strategy = str(getattr(args.save_strategy, "value", args.save_strategy))
    if strategy == "no":
        return 0
    steps = max(args.max_steps, 1)
    if strategy == "steps":
        made = max(1, steps // int(args.save_steps if args.save_steps >= 1 else max(1, args.save_steps * steps)))
    else:
        made = max(1, math.ceil(args.num_train_epochs)) if strategy == "epoch" else 1
    return min(made, args.save_total_limit + 1) if args.save_total_limit else made


def _bytes(number: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
