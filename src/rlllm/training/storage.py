"""The disk under a run: whether its checkpoints will fit, and what is said when a write fails."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, RunLostError
from rlllm.core.events import ProgressCallback
from rlllm.core.run_lock import check_held
from rlllm.core.runs import Run

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


def check_space(run: Run, trainer: Any, progress: ProgressCallback) -> None:
    """Refuse a run whose first checkpoint and model cannot fit, and warn of one that will fill the disk.

    Raises:
        ConfigError: there is less room than one checkpoint and the model take.
    """
    weights, checkpoint = _sizes(trainer)
    count = _checkpoints(trainer.args)
    free = shutil.disk_usage(run.path).free
    if free < weights + (checkpoint if count else 0):
        raise ConfigError(
            f"the disk has {_bytes(free)} left, and the model with one checkpoint takes {_bytes(weights + checkpoint)}",
            given=str(run.path),
            hint="make room, or choose an --output-dir on another disk; save_strategy=no keeps no checkpoints",
        )
    if free < weights + count * checkpoint:
        progress.note(
            f"warning: {count} checkpoints of {_bytes(checkpoint)} and the model take {_bytes(weights + count * checkpoint)}, "
            f"and the disk has {_bytes(free)} left: save_total_limit={max(1, (free - weights) // checkpoint - 1)} keeps fewer"
        )


def _sizes(trainer: Any) -> tuple[int, int]:
    """Bytes of the weights as they are saved, and of a checkpoint: the weights that train, and two moments of each."""
    parameters = list(trainer.accelerator.unwrap_model(trainer.model).parameters())
    whole = sum(item.numel() * item.element_size() for item in parameters)
    training = [item for item in parameters if item.requires_grad]
    moving = sum(item.numel() * item.element_size() for item in training)
    return whole, (moving if len(training) < len(parameters) else whole) + sum(i.numel() for i in training) * _MOMENTS


def _checkpoints(args: Any) -> int:
    """How many checkpoints lie on the disk at once, as far as the settings tell; one more is there while it is written."""
    if str(getattr(args.save_strategy, "value", args.save_strategy)) == "no":
        return 0
    every = args.save_steps if args.save_steps >= 1 else max(1, int(args.save_steps * max(args.max_steps, 1)))
    made = max(1, args.max_steps // int(every)) if args.max_steps > 0 else 1
    return min(made, args.save_total_limit + 1) if args.save_total_limit else made


def _bytes(number: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
