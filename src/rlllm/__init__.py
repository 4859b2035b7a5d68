"""rlllm: the reinforcement-learning lifecycle of language models, built on TRL.

The public names below are loaded on first use, so that `import rlllm` costs nothing and never pulls in torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "pretrain": "rlllm.api",
    "sft": "rlllm.api",
    "train_rm": "rlllm.api",
    "align": "rlllm.api",
    "reason": "rlllm.api",
    "evaluate": "rlllm.api",
    "export": "rlllm.api",
    "plan": "rlllm.api",
    "compare": "rlllm.api",
    "run_pipeline": "rlllm.api",
    "claim": "rlllm.tools.claims.pack",
    "verify": "rlllm.tools.claims.verify",
    "prove_resume": "rlllm.tools.resume_proof.prove",
    "sweep": "rlllm.api",
    "show_data": "rlllm.tools.data.show",
    "export_data": "rlllm.tools.data.export",
    "data_from_run": "rlllm.tools.data.from_run",
    "import_config": "rlllm.tools.import_config.recipe",
    "Trace": "rlllm.core.traces",
    "read_traces": "rlllm.core.traces",
    "Run": "rlllm.core.runs",
    "open_run": "rlllm.core.runs",
    "Sample": "rlllm.core.records",
    "Score": "rlllm.core.records",
    "PromptTask": "rlllm.core.records",
    "PreferencePair": "rlllm.core.records",
    "Conversation": "rlllm.core.records",
    "DataRequest": "rlllm.data.request",
    "Method": "rlllm.algorithms.methods.base",
    "RlllmError": "rlllm.core.errors",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'rlllm' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
