"""What the trainers that work in iterations share: the model writes, pairs are made of it, DPO trains on them, and again.

    RUN/iterations/N-pairs.jsonl   the pairs of iteration N       RUN/iterations/N/   its training, a whole run
    RUN/model/                     the last iteration's model     RUN/measured_*      the start and the end, measured once

The reference model of each iteration is the model it starts from, which the iteration before made. `max_steps` is divided among
the iterations, and each visits the next prompts of the data, as many as its steps take; without it, each visits all prompts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError, DataError, RewardError
from rlllm.core.events import NullProgress
from rlllm.core.records import Sample, task_of
from rlllm.core.runs import Run, RunOptions, read_run_file, write_json, write_jsonl
from rlllm.core.verdict import Diagnostics
from rlllm.policies.chat import encode_prompts
from rlllm.policies.model_sources import source_of
from rlllm.rollouts.config import RolloutConfig
from rlllm.training import flow
from rlllm.training.child_runs import continue_metrics, record_like, train_child
from rlllm.training.evaluations import refuse_evaluations
from rlllm.training.flow import Job
from rlllm.training.plan import Plan, refuse_several_processes, resolve_method
from rlllm.training.resumed_counts import keep_counts, recall_counts
from rlllm.training.settings import ROLLOUT_ALIASES, PreferenceSettings
from rlllm.training.trainers import dpo

Row = dict[str, Any]


class IterativeSettings(PreferenceSettings):
    """Settings of `rlllm align` with a trainer that works in iterations."""

    aliases: ClassVar[Mapping[str, str]] = ROLLOUT_ALIASES
    trl_configs: ClassVar[tuple[str, ...]] = ("DPOConfig",)

    rollout: RolloutConfig = RolloutConfig(max_new_tokens=256)
    """How completions are sampled, in training and when the model is measured."""
    iterations: int = Field(3, ge=1)
    """Iterations of sampling and training."""


PlanT = TypeVar("PlanT", bound=Plan[IterativeSettings])
_MakePairs = Callable[[Job[PlanT], Sequence[Any], list[list[Sample]]], list[Row]]
"""Job, records and the samples of each -> rows of prompt, chosen and rejected; the diagnostics say why there are none."""
_FACTS = ("reward_rows", "reward_undefined", "reward_spread", "pairs", "identical_pairs")
"""Fields of the diagnostics that making pairs fills in."""


def check(plan: Plan[IterativeSettings]) -> None:
    """Refuse what iterations cannot work with, before anything is loaded.

    Raises:
        ConfigError: steps that the iterations do not divide, or several processes.
        DataError: a row without a prompt.
    """
    steps_per_iteration(plan.settings, plan.config.iterations)
    refuse_several_processes("iterations", plan.config.launch)
    refuse_evaluations(plan, "iterations")
    for number, record in enumerate(plan.loaded.train, start=1):
        if not record.prompt:
            raise DataError(
                f"training row {number} has no prompt for the model to answer",
                given=plan.loaded.source,
                hint="iterations need data with prompts, not plain text",
            )


def steps_per_iteration(settings: Mapping[str, Any], iterations: int) -> int | None:
    """`max_steps` of each iteration; None where none is set, and epochs count instead. Raises ConfigError for a remainder."""
    total = settings.get("max_steps", -1)
    if total <= 0:
        return None
    if total % iterations:
        fitting = [count for count in (total - total % iterations, total + iterations - total % iterations) if count]
        raise ConfigError(
            f"{total} steps cannot be divided evenly over {iterations} iterations",
            given=f"max_steps={total} iterations={iterations}",
            hint=f"max_steps={' or '.join(map(str, fitting))}",
        )
    return total // iterations


def records_of(records: Sequence[Any], number: int, steps: int | None, settings: Mapping[str, Any]) -> list[Any]:
    """The records that iteration `number` (from 1) visits: the next ones, from the start again after the last."""
    if steps is None:
        return list(records)
    batch, accumulation = (
        trl_fields.value("DPOConfig", settings, name)
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps")
    )
    count = min(len(records), steps * batch * accumulation)
    return [records[((number - 1) * count + index) % len(records)] for index in range(count)]


def run(plan: PlanT, options: RunOptions, make_pairs: _MakePairs[PlanT]) -> Run:
    """Run every iteration; measures the start and the end.

    Args:
        plan: of a trainer that works in iterations.
        options: how the run is started.
        make_pairs: the trainer's way from samples to preference pairs.
    """
    diagnostics = Diagnostics(rows=len(plan.loaded.train))
    with flow.judged_run(plan.config, diagnostics, options) as run:
        if diagnostics.untrainable:
            return run
        job = flow.prepare(plan, run, diagnostics, options)
        _try_settings(job)
        flow.measure(job, "before", options.measurements)
        job.model = None
        last = _iterate(job, options, make_pairs)
        _note_faults(job)
        if last is None:
            return run
        job.progress.phase("saving")
        shutil.copytree(last.model, run.model, dirs_exist_ok=True)
        job.model = _policy(job, str(run.model))
        flow.measure(job, "after")
        flow.compare(job)
        _note_faults(job)
    return run


def _note_faults(job: Job[Any]) -> None:
    if job.plan.rewards is not None:
        job.diagnostics.reward_faults = job.plan.rewards.faults()


def _try_settings(job: Job[Any]) -> None:
    """Build the trainer of an iteration once, on a copy of the model and a made-up pair, before anything is measured.

    Raises:
        ConfigError: TRL refuses the settings, or adapters do not fit the model.
    """
    with TemporaryDirectory() as folder:
        pairs = Path(folder) / "pairs.jsonl"
        write_jsonl(pairs, [{"prompt": "1 + 1 =", "chosen": "2", "rejected": "3"}])
        plan = _iteration_plan(job, 1, job.plan.config.model.reference, pairs)
        tried = replace(job, plan=plan, model=deepcopy(job.model), diagnostics=Diagnostics(), progress=NullProgress())
        flow.built(tried, [])


def _iterate(job: Job[PlanT], options: RunOptions, make_pairs: _MakePairs[PlanT]) -> Run | None:
    """The last iteration's run; None where one failed or was interrupted, and the diagnostics say why."""
    total = job.plan.config.iterations
    start, child = job.plan.config.model.reference, None
    (job.run.path / "metrics.jsonl").unlink(missing_ok=True)
    for number in range(1, total + 1):
        label = f"iteration {number} of {total}"
        job.progress.note(label)
        pairs = job.run.path / "iterations" / f"{number}-pairs.jsonl"
        if pairs.exists():
            recall_counts(pairs, job.plan.rewards)
            _recall_facts(job, pairs)
        elif not _write_pairs(job, number, start, pairs, make_pairs):
            return None
        child = train_child(_iteration_plan(job, number, start, pairs), label, job.diagnostics, options)
        continue_metrics(job.run, child)
        record_like(job.run, child)
        if not child.carried_out:
            return None
        start = str(child.model.resolve())
    return child


def _write_pairs(job: Job[PlanT], number: int, start: str, path: Path, make_pairs: _MakePairs[PlanT]) -> bool:
    """Sample, pair and write what iteration `number` learns from; False where nothing can be learned."""
    from rlllm.evals.sampling import sample

    plan, config = job.plan, job.plan.config
    job.progress.phase(f"sampling for iteration {number}")
    steps = steps_per_iteration(plan.settings, config.iterations)
    records = records_of(plan.loaded.train, number, steps, plan.settings)
    samples = sample(
        _policy(job, start),
        job.tokenizer,
        [task_of(record) for record in records],
        config.rollout.sampling,
        samples=config.rollout.group_size,
        seed=_seed(config, number),
    )
    try:
        rows = make_pairs(job, records, samples)
    except RewardError as error:
        job.diagnostics.failure = str(error)
        return False
    if rows:
        keep_counts(path, plan.rewards)
        write_json(_facts_beside(path), {name: getattr(job.diagnostics, name) for name in _FACTS})
        write_jsonl(path, rows)  # whole or not at all: a file that is there is not sampled again
    return bool(rows)


def _recall_facts(job: Job[Any], pairs: Path) -> None:
    """Give the diagnostics what they knew when an earlier start had made these pairs."""
    facts = read_run_file(_facts_beside(pairs)) if _facts_beside(pairs).exists() else {}
    for name in _FACTS:
        if name in facts:
            setattr(job.diagnostics, name, facts[name])


def _facts_beside(pairs: Path) -> Path:
    return pairs.with_name(f"{pairs.stem}_facts.json")


def _iteration_plan(job: Job[Any], number: int, start: str, pairs: Path) -> Plan[dpo.DPOSettings]:
    """The plan of one iteration: DPO from `start` on a file of pairs, under the same TRL settings; measures nothing."""
    plan, config = job.plan, job.plan.config
    steps = steps_per_iteration(plan.settings, config.iterations)
    settings = dpo.DPOSettings.checked(
        {
            "method": "dpo",
            "model": job.plan.config.model.model_copy(update={"name": start, "base": None}),
            "data": {"name": str(pairs.resolve())},
            "defaults": config.defaults,
            "trainer": {**plan.settings, **({} if steps is None else {"max_steps": steps})},
            "lora": config.lora,
            "seed": _seed(config, number),
            "grace_period": config.grace_period,
            "hardware": {"threads": job.hardware.threads, "matmul": job.hardware.matmul},
            "output_dir": pairs.parent / str(number),
        }
    )
    child = dpo.TRAINER.plan(settings, resolve_method("dpo", config.stage), dpo.TRAINER)
    dpo.TRAINER.check(child)
    return child


def prompt_tokens(job: Job[Any], record: Any) -> list[int]:
    """`Trainer.prompt_tokens`: the prompt as completions are sampled for it."""
    (ids,) = encode_prompts(job.tokenizer, [record.prompt], [record.meta])
    return ids


def row(sample: Sample, chosen: str, rejected: str) -> Row:
    """One preference pair, as it is written to the file that DPO reads."""
    return {"prompt": sample.prompt, "chosen": chosen, "rejected": rejected}


def _seed(config: IterativeSettings, number: int) -> int:
    """A seed that no iteration of a run under another seed has."""
    return config.seed * config.iterations + number


def _policy(job: Job[Any], model: str) -> Any:
    from rlllm.policies.loading import placed

    source = source_of(job.plan.config.model.model_copy(update={"name": model, "base": None}))
    return placed(job.plan.trainer.load(source, job.tokenizer, job.hardware), job.hardware)
