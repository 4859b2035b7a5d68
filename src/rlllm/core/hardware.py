"""What a run computes on: decided once at its start, recorded in `config.json` and `env.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MATMULS = ("torch", "onednn")
"""Libraries that multiply matrices on a CPU: torch's default, and oneDNN through torch's operators."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The device of one process, and the choices that change the last bits of every sum."""

    device: str
    """"cpu", "cuda" or "mps"."""
    bf16: bool
    """Train in bfloat16 where the device computes it natively; on a CPU it is emulated and many times slower."""
    threads: int
    """CPU threads torch uses."""
    threads_from: str = "torch"
    """Where the number comes from: `setting`, `OMP_NUM_THREADS`, `measured`, or `torch` for its own default."""
    thread_seconds: Mapping[int, float] = field(default_factory=dict)
    """Threads -> seconds of the measurement that chose among them; empty where nothing was measured."""
    matmul: str = "torch"
    """One of `MATMULS`: what multiplies float32 matrices on a CPU."""
    matmul_from: str = "torch"
    """Where it comes from: `setting`, `measured`, or `torch` for the default of a GPU."""
    matmul_seconds: Mapping[str, float] = field(default_factory=dict)
    """Library -> seconds of the measurement; empty where nothing was measured."""

    def to_json(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "bf16": self.bf16,
            "threads": self.threads,
            "threads_from": self.threads_from,
            "thread_seconds": {str(threads): seconds for threads, seconds in self.thread_seconds.items()},
            "matmul": self.matmul,
            "matmul_from": self.matmul_from,
            "matmul_seconds": dict(self.matmul_seconds),
        }


def bytes_text(count: float) -> str:
    """A number of bytes for a person: `3.5 MB`, `1.20 GB`."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
