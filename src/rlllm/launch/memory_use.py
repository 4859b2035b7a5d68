"""Memory of this process and of its device: what there is, what is used, and the most that was used since a point in time."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_GROUP = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)
"""Limit and use of the control group, of versions 2 and 1."""


def begin(device: str) -> int:
    """Start to watch for the most that is used; returns what is used now."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the kernel's way to begin anew
    return now(device)


def now(device: str) -> int:
    """What is used now."""
    if device == "cuda":
        import torch

        return int(torch.cuda.memory_allocated())
    return _resident("VmRSS")


def most_since(device: str) -> int:
    """The most that was used since `begin`; where the system does not start anew, since the process began."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return _resident("VmHWM")


def free(device: str) -> int | None:
    """Bytes that this process may still take on its device; None where the system does not say."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    found = [value for value in (_available(), _left_in_group()) if value is not None]
    return min(found, default=None)


def _resident(name: str) -> int:
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if sys.platform == "darwin" else most * 1024)


def _available() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return None


def _left_in_group() -> int | None:
    for limit, used in _GROUP:
        with suppress(OSError, ValueError):  # "max" where there is no limit
            return int(limit.read_text(encoding="ascii")) - int(used.read_text(encoding="ascii"))
    return None


def tensor_bytes(tensors: Any) -> int:
    """Bytes of some tensors; those that share storage count once, and those on `meta` not at all."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in tensors
        if tensor.device.type != "meta"
    }
    return sum(storages.values())
