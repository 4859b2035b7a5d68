"""Which number formats a run can train in, and what a format costs it; found when a run is planned."""

from __future__ import annotations

from collections.abc import Iterator

from rlllm.core.errors import ConfigError
from rlllm.policies.model_sources import ModelSource
from rlllm.training.settings import TrainingConfig

_RESOLUTION = 2**-8
"""Of bfloat16: a change of a weight below half of this share of it is rounded away."""


def check_precision(config: TrainingConfig, source: ModelSource) -> None:
    """Raise ConfigError for a format in which these weights cannot be trained."""
    model = config.model
    if model.quantisation and config.lora is None:
        raise ConfigError(
            "quantised weights take no gradient: what trains are adapters on them",
            given=f"model.quantisation={model.quantisation} without lora",
            hint="lora.r=16, or leave model.quantisation out",
        )
    if model.quantisation and source.base is not None:
        raise ConfigError(
            "a quantised model cannot take up the adapter that this run would begin with",
            given=f"model.quantisation={model.quantisation} ({source.reference})",
            hint=f"rlllm export {source.path} --merge, and train on the folder that it writes",
        )
    if config.lora is None and planned_dtype(source) == "float16":
        raise ConfigError(
            "weights in float16 cannot be trained: their gradients and Adam's moments leave its range",
            given=f"model.dtype={model.dtype} ({source.name})",
            hint="model.dtype=bfloat16 or float32; or lora.r=16, whose adapters are float32",
        )


def planned_dtype(source: ModelSource) -> str | None:
    """Number format of the weights in memory, where the settings decide it; None where the device does."""
    dtype = source.loading.dtype
    return source.stored_dtype() if dtype == "auto" else dtype


def precision_lines(config: TrainingConfig, source: ModelSource, learning_rate: float) -> Iterator[tuple[str, str]]:
    """What a plan says of formats; nothing where the device decides them.

    Args:
        learning_rate: Adam's; a step changes a weight by about as much.
    """
    loading, dtype = source.loading, planned_dtype(source)
    words = [f"weights in {loading.quantisation}" if loading.quantisation else "", f"dtype {dtype}" if dtype else ""]
    words += [f"attention {loading.attention}" if loading.attention else ""]
    if any(words):
        yield "loading", ", ".join(word for word in words if word)
    if config.lora is None and dtype == "bfloat16":
        yield (
            "note",
            f"in bfloat16 a step of {learning_rate:g} is lost on weights above {2 * learning_rate / _RESOLUTION:.2g}: "
            "model.dtype=float32 keeps it",
        )
