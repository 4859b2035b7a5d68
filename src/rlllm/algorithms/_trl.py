"""The one place that imports TRL. Names are fetched on first use: `from trl import GRPOTrainer` costs seconds.

Importing this module switches TRL's and the hub's telemetry off.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import trl

_ELSEWHERE = {"RepeatSampler": "trl.trainer.utils"}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        from importlib import import_module

        return getattr(import_module(_ELSEWHERE[name]), name)
    return getattr(trl, name)
