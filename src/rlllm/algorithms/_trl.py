"""The one place that imports TRL. Names are fetched on first use: `from trl import GRPOTrainer` costs seconds.

Importing this module switches TRL's and the hub's telemetry off. Nothing of TRL's experimental part is used: it is changed
and dropped between minor versions.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import trl

_ELSEWHERE = {
    "FusedCausalLMOutput": "trl.trainer.utils",
    "RepeatSampler": "trl.trainer.utils",
    "add_hooks": "trl.models.utils",
    "add_response_schema": "trl.chat_template_utils",
    "disable_dropout_in_model": "trl.trainer.utils",
    "get_training_chat_template": "trl.chat_template_utils",
    "is_chat_template_prefix_preserving": "trl.chat_template_utils",
    "remove_hooks": "trl.models.utils",
    "supports_tool_calling": "trl.chat_template_utils",
}
"""Names that are not to be had from `trl` itself, and the module that has them."""


def __getattr__(name: str) -> Any:
    return getattr(import_module(_ELSEWHERE[name]) if name in _ELSEWHERE else trl, name)
