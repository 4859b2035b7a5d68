"""The flow every training verb follows, from a plan to a judged run directory. Reads top to bottom like the data flow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlllm.core import runs
from rlllm.core.errors import ConfigError, RlllmError
from rlllm.core.events import NullProgress, ProgressCallback
from rlllm.core.records import fingerprint
from rlllm.core.runs import Run, append_jsonl, read_json, write_json
from rlllm.core.verdict import Diagnostics, judge
from rlllm.core.yaml_io import dump
from rlllm.report import render_run
from rlllm.training.plan import Plan

if TYPE_CHECKING:
    from rlllm.core.hardware import Hardware
    from rlllm.evals.before_after import Measured
    from rlllm.training.settings import TrainingConfig


@dataclass
class Job:
    """A run under way: what the stage-specific parts need to build a trainer and to measure."""

    plan: Plan
    run: Run
    hardware: Hardware
    tokenizer: Any
    model: Any
    listener: ProgressCallback
    diagnostics: Diagnostics = field(default_factory=Diagnostics)

    @property
    def config(self) -> TrainingConfig:
        return self.plan.config

    def arguments(self, config: str) -> Any:
        """The TRL config object of this run."""
        from rlllm.algorithms.trl_args import trl_arguments

        return trl_arguments(
            config,
            self.plan.settings,
            checkpoints=self.run.checkpoints,
            seed=self.config.seed,
            hardware=self.hardware,
        )

    def adapters(self, task: str = "CAUSAL_LM") -> Any:
        """The PEFT config for `lora`, or None for full training."""
        if self.config.lora is None:
            return None
        from peft import LoraConfig

        lora = self.config.lora
        return LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.target_modules,
            task_type=task,
        )


@dataclass(frozen=True)
class Parts:
    """What differs between the training verbs.

    Args:
        load: source, tokenizer, hardware -> model.
        build: job, callbacks -> TRL trainer.
        measure: job, model -> held-out scores by measure; none where there is nothing to measure on.
        expect: plan, diagnostics; adds what the data alone says, before anything is loaded.
        observe: job, trainer; adds to the job's diagnostics what only this stage knows, after training.
    """

    load: Callable[[Any, Any, Hardware], Any]
    build: Callable[[Job, list[Any]], Any]
    measure: Callable[[Job, Any], list[Measured]]
    expect: Callable[[Plan, Diagnostics], None] = lambda plan, diagnostics: None
    observe: Callable[[Job, Any], None] = lambda job, trainer: None


def load_causal_model(source: Any, tokenizer: Any, hardware: Hardware) -> Any:
    """`Parts.load` of every verb that trains a policy."""
    from rlllm.policies.loading import load_policy

    return load_policy(source, bf16=hardware.bf16)


def train(plan: Plan, parts: Parts, **options: Any) -> Run:
    """Run a training plan to its verdict; options as in `run_to_verdict`.

    Raises:
        RlllmError: before anything was trained (bad directory, model that does not load). Later failures end up in the
            verdict of the returned run.
    """
    diagnostics = Diagnostics(rows=len(plan.loaded.train), rows_needed=plan.rows_needed)
    parts.expect(plan, diagnostics)

    def work(run: Run, listener: ProgressCallback, resume: bool) -> None:
        job = prepare(plan, parts, run, diagnostics, listener, resume)
        measure(job, parts, "before")
        trainer = _train(job, parts, run.latest_checkpoint() if resume else None)
        if not diagnostics.interrupted and diagnostics.failure is None:
            _finish(job, parts, trainer)

    return run_to_verdict(plan.config, diagnostics, work, **options)


def run_to_verdict(
    config: Any,
    diagnostics: Diagnostics,
    work: Callable[[Run, ProgressCallback, bool], None],
    *,
    listener: ProgressCallback | None = None,
    resume: bool = False,
    overwrite: bool = False,
    recipe: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> Run:
    """The frame of every run: open its directory, do the work, judge the diagnostics.

    Args:
        config: of the stage.
        diagnostics: what is known already; if they rule success out, the work is not begun.
        work: run, listener, resume; fills the diagnostics. What it raises is written into the run's status, and goes on.
        listener: hears progress; silent by default.
        resume, overwrite: as `--resume` and `--overwrite`.
        recipe, command: what the settings came from, for the record.
    """
    listener, started = listener or NullProgress(), time.monotonic()
    run = open_run_directory(config, resume=resume, overwrite=overwrite, recipe=recipe, command=command)
    if not diagnostics.untrainable:
        with _failures_noted(run):
            work(run, listener, resume)
    return conclude(run, diagnostics, listener, time.monotonic() - started)


@contextmanager
def _failures_noted(run: Run) -> Iterator[None]:
    """Whatever is raised inside is written into the run's status, and goes on."""
    try:
        yield
    except BaseException as error:
        run.set_status("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", error=repr(error))
        raise


def open_run_directory(
    config: Any, *, resume: bool, overwrite: bool, recipe: Mapping[str, Any] | None, command: str | None
) -> Run:
    """Make or reopen the run directory and write down what is about to run."""
    path = config.output_dir or Path("runs") / f"{config.stage}-{time.strftime('%Y%m%d-%H%M%S')}"
    run = runs.create(path, digest=config.digest(), overwrite=overwrite, resume=resume)
    spent = run.status.get("seconds", 0.0) if resume else 0.0
    if not resume:
        settings = config.model_dump(mode="json")
        write_json(
            run.path / "config.json",
            {"digest": config.digest(), "stage": config.stage, "command": command, "settings": settings},
        )
        (run.path / "recipe.yaml").write_text(dump(dict(recipe or settings)), encoding="utf-8")
    run.set_status("running", stage=config.stage, seconds=spent)
    return run


def conclude(run: Run, diagnostics: Diagnostics, listener: ProgressCallback, seconds: float) -> Run:
    """Write verdict, status and report; `seconds` of wall time add to those of the sessions that ended before a resume."""
    verdict = judge(diagnostics)
    write_json(run.path / "verdict.json", verdict.to_json())
    state = "interrupted" if diagnostics.interrupted else "done" if verdict.ok else "failed"
    run.set_status(state, stage=run.config["stage"], seconds=round(run.status.get("seconds", 0.0) + seconds, 1))
    (run.path / "report.html").write_text(render_run(run), encoding="utf-8")
    listener.finished(run.path)
    return run


def prepare(
    plan: Plan, parts: Parts, run: Run, diagnostics: Diagnostics, listener: ProgressCallback, resume: bool
) -> Job:
    """Load what a plan names, and write down the environment and the lineage."""
    listener.phase("loading")
    from rlllm.launch import local, threads

    known = run.path / "env.json"
    recorded = read_json(known) if resume and known.exists() else None
    hardware = local.prepare(recorded)
    from transformers import set_seed

    from rlllm.policies.loading import load_tokenizer

    set_seed(plan.config.seed)
    tokenizer = load_tokenizer(plan.source)
    model = parts.load(plan.source, tokenizer, hardware)
    if hardware.device != "cpu":
        model.to(hardware.device)
    if recorded is None:
        hardware = threads.choose(model, hardware)
    write_json(known, local.environment(hardware))
    write_json(run.path / "lineage.json", _lineage(plan, tokenizer))
    return Job(_quarantined(plan, run), run, hardware, tokenizer, model, listener, diagnostics)


def _quarantined(plan: Plan, run: Run) -> Plan:
    """The plan whose rewards write what they fail on into the run's directory."""
    found = {"rewards": plan.rewards, "judge": plan.judge}
    parts: dict[str, Any] = {name: part.quarantined(run.path) for name, part in found.items() if part is not None}
    return replace(plan, **parts)


def _lineage(plan: Plan, tokenizer: Any) -> dict[str, Any]:
    return {
        "parents": [plan.config.model] if plan.source.kind == "run" else [],
        "model": {"name": plan.source.name, "path": plan.source.path, "weights": plan.source.fingerprint()},
        "data": {
            "source": plan.loaded.source,
            "hash": plan.loaded.hash,
            "train": len(plan.loaded.train),
            "holdout": len(plan.loaded.holdout),
            "columns": dict(plan.loaded.columns),
            "skipped": plan.loaded.skipped,
            "skipped_examples": list(plan.loaded.skipped_examples),
            "undecided": plan.loaded.undecided,
        },
        "rewards": {"names": plan.rewards.names, "hash": plan.rewards.fingerprint()} if plan.rewards else None,
        "template": fingerprint(tokenizer.chat_template) if tokenizer.chat_template else None,
    }


def measure(job: Job, parts: Parts, when: str) -> None:
    """Measure and keep the numbers; a resumed run keeps the `before` of its first start."""
    path = job.run.path / f"measured_{when}.json"
    if path.exists() and when == "before":
        return
    job.listener.phase(f"measuring {when}")
    measured = parts.measure(job, job.model)
    if measured:
        from dataclasses import asdict

        write_json(path, [asdict(one) for one in measured])


def _train(job: Job, parts: Parts, checkpoint: Path | None) -> Any:
    from rlllm.algorithms.callbacks import GracefulStop, NothingLeftError, Recorder
    from rlllm.algorithms.weight_checks import checksum, finite
    from rlllm.rollouts.engines.native.token_sampling import NoDistributionError

    flat_limit = getattr(job.config, "stop_when_flat", 0)
    boundary = job.plan.batches.steps_per_rollout if job.plan.batches else 1
    job.run.rewind(int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0)
    stop = GracefulStop(job.diagnostics, job.listener, boundary)
    trainer = _built(job, parts, [Recorder(job.run, job.diagnostics, job.listener, flat_limit), stop])
    drop_printers(trainer)
    job.diagnostics.rows = len(trainer.train_dataset)
    start = checksum(trainer.model)
    if job.diagnostics.rows < job.diagnostics.rows_needed:
        return trainer
    job.listener.phase("training")
    try:
        with stop:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except NothingLeftError:
        pass
    except RlllmError as error:
        job.diagnostics.failure = str(error)
    except RuntimeError as error:
        if finite(trainer.model) and not isinstance(error, NoDistributionError):
            raise
        job.diagnostics.non_finite_steps += 1  # torch refuses to sample from a diverged model before the step is logged
    job.diagnostics.weights_changed = checksum(trainer.model) != start
    parts.observe(job, trainer)
    return trainer


def _built(job: Job, parts: Parts, callbacks: list[Any]) -> Any:
    """The trainer. Raises ConfigError for adapters that cannot be put on this model."""
    try:
        return parts.build(job, callbacks)
    except RlllmError:
        raise
    except ValueError as error:
        if job.config.lora is None:
            raise
        raise ConfigError(
            f"the adapters do not fit the model: {error}",
            given=f"lora.target_modules={job.config.lora.target_modules}",
            hint="name the modules to adapt in lora.target_modules; all-linear takes every linear layer but the head",
        ) from error


def drop_printers(trainer: Any) -> None:
    """The listener prints; transformers' own printer would say everything twice, on stdout."""
    from transformers import PrinterCallback, ProgressCallback

    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)


def _finish(job: Job, parts: Parts, trainer: Any) -> None:
    from rlllm.policies.loading import save_model

    job.listener.phase("saving")
    job.model = save_model(trainer.accelerator.unwrap_model(trainer.model), job.tokenizer, job.run.model)
    if job.diagnostics.non_finite_steps:
        return  # nothing can be sampled from a diverged model, and the verdict says what happened
    measure(job, parts, "after")
    compare(job)


def compare(job: Job) -> None:
    """Write `results.json`, and the texts before and after, once both ends were measured."""
    paths = [job.run.path / f"measured_{when}.json" for when in ("before", "after")]
    if not all(path.exists() for path in paths):
        return
    from rlllm.evals.before_after import Measured, before_after_rows, difference

    before, after = ([Measured(**row) for row in read_json(path)] for path in paths)
    measures = zip(before, after, strict=True)
    rows = [row for then, now in measures for row in difference(then, now, seed=job.config.seed)]
    write_json(job.run.path / "results.json", {"measures": rows})
    texts = before_after_rows(before[0], after[0])
    if texts:
        (job.run.path / "before_after.jsonl").unlink(missing_ok=True)
        append_jsonl(job.run.path / "before_after.jsonl", texts)
