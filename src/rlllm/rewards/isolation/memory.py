"""Memory of a process, to detect a reward that leaks."""

from __future__ import annotations

import os
from pathlib import Path

LEAK = 2**30
"""Bytes that a process may grow by while a reward scores, over a run and after its first batch, before that is said."""


def resident(process_id: int | None) -> int | None:
    """Bytes of physical memory a process holds; None where the system does not tell (no /proc)."""
    try:
        fields = Path(f"/proc/{process_id}/statm").read_text().split()
    except OSError:
        return None
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
