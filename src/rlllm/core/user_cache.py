"""The folder of what rlllm keeps for a user across runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """The folder that RLLLM_CACHE names; else `rlllm` in XDG_CACHE_HOME or in `~/.cache`. It need not exist."""
    own, shared = os.environ.get("RLLLM_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).expanduser()
    return (Path(shared) if shared else Path("~/.cache")).expanduser() / "rlllm"
