"""What a run computes on: decided once at its start, recorded in `env.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Hardware:
    """The device of one process."""

    device: str
    """"cpu", "cuda" or "mps"."""
    bf16: bool
    """Train in bfloat16 where the device computes it natively; on a CPU it is emulated and many times slower."""
    threads: int
    """CPU threads torch uses; another number changes the last bits of every sum, so a resume uses the same."""
    thread_seconds: Mapping[int, float] = field(default_factory=dict)
    """Threads -> seconds of the measurement that chose among them; empty where nothing was measured."""
    onednn: bool = False
    """Whether linear layers train through oneDNN, because a measurement on this processor found it faster."""
