"""The Python API: every verb is one function with the command line's words as keyword arguments.

run = rlllm.reason("quickstart", model="nano", seed=1)
run.results["measures"][0]["after"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlllm.core.errors import ConfigError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.recipes import as_given, find_recipe, read_recipe
from rlllm.core.runs import Run, RunOptions
from rlllm.stages.catalog import resolve_settings, stage_function
from rlllm.tools.compare import compare

if TYPE_CHECKING:
    from rlllm.stages.pipeline.run import PipelineRun
    from rlllm.tools.export.run import Exported
    from rlllm.tools.planning.forecast import Forecast

__all__ = [
    "align",
    "compare",
    "evaluate",
    "export",
    "plan",
    "pretrain",
    "reason",
    "run_pipeline",
    "sft",
    "sweep",
    "train_rm",
]

Recipe = str | Mapping[str, Any]
"""A recipe's name (`quickstart`), a YAML file, or the settings as a mapping."""


def pretrain(
    recipe: Recipe | None = None,
    *,
    progress: ProgressCallback | None = None,
    resume: bool = False,
    overwrite: bool = False,
    accept_change: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Learn from raw text: think, then predict the next tokens (RPT and others), or plainly.

        rlllm.pretrain(model="nano", data="text:rlllm", max_steps=60, learning_rate=2e-4)

    Args:
        recipe: the recipe to start from; None for the defaults.
        progress: told what happens; silent by default.
        resume: continue the run in `output_dir`.
        overwrite: replace the run in `output_dir`.
        accept_change: with `resume`: which of `data`, `rewards`, `model` and `code` may have changed since.
        settings: keys that `rlllm pretrain --help --method METHOD` lists, sections as mappings (`positions={"top_k": 8}`), or
            fields of the method's TRL config. They win over the recipe.

    Returns:
        The run. `results` holds next-token accuracy on held-out positions before and after.

    Raises:
        RlllmError: before the run started: settings, text or model are wrong.
    """
    return _run("pretrain", recipe, _options(progress, resume, overwrite, accept_change), settings)


def sft(
    recipe: Recipe | None = None,
    *,
    progress: ProgressCallback | None = None,
    resume: bool = False,
    overwrite: bool = False,
    accept_change: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Imitate example completions (supervised fine-tuning).

        rlllm.sft("quickstart", model="nano", data="arithmetic#500", learning_rate=1e-4, max_steps=100)

    Args:
        recipe: the recipe to start from; None for the defaults.
        progress: told what happens; silent by default.
        resume: continue the run in `output_dir`.
        overwrite: replace the run in `output_dir`.
        accept_change: with `resume`: which of `data`, `rewards`, `model` and `code` may have changed since.
        settings: keys that `rlllm sft --help` lists, sections as mappings (`eval={"rows": 64}`), or fields of TRL's SFTConfig.
            They win over the recipe.

    Returns:
        The run. Whether it succeeded is in `ok` and `verdict`; `model` is the folder of the result.

    Raises:
        RlllmError: before the run started: settings, data or model are wrong.
    """
    return _run("sft", recipe, _options(progress, resume, overwrite, accept_change), settings)


def train_rm(
    recipe: Recipe | None = None,
    *,
    progress: ProgressCallback | None = None,
    resume: bool = False,
    overwrite: bool = False,
    accept_change: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Train a reward model: scalar (`bt`), an `ensemble`, of single steps (`process`), or a judge that writes (`generative`).

        rlllm.train_rm(model="nano", data="pairs.jsonl", method="bt", max_steps=200)

    Args:
        recipe: the recipe to start from; None for the defaults.
        progress: told what happens; silent by default.
        resume: continue the run in `output_dir`.
        overwrite: replace the run in `output_dir`.
        accept_change: with `resume`: which of `data`, `rewards`, `model` and `code` may have changed since.
        settings: keys that `rlllm train-rm --help --method METHOD` lists, sections as mappings, or fields of the method's TRL
            config. They win over the recipe.

    Returns:
        The run. Its folder is used as a reward: `rlllm.align(method="ppo", rewards=[str(run.path)])`.

    Raises:
        RlllmError: before the run started: settings, data or model are wrong.
    """
    return _run("train-rm", recipe, _options(progress, resume, overwrite, accept_change), settings)


def align(
    recipe: Recipe | None = None,
    *,
    progress: ProgressCallback | None = None,
    resume: bool = False,
    overwrite: bool = False,
    accept_change: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Learn from preferences, by a loss on pairs or labels (DPO and others), or through a reward (PPO and others).

        rlllm.align(model="runs/sft", data="pairs.jsonl", method="dpo", beta=0.1, max_steps=200)

    Args:
        recipe: the recipe to start from; None for the defaults.
        progress: told what happens; silent by default.
        resume: continue the run in `output_dir`.
        overwrite: replace the run in `output_dir`.
        accept_change: with `resume`: which of `data`, `rewards`, `model` and `code` may have changed since.
        settings: keys that `rlllm align --help --method METHOD` lists, sections as mappings, or fields of the method's TRL
            config. They win over the recipe.

    Returns:
        The run. `results` holds what was measured before and after, if there is a reward to measure by.

    Raises:
        RlllmError: before the run started: settings, data or model are wrong.
    """
    return _run("align", recipe, _options(progress, resume, overwrite, accept_change), settings)


def reason(
    recipe: Recipe | None = None,
    *,
    progress: ProgressCallback | None = None,
    resume: bool = False,
    overwrite: bool = False,
    accept_change: Sequence[str] = (),
    **settings: Any,
) -> Run:
    """Reinforce reasoning with verifiable rewards (GRPO and others).

        rlllm.reason("quickstart", rewards=["exact"], rollout={"group_size": 8}, max_steps=60)

    Args:
        recipe: the recipe to start from; None for the defaults.
        progress: told what happens; silent by default.
        resume: continue the run in `output_dir`.
        overwrite: replace the run in `output_dir`.
        accept_change: with `resume`: which of `data`, `rewards`, `model` and `code` may have changed since.
        settings: keys that `rlllm reason --help --method METHOD` lists, sections as mappings, or fields of TRL's GRPOConfig.
            They win over the recipe.

    Returns:
        The run. `results["measures"][0]` is pass@1 on held-out prompts before and after; `samples()` are the rollouts.

    Raises:
        RlllmError: before the run started: settings, data, rewards or model are wrong.
    """
    return _run("reason", recipe, _options(progress, resume, overwrite, accept_change), settings)


def evaluate(
    recipe: Recipe | None = None,
    *,
    progress: ProgressCallback | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> Run:
    """Measure a model on tasks, with intervals.

        rlllm.evaluate(model="runs/reason", tasks=["arithmetic"], samples=4)

    Args:
        recipe: the recipe to start from; None for the defaults.
        progress: told what happens; silent by default.
        resume: continue the evaluation in `output_dir`.
        overwrite: replace the evaluation in `output_dir`.
        settings: keys that `rlllm eval --help` lists, sections as mappings. They win over the recipe.

    Returns:
        The run. `results["tasks"]` holds every task's values with their intervals; `items.jsonl` one row for each problem.

    Raises:
        RlllmError: before the run started: settings, data or model are wrong.
    """
    return _run("eval", recipe, RunOptions(progress or NullProgress(), resume, overwrite), settings)


def run_pipeline(
    recipe: Recipe,
    output_dir: str | Path,
    *,
    progress: ProgressCallback | None = None,
    resume: bool = False,
    overwrite: bool = False,
    start: str | None = None,
    only: str | None = None,
) -> PipelineRun:
    """Run verbs one after another, each from what an earlier one made.

    Args:
        recipe: name, file or mapping of a pipeline: `steps`, each with a `name`, a `stage` and settings.
        output_dir: folder of the pipeline; each step's run is a folder inside it.
        progress: told what happens; silent by default.
        resume: take steps that are done and depend on nothing that changed, continue the one that was begun.
        overwrite: replace the steps that are there.
        start: begin with this step, anew; those before it are taken as they are.
        only: run this step only; those that it needs are taken as they are.

    Returns:
        The steps' runs in order, as far as they came; `ok` is True if all of them succeeded and every gate held.

    Raises:
        RlllmError: a step's settings, data or model are wrong.
    """
    from rlllm.stages.pipeline import reuse, run, settings

    selection = reuse.Selection(start, only)
    options = RunOptions(progress or NullProgress(), resume or selection != reuse.EVERYTHING, overwrite)
    loaded = settings.load_pipeline(_recipe(recipe, "pipelines"))
    return run.run_pipeline(loaded, Path(output_dir), options, selection)


def sweep(
    recipe: str | Mapping[str, Any],
    output_dir: str | Path,
    *,
    progress: ProgressCallback | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Run:
    """Train arms that differ in method or settings under the same seeds, and compare them with a baseline.

        rlllm.sweep("reason/quickstart", "runs/methods", axes={"method": ["grpo", "dapo"]}, seeds=5, equal="tokens")

    Args:
        recipe: name or file of a sweep's recipe or of a verb's, or a sweep as a mapping.
        output_dir: folder of the sweep; each run is a folder `ARM/seed-N` inside it.
        progress: told what happens; silent by default.
        resume: make the runs that are missing, continue the one that was begun.
        overwrite: replace the sweep that is there.
        options: `axes` (key -> values), `arms` (name -> settings), `settings` (of all arms), `seeds`, `seed`, `baseline`,
            `equal`, and the other keys of a sweep's recipe. They win over the recipe.

    Returns:
        The sweep's directory. `results["arms"]` has the numbers of every arm, `results["comparisons"]` the differences.

    Raises:
        RlllmError: settings, data or model of an arm are wrong; nothing was started then.
    """
    from rlllm.stages.sweep import run as sweep_run
    from rlllm.stages.sweep import settings

    wanted = (
        settings.load_sweep({**recipe, **options})
        if isinstance(recipe, Mapping)
        else settings.compose(recipe, None, options)
    )
    return sweep_run.run_sweep(wanted, Path(output_dir), RunOptions(progress or NullProgress(), resume, overwrite))


def plan(
    recipe: Recipe | None = None,
    *,
    stage: str | None = None,
    progress: ProgressCallback | None = None,
    seconds: float = 20.0,
    **settings: Any,
) -> Forecast:
    """Say whether a run fits, how long it takes and whether it can learn, by trying its first steps.

        rlllm.plan("reason/quickstart", rollout={"group_size": 4}).verdict

    Args:
        recipe: a recipe's name (`reason/quickstart`), a YAML file, or the settings as a mapping.
        stage: the verb that is planned; by default the recipe's.
        progress: told the phases; silent by default.
        seconds: how long the steps of the probe may take, about.
        settings: as the verb takes them. They win over the recipe.

    Returns:
        What is to be expected; `ok` is False where it does not fit or cannot learn. Nothing is written.

    Raises:
        RlllmError: what the run itself would raise before or in its first steps.
    """
    from rlllm.tools.planning.forecast import forecast

    verb = stage or (find_recipe(recipe).stage if isinstance(recipe, str) else "")
    if not verb:
        raise ConfigError("which verb is planned?", given=recipe, hint='rlllm.plan(..., stage="reason")')
    return forecast(resolve_settings(verb, _recipe(recipe, verb), settings.items()), progress, seconds)


def export(
    model: str | Path,
    *,
    merge: bool = False,
    gguf: bool = False,
    card: bool = False,
    push: str | None = None,
    output: str | Path | None = None,
    dtype: str | None = None,
    private: bool = True,
    overwrite: bool = False,
) -> Exported:
    """Write a model for others: merged, as GGUF, with a model card, or to the Hub.

        rlllm.export("runs/with-lora", merge=True).merged

    Args:
        model: a run's directory, or any model.
        merge: write the whole model, an adapter merged into its base.
        gguf: write one file for llama.cpp and Ollama; of decoders of the Llama and Qwen kind.
        card: write a model card into the folder that is exported.
        push: repository of the Hub, `ORG/NAME`, that the merged model or the run's is uploaded to.
        output: folder of the merged model, or the GGUF file; by default both lie in the run's directory.
        dtype: `float32`, `bfloat16` or `float16`, for GGUF also `q8_0`; by default that of the base's files.
        private: whether a repository that is made is private.
        overwrite: replace what is there.

    Returns:
        Where things are.

    Raises:
        RlllmError: the model cannot be exported so, or what was written does not hold.
    """
    from rlllm.tools.export.run import export as write
    from rlllm.tools.export.run import plan_export

    place = None if output is None else Path(output)
    return write(
        plan_export(
            str(model),
            merge=merge,
            gguf=gguf,
            card=card,
            push=push,
            output=place,
            dtype=dtype,
            private=private,
            overwrite=overwrite,
        )
    )


def _options(
    progress: ProgressCallback | None, resume: bool, overwrite: bool, accept_change: Sequence[str]
) -> RunOptions:
    return RunOptions(progress or NullProgress(), resume, overwrite, accept_change=tuple(accept_change))


def _run(verb: str, recipe: Recipe | None, options: RunOptions, settings: Mapping[str, Any]) -> Run:
    from dataclasses import replace

    values = _recipe(recipe, verb)
    config = resolve_settings(verb, values, settings.items())
    given = as_given(find_recipe(recipe, verb).path) if isinstance(recipe, str) else values or None
    return stage_function(verb)(config, replace(options, recipe=given))


def _recipe(recipe: Recipe | None, stage: str) -> Mapping[str, Any]:
    if recipe is None or isinstance(recipe, Mapping):
        return recipe or {}
    return read_recipe(find_recipe(recipe, stage).path)
