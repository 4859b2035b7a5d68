"""Engines by name: load the class, check it, and make one for a model."""

from __future__ import annotations

from typing import Any

from rlllm.core.plugin_errors import plugin_boundary
from rlllm.rollouts.engines.base import Engine, checked_engine, refuse_blind
from rlllm.rollouts.registry import ENGINES, SILENT_ENGINES


def check_engine(name: str, *, images: bool = False) -> None:
    """Check the engine of a recipe when a run is planned. One that ships with rlllm is not imported, since that loads torch.

    Args:
        images: whether prompts have images, which those that ship take.

    Raises:
        RlllmError: as `load_engine`, or the engine takes no images.
    """
    if name not in ENGINES.builtins:
        kind = load_engine(name)
        if images:
            refuse_blind(kind, name)


def reports_logps(name: str) -> bool:
    """Whether an engine reports log-probabilities of what it samples. One that ships with rlllm is not imported for that.

    Raises:
        RlllmError: as `load_engine`.
    """
    return name not in SILENT_ENGINES if name in ENGINES.builtins else load_engine(name).reports_logps


def load_engine(name: str) -> type[Engine]:
    """The class of an engine.

    Raises:
        UnknownNameError: nobody knows the name.
        ConfigError: a file that does not import, or a class that is no engine; see `checked_engine`.
        PluginError: an installed plugin is broken.
    """
    return checked_engine(ENGINES.load(name), name)


def open_engine(name: str, model: Any, tokenizer: Any) -> Engine:
    """An engine for a model.

    Raises:
        RlllmError: as `load_engine`, or its constructor raised an exception (PluginError).
    """
    kind = load_engine(name)
    with plugin_boundary("engine", name, kind):
        return kind(model, tokenizer)
