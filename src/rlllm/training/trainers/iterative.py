"""Preference training in rounds: the model writes, pairs are made of what it wrote, DPO learns from them, and again.

    RUN/rounds/N-pairs.jsonl   the pairs of round N           RUN/rounds/N/   its training, a whole run
    RUN/model/                 the last round's model         RUN/measured_*  the start and the end, measured once

Each round's reference is the model it starts from, the one before's result. With `max_steps`, which is divided among the
rounds, a round visits the next prompts of the data, as many as its steps take; without, every round visits them all.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rlllm.core import trl_fields
from rlllm.core.errors import ConfigError, DataError, RewardError
from rlllm.core.events import ProgressCallback
from rlllm.core.records import Sample, task_of
from rlllm.core.runs import Run, write_jsonl
from rlllm.core.verdict import Diagnostics
from rlllm.policies.model_sources import resolve_model
from rlllm.training import flow
from rlllm.training.before_after import measure_alignment
from rlllm.training.child_runs import add_facts, continue_metrics, run_part
from rlllm.training.flow import Job, Parts, load_causal_model
from rlllm.training.plan import Plan, processes
from rlllm.training.trainers import preference
from rlllm.training.trainers.rl import sampling

INNER = "dpo"
"""The method of each round; loss type and beta are the composite method's."""

Row = dict[str, Any]
Pairing = Callable[[Job, Sequence[Any], list[list[Sample]]], list[Row]]
"""Job, records and the samples drawn for each -> rows of prompt, chosen and rejected. Notes why there are none."""


def run(plan: Plan, **options: Any) -> Run:
    """Run a plan of the families `rounds` and `self-play`; options as in `training.flow.run_to_verdict`."""
    check(plan)
    diagnostics = Diagnostics(rows=len(plan.loaded.train))
    return flow.run_to_verdict(plan.config, diagnostics, partial(_run, plan, diagnostics), **options)


def check(plan: Plan) -> None:
    """Refuse what rounds cannot work with, before anything is loaded; plans of other families pass.

    Raises:
        ConfigError: steps that rounds do not divide, no reward to choose by, nothing to choose from, several processes.
        DataError: a row without a prompt.
    """
    if plan.family.name not in PAIRINGS:
        return
    config = _config(plan)
    steps_per_round(plan.settings, config.rounds)
    if processes() > 1:
        raise ConfigError(
            "rounds run in one process", given=f"{processes()} processes", hint="start without a launcher"
        )
    if PAIRINGS[plan.family.name] is best_against_worst:
        _check_choice(plan, config.rollout.group_size)
    for number, record in enumerate(plan.loaded.train, start=1):
        if not record.prompt:
            raise DataError(
                f"training row {number} has no prompt for the model to answer",
                given=plan.loaded.source,
                hint="rounds need data with prompts, not plain text",
            )


def _check_choice(plan: Plan, group_size: int) -> None:
    if plan.rewards is None:
        raise ConfigError(
            f"method {plan.method.name} picks completions by a reward, and none is named",
            hint="--reward RUN (a reward model), or a name from: rlllm rewards ls",
        )
    if group_size < 2:
        raise ConfigError("a pair takes two completions", given="rollout.group_size=1", hint="rollout.group_size=4")


def steps_per_round(settings: Mapping[str, Any], rounds: int) -> int | None:
    """`max_steps` of each round; None where the run sets none, and epochs count instead."""
    total = settings.get("max_steps", -1)
    if total <= 0:
        return None
    if total % rounds:
        fitting = [count for count in (total - total % rounds, total + rounds - total % rounds) if count]
        raise ConfigError(
            f"{total} steps cannot be divided evenly over {rounds} rounds",
            given=f"max_steps={total} rounds={rounds}",
            hint=f"max_steps={' or '.join(map(str, fitting))}",
        )
    return total // rounds


def records_of(records: Sequence[Any], number: int, steps: int | None, settings: Mapping[str, Any]) -> list[Any]:
    """The records that round `number` (from 1) visits: the next ones, from the start again after the last."""
    if steps is None:
        return list(records)
    fields = trl_fields.table("DPOConfig")
    batch, accumulation = (
        settings.get(name, fields[name]["default"])
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps")
    )
    count = min(len(records), steps * batch * accumulation)
    return [records[((number - 1) * count + index) % len(records)] for index in range(count)]


def best_against_worst(job: Job, records: Sequence[Any], drawn: list[list[Sample]]) -> list[Row]:
    """Pairing of iterative DPO (Xu et al. 2023, arXiv 2312.16682; Yuan et al. 2024, arXiv 2401.10020)."""
    assert job.plan.rewards is not None
    totals = iter(job.plan.rewards.score([sample for group in drawn for sample in group]).totals)
    scored = [[(sample, next(totals)) for sample in group] for group in drawn]
    rows = [row for group in scored if (row := extremes(group)) is not None]
    scores = [score for group in scored for _, score in group]
    job.diagnostics.reward_rows = len(scores)
    job.diagnostics.reward_undefined = scores.count(None)
    job.diagnostics.reward_spread = max((row["chosen_score"] - row["rejected_score"] for row in rows), default=0.0)
    return rows


def extremes(group: Sequence[tuple[Sample, float | None]]) -> Row | None:
    """The best of a group that is not blank against its worst, the first of equals; None where that is no difference."""
    judged = [(sample, score) for sample, score in group if score is not None]
    candidates = [(sample, score) for sample, score in judged if sample.completion.strip()]
    if not candidates:
        return None
    best, high = max(candidates, key=lambda item: item[1])
    worst, low = min(judged, key=lambda item: item[1])
    if high <= low or best.completion == worst.completion:
        return None
    return {**_row(best, best.completion, worst.completion), "chosen_score": high, "rejected_score": low}


def data_against_own(job: Job, records: Sequence[Any], drawn: list[list[Sample]]) -> list[Row]:
    """Pairing of SPIN (Chen et al. 2024, arXiv 2401.01335); a sample that is the data's own text teaches nothing."""
    rows = [
        _row(own, record.completion, own.completion)
        for record, group in zip(records, drawn, strict=True)
        for own in group
    ]
    different = [row for row in rows if row["chosen"] != row["rejected"]]
    job.diagnostics.pairs, job.diagnostics.identical_pairs = len(rows), len(rows) - len(different)
    return different


def _row(sample: Sample, chosen: str, rejected: str) -> Row:
    return {"prompt": sample.prompt, "chosen": chosen, "rejected": rejected}


PAIRINGS: dict[str, Pairing] = {"iterative-dpo": best_against_worst, "spin": data_against_own}
"""Family to how its pairs are made."""


def _run(plan: Plan, diagnostics: Diagnostics, run: Run, listener: ProgressCallback, resume: bool) -> None:
    """From the start model to the measured end, or to the diagnostics that say why not."""
    parts = Parts(load_causal_model, preference.build, measure_alignment)
    job = flow.prepare(plan, parts, run, diagnostics, listener, resume)
    flow.measure(job, parts, "before")
    job.model = None
    last = _train_rounds(job, resume)
    if last is None:
        return
    listener.phase("saving")
    shutil.copytree(last.model, run.model, dirs_exist_ok=True)
    job.model = _policy(job, str(run.model))
    flow.measure(job, parts, "after")
    flow.compare(job)


def _train_rounds(job: Job, resume: bool) -> Run | None:
    """The last round's run; None where a round failed or was interrupted, and the diagnostics say why."""
    total = _config(job.plan).rounds
    start, part = job.config.model, None
    (job.run.path / "metrics.jsonl").unlink(missing_ok=True)
    for number in range(1, total + 1):
        job.listener.note(f"round {number} of {total}")
        pairs = job.run.path / "rounds" / f"{number}-pairs.jsonl"
        if not pairs.exists() and not _write_pairs(job, number, start, pairs):
            return None
        part = run_part(round_plan(job.plan, number, start, pairs), listener=job.listener, resume=resume)
        continue_metrics(job.run, part)
        if not add_facts(job.diagnostics, part, f"round {number} of {total}"):
            return None
        start = str(part.model.resolve())
    return part


def _write_pairs(job: Job, number: int, start: str, path: Path) -> bool:
    """Draw, pair and write what round `number` learns from; False where nothing can be learned."""
    from rlllm.evals.sampling import sample

    plan, config = job.plan, _config(job.plan)
    job.listener.phase(f"sampling for round {number}")
    steps = steps_per_round(plan.settings, config.rounds)
    records = records_of(plan.loaded.train, number, steps, plan.settings)
    drawn = sample(
        _policy(job, start),
        job.tokenizer,
        [task_of(record) for record in records],
        sampling(job),
        samples=config.rollout.group_size,
        seed=config.seed * config.rounds + number,
    )
    try:
        rows = PAIRINGS[plan.family.name](job, records, drawn)
    except RewardError as error:
        job.diagnostics.failure = str(error)
        return False
    if rows:
        write_jsonl(path, rows)  # whole or not at all: a file that is there is not drawn again
    return bool(rows)


def round_plan(plan: Plan, number: int, start: str, pairs: Path) -> Plan:
    """The plan of one round: DPO from `start` on a file of pairs, under the composite's settings; measures nothing."""
    config = _config(plan)
    steps = steps_per_round(plan.settings, config.rounds)
    kept = config.model_dump(exclude_unset=True, exclude={"rounds"})
    changed: dict[str, Any] = {
        "method": INNER,
        "model": start,
        "data": {"name": str(pairs.resolve())},
        "trainer": {**plan.settings, **({} if steps is None else {"max_steps": steps})},
        "rewards": [],
        "judge": None,
        "seed": config.seed * config.rounds + number,
        "output_dir": pairs.parent / str(number),
    }
    return type(config).model_validate({**kept, **changed}).plan()


def _policy(job: Job, model: str) -> Any:
    return load_causal_model(resolve_model(model), job.tokenizer, job.hardware).to(job.hardware.device)


def _config(plan: Plan) -> Any:
    return plan.config
