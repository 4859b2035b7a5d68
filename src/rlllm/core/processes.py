"""Which of a run's processes this is, from the environment that torchrun, accelerate and srun lines set. Without torch."""

from __future__ import annotations

import os

from rlllm.core.errors import ConfigError

SUPERVISED = "RLLLM_SUPERVISED"
"""In the environment of processes that the setting `launch` started."""


def launched() -> bool:
    """Whether a launcher started this process: `RANK` and `WORLD_SIZE` are in its environment."""
    return bool(os.environ.get("RANK")) and bool(os.environ.get("WORLD_SIZE"))


def rank() -> int:
    """The place of this process among all of the run's, from 0; 0 without a launcher."""
    return _place()[0]


def world_size() -> int:
    """How many processes train together; 1 without a launcher."""
    return _place()[1]


def local_rank() -> int:
    """The place of this process among those of its machine, which is also the number of its device; 0 without a launcher."""
    if not launched():
        return 0
    return _number("LOCAL_RANK") if os.environ.get("LOCAL_RANK") else rank()


def supervised() -> bool:
    """Whether rlllm's own setting `launch` started this process: the first process, which did, says how the run ended."""
    return launched() and bool(os.environ.get(SUPERVISED))


def is_main() -> bool:
    """Whether this process makes the run directory, writes into it and speaks on the console: rank 0."""
    return rank() == 0


def _place() -> tuple[int, int]:
    """Rank and number of processes. Raises ConfigError where the environment contradicts itself."""
    if not launched():
        return 0, 1
    own, size = _number("RANK"), _number("WORLD_SIZE")
    if own >= size:
        raise ConfigError(
            "RANK has to be smaller than WORLD_SIZE",
            given=f"RANK={own} WORLD_SIZE={size}",
            hint="unset RANK WORLD_SIZE",
        )
    return own, size


def _number(name: str) -> int:
    text = os.environ[name]
    if not text.isdecimal():
        raise ConfigError(f"{name} is no whole number", given=f"{name}={text}", hint=f"unset {name}")
    return int(text)
