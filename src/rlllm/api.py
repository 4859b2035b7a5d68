"""The Python API: every verb is one function with the command line's words as keyword arguments.

run = rlllm.reason("quickstart", model="nano", seed=1)
run.results["measures"][0]["after"]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlllm.core.config import resolve
from rlllm.core.events import ProgressCallback
from rlllm.core.recipes import find_recipe, read_recipe
from rlllm.core.runs import Run
from rlllm.stages.catalog import config_class, stage_function
from rlllm.tools.compare import compare

if TYPE_CHECKING:
    from rlllm.stages.pipeline import PipelineRun

__all__ = ["align", "compare", "evaluate", "reason", "run_pipeline", "sft", "train_rm"]


def sft(recipe: str | Mapping[str, Any] | None = None, **settings: Any) -> Run:
    """Imitate completions; see `_verb` for the arguments."""
    return _verb("sft", recipe, **settings)


def train_rm(recipe: str | Mapping[str, Any] | None = None, **settings: Any) -> Run:
    """Train a reward model; see `_verb` for the arguments."""
    return _verb("train-rm", recipe, **settings)


def align(recipe: str | Mapping[str, Any] | None = None, **settings: Any) -> Run:
    """Align with preferences; see `_verb` for the arguments."""
    return _verb("align", recipe, **settings)


def reason(recipe: str | Mapping[str, Any] | None = None, **settings: Any) -> Run:
    """Reinforce with verifiable rewards; see `_verb` for the arguments."""
    return _verb("reason", recipe, **settings)


def evaluate(recipe: str | Mapping[str, Any] | None = None, **settings: Any) -> Run:
    """Measure a model; see `_verb` for the arguments."""
    return _verb("eval", recipe, **settings)


def run_pipeline(
    recipe: str | Mapping[str, Any],
    output_dir: str | Path,
    *,
    listener: ProgressCallback | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> PipelineRun:
    """Run a pipeline recipe: a name, a file or a mapping."""
    from rlllm.stages import pipeline

    return pipeline.run_pipeline(
        pipeline.load_pipeline(_recipe(recipe, "pipelines")),
        Path(output_dir),
        listener=listener,
        resume=resume,
        overwrite=overwrite,
    )


def _verb(
    verb: str,
    recipe: str | Mapping[str, Any] | None,
    *,
    listener: ProgressCallback | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> Run:
    """Resolve and run one stage.

    Args:
        verb: the stage.
        recipe: a recipe's name or file, a mapping, or None for the class defaults.
        listener: hears progress; silent by default.
        resume, overwrite: as `--resume` and `--overwrite`.
        settings: keys of the stage, sections as mappings, or TRL fields; they win over the recipe.

    Raises:
        RlllmError: before the run started. Whether it succeeded is in the returned run's `ok` and `verdict`.
    """
    values = _recipe(recipe, verb)
    config = resolve(config_class(verb), values, settings.items())
    return stage_function(verb)(config, listener=listener, resume=resume, overwrite=overwrite, recipe=values or None)


def _recipe(recipe: str | Mapping[str, Any] | None, stage: str) -> Mapping[str, Any]:
    if recipe is None or isinstance(recipe, Mapping):
        return recipe or {}
    return read_recipe(find_recipe(recipe, stage).path)
