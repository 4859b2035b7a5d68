"""`rlllm eval`: load models when they are needed, draw completions, measure every task, compare with a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rlllm.core.events import ProgressCallback
from rlllm.core.hardware import Hardware
from rlllm.core.records import prompt_key, task_of
from rlllm.core.runs import Run, RunOptions, append_jsonl, write_json
from rlllm.core.verdict import Diagnostics
from rlllm.evals.by_column import group_of, grouped
from rlllm.evals.dialogue_turns import sentence
from rlllm.evals.early_stopping import DECIDING_VALUE, Stopped, until_narrow
from rlllm.evals.metrics.plugin_dry_run import measure
from rlllm.evals.request import EvalRequest, Evaluation, PolicyName
from rlllm.evals.sample_cache import BlockStores, CompletionLog, SampleCache, cache_folder
from rlllm.evals.sampling import CompletionSampler
from rlllm.evals.statistics.paired_tests import holm
from rlllm.policies.model_sources import ModelSource, trusted_code
from rlllm.stages.evaluate.models import LoadedModels
from rlllm.stages.evaluate.plan import EvalPlan, PlannedTask, plan_evaluation
from rlllm.stages.evaluate.settings import EvalSettings
from rlllm.training.dialogues import planned_dialogue
from rlllm.training.environment import chat_template
from rlllm.training.flow import judged_run
from rlllm.training.row_checks import check_positions, check_templates, check_tokens
from rlllm.training.truncation import beyond_context

_MOSTLY_CUT = 0.5
"""Share of completions at the length limit from which an evaluation says so."""
_LOG = "completions.jsonl"
"""Every block of completions as it was drawn; what `--resume` goes on from."""


def plan(config: EvalSettings) -> EvalPlan:
    """What an evaluation with these settings will do. Raises RlllmError for anything that cannot work."""
    return plan_evaluation(config)


def run(config: EvalSettings, options: RunOptions) -> Run:
    """Evaluate a model on every task; results in `results.json`, one row for each problem in `items.jsonl`.

    Raises:
        RlllmError: the settings, the data or the model are wrong.
    """
    planned = plan(config)
    diagnostics = Diagnostics(steps_requested=len(planned.tasks), rows=sum(task.rows for task in planned.tasks))
    with judged_run(config, diagnostics, options) as run:
        if diagnostics.untrainable:
            return run
        options.progress.started("eval", len(planned.tasks), run.path)
        for text in trusted_code(planned.source):
            options.progress.note(text)
        for label, text in planned.lines():
            if label in ("greedy", "completions", "detects"):
                options.progress.note(f"{label}: {text}")
        write_json(run.path / "results.json", _evaluate(planned, run, options))
        diagnostics.steps_done = len(planned.tasks)
    return run


def _evaluate(plan: EvalPlan, run: Run, options: RunOptions) -> dict[str, Any]:
    """Measure every task; the content of `results.json`. Rows of `items.jsonl` are written as each task is done."""
    listener = options.progress
    listener.phase("loading")
    from rlllm.launch import choice, local

    hardware = local.prepare()
    earlier = choice.recorded(run) if options.resume else choice.usable(options.environment, hardware)
    if not (
        options.resume and run.config.get("hardware")
    ):  # a resume that finds all completions drawn computes nothing
        write_json(run.path / "env.json", local.environment(hardware))

    def choose(model: Any) -> Hardware:
        chosen = choice.choose(model, hardware, plan.config.hardware, earlier)
        local.record(run, chosen)
        return chosen

    (run.path / "items.jsonl").unlink(missing_ok=True)
    log, models, tasks = (
        CompletionLog(run.path / _LOG),
        LoadedModels(hardware, choose, partial(_check_model, plan, listener)),
        {},
    )
    seen: set[str] = set()
    for number, task in enumerate(plan.tasks, 1):
        listener.phase(task.name)
        stores = BlockStores(log, SampleCache(cache_folder()) if plan.config.cache else None, listener.note, seen=seen)
        result, stopped = _measure(plan, task, _request(plan, task, models, stores, listener))
        append_jsonl(run.path / "items.jsonl", [{"task": task.name, **item} for item in result.items])
        tasks[task.name] = _task_results(plan, task, result, stopped)
        for text in [*_origin_notes(task.name, stores), *_context_notes(plan, task, models)]:
            listener.note(text)
        for text in tasks[task.name]["remarks"]:
            listener.note(f"{task.name}: {text}")
        listener.step(number, {name: value["estimate"] for name, value in tasks[task.name]["values"].items()})
    _add_holm([task["against"] for task in tasks.values() if "against" in task])
    baseline = plan.baseline.name if plan.baseline else None
    return {"tasks": tasks, "model": plan.source.name, "baseline": baseline}


def _check_model(plan: EvalPlan, listener: ProgressCallback, source: ModelSource, model: Any, tokenizer: Any) -> None:
    """Raise DataError for rows that a model cannot read, and say where its completions end."""
    from rlllm.policies.chat import add_end_of_turn, stop_ids

    if added := add_end_of_turn(model, tokenizer):
        listener.note(f"{source.name}: {added}")
    for task in plan.tasks:
        if task.environment is not None:
            chat_template(tokenizer, source.name)
        check_tokens(task.records, model, tokenizer)
        check_positions(task.records, model, tokenizer, completion=plan.config.sampling.max_new_tokens)
        for text in check_templates(task.records, tokenizer, stop_ids(model, tokenizer), writes=True):
            listener.note(f"warning: {task.name}: {text}")


def _request(
    plan: EvalPlan, task: PlannedTask, models: LoadedModels, stores: BlockStores, listener: ProgressCallback
) -> EvalRequest:
    config = plan.config

    def progress(name: str, block: int, blocks: int) -> None:
        if blocks > 1:
            listener.phase(f"{task.name}: {name}block {block} of {blocks}")

    def sampler(source: ModelSource, name: str = "") -> CompletionSampler:
        dialogue = planned_dialogue(config.dialogue, source.folder) if config.dialogue else None
        return CompletionSampler(
            models.loader(source, dialogue.roles if dialogue else None),
            partial(models.identity, source),
            stores,
            partial(progress, name),
            dialogue or task.environment,
        )

    samplers: dict[PolicyName, CompletionSampler] = {"model": sampler(plan.source)}
    if plan.baseline:
        samplers["baseline"] = sampler(plan.baseline, "baseline, ")
    return EvalRequest(
        path=plan.source.reference,
        policy=models.loader(plan.source),
        records=task.records,
        rewards=task.rewards,
        sampling=config.sampling,
        samples=config.samples,
        ks=config.ks,
        seed=config.seed,
        baseline=models.loader(plan.baseline) if plan.baseline else None,
        entropy=config.entropy,
        image_ablation=config.image_ablation,
        params=task.params,
        samplers=samplers,
    )


def _measure(plan: EvalPlan, task: PlannedTask, request: EvalRequest) -> tuple[Evaluation, Stopped | None]:
    stopped = None
    if plan.config.stop_width is not None:
        request, stopped = until_narrow(request, request.required_rewards(), plan.config.stop_width)
    result = measure(task.metric, request)
    if task.by is not None:
        result = grouped(result, group_of(task.records, task.by), task.by, request.seed)
    if stopped is not None:
        result = replace(result, values={**result.values, DECIDING_VALUE: stopped.interval})
    return result, stopped


def _task_results(plan: EvalPlan, task: PlannedTask, result: Evaluation, stopped: Stopped | None) -> dict[str, Any]:
    """The task's part of `results.json`, with its comparison with the earlier evaluation if that measured it too."""
    values, more = dict(result.values), dict(result.extra)
    if stopped is not None:
        more["stopped"] = stopped.to_json()
    if plan.earlier is not None and task.name in plan.earlier.names:
        compared = plan.earlier.compare(task.name, task.metric.name, result.items, plan.config.seed)
        values[f"over {plan.earlier.run.path.name}"] = compared.difference.interval
        more["against"] = {"run": str(plan.earlier.run.path), **compared.to_json()}
    return {
        "hash": task.hash(plan.config),
        "metric": task.metric.name,
        "items": len(result.items),
        **({"samples": plan.config.samples} if task.metric.samples else {}),
        "values": {name: interval.to_json() for name, interval in values.items()},
        "remarks": _remarks(plan, task, result),
        **more,
    }


def _remarks(plan: EvalPlan, task: PlannedTask, result: Evaluation) -> list[str]:
    """What a reader of the task's values has to know: problems without a value, completions cut off, repeated problems."""
    remarks = []
    if unjudged := result.extra.get("unjudged"):
        remarks.append(f"{unjudged:,} of {task.rows:,} problems could not be judged, and no value counts them")
    cut = result.extra.get("truncated")
    if isinstance(cut, float) and cut >= _MOSTLY_CUT:
        limit = plan.config.sampling.max_new_tokens
        remarks.append(
            f"{cut:.0%} of the completions ended at the limit of {limit:,} tokens: raise max_new_tokens, or see whether the "
            "model ends its turns"
        )
    remarks += [sentence(row) for row in result.extra.get("turns", ())]
    remarks += result.extra.get("findings", ())
    if task.by is not None and (spread := result.extra.get(f"spread over {task.by}")) is not None:
        remarks.append(f"the values by {task.by} have a standard deviation of {spread:.3f}")
    problems = [prompt_key(record.prompt) for record in task.records]
    if repeated := len(problems) - len(set(problems)):
        remarks.append(
            f"{repeated:,} of {len(problems):,} problems repeat another, and intervals count each as one of its own"
        )
    return remarks


def _add_holm(comparisons: Sequence[dict[str, Any]]) -> None:
    """Add to each comparison its p-value as Holm corrects it over all tasks."""
    corrected = holm([compared["difference"]["p_value"] for compared in comparisons])
    for compared, p in zip(comparisons, corrected, strict=True):
        compared["p_holm"] = p


def _origin_notes(name: str, stores: BlockStores) -> list[str]:
    """A sentence about completions of a task that were not sampled now."""
    counts = {"from the cache": stores.from_cache, "from before the interruption": stores.from_log}
    return [f"{name}: {count:,} completions {words}" for words, count in counts.items() if count]


def _context_notes(plan: EvalPlan, task: PlannedTask, models: LoadedModels) -> list[str]:
    """A sentence about prompts of a task that leave no room for a completion in the model's context."""
    policy = models.loaded.get(plan.source.reference)
    if policy is None or not task.metric.samples:
        return []
    prompts = [task_of(record).prompt for record in task.records]
    beyond = beyond_context(*policy, prompts, plan.config.sampling.max_new_tokens)
    return [f"{task.name}: {beyond[1]}"] if beyond and beyond[1] else []
