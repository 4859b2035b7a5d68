"""The one place that imports TRL. Names are fetched on first use: `from trl import GRPOTrainer` costs seconds.

Importing this module switches TRL's and the hub's telemetry off. TRL moves and drops its experimental trainers between
minor versions: what is gone fails where it is asked for, by `needed`, and nothing else does.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import trl

from rlllm.core.errors import ModelError

_ELSEWHERE = {
    "FusedCausalLMOutput": "trl.trainer.utils",
    "RepeatSampler": "trl.trainer.utils",
    "add_response_schema": "trl.chat_template_utils",
    "get_training_chat_template": "trl.chat_template_utils",
    "is_chat_template_prefix_preserving": "trl.chat_template_utils",
    "supports_tool_calling": "trl.chat_template_utils",
    "CPOConfig": "trl.experimental.cpo",
    "CPOTrainer": "trl.experimental.cpo",
    "ORPOConfig": "trl.experimental.orpo",
    "ORPOTrainer": "trl.experimental.orpo",
    "TPOConfig": "trl.experimental.tpo",
    "TPOTrainer": "trl.experimental.tpo",
}
"""Names that are not to be had from `trl` itself, and the module that has them."""


def __getattr__(name: str) -> Any:
    return getattr(import_module(_ELSEWHERE[name]) if name in _ELSEWHERE else trl, name)


def check(name: str, method: str) -> None:
    """Raise ModelError if the module that should hold this name is not installed. Imports next to nothing."""
    module = _ELSEWHERE.get(name, "trl")
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:  # the package above it is gone as well
        found = False
    if not found:
        raise _missing(module, method)


def needed(name: str, method: str) -> Any:
    """A class of TRL, for a method.

    Raises:
        ModelError: this version of TRL does not have it.
    """
    check(name, method)
    try:
        return __getattr__(name)
    except (ImportError, AttributeError) as error:
        raise _missing(f"{_ELSEWHERE.get(name, 'trl')}.{name}", method) from error


def _missing(what: str, method: str) -> ModelError:
    return ModelError(
        f"method {method} needs {what}, which TRL {trl.__version__} does not have",
        hint="other methods are not affected; list them with: rlllm methods ls",
    )
