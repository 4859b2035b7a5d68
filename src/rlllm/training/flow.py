"""From a plan to a judged run directory. Every trainer that is one training loop runs through `train`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rlllm.core import run_lock, runs, trl_fields
from rlllm.core.config import HardwareConfig, StageConfig
from rlllm.core.errors import ConfigError, ModelError, RlllmError, RunDirectoryError, RunLostError, describe
from rlllm.core.events import ProgressCallback
from rlllm.core.outcome import outcome_of
from rlllm.core.processes import is_main, rank
from rlllm.core.redaction import secrets_in, without_secrets
from rlllm.core.runs import Run, RunOptions, append_jsonl, read_run_file, write_json, write_text
from rlllm.core.stalled import watched
from rlllm.core.stop_signals import like_ctrl_c
from rlllm.core.verdict import Diagnostics, judge
from rlllm.core.yaml_io import dump
from rlllm.launch import process_group
from rlllm.policies.chat import stop_ids
from rlllm.policies.model_sources import trusted_code
from rlllm.policies.sharded_weights import make_whole
from rlllm.policies.vision import processor_of
from rlllm.training.engine_limits import check_resumed
from rlllm.training.evaluations import summary_of
from rlllm.training.images import blind
from rlllm.training.plan import Plan
from rlllm.training.random_state import random_state_kept
from rlllm.training.resumed_batch import same_batch
from rlllm.training.resumed_counts import keep_counts, recall_counts
from rlllm.training.resumed_inputs import write_lineage
from rlllm.training.resumed_logs import mend_logs
from rlllm.training.row_checks import (
    check_images_fit,
    check_plan_templates,
    check_positions,
    check_tokens,
    template_notes,
)
from rlllm.training.settings import TrainingConfig
from rlllm.training.shared_measurements import SharedMeasurements
from rlllm.training.storage import check_space, named_faults, storage_error

if TYPE_CHECKING:
    from rlllm.algorithms.callbacks import GracefulStop
    from rlllm.core.hardware import Hardware
    from rlllm.evals.before_after import Measured
    from rlllm.training.evaluation_callback import EvaluationCallback
    from rlllm.training.rollback import NonFiniteStop

PlanT = TypeVar("PlanT", bound=Plan[Any])
PlanT_co = TypeVar("PlanT_co", bound=Plan[Any], covariant=True)


@dataclass
class Job(Generic[PlanT_co]):
    """A run under way: what a trainer's `build`, `measure` and `observe` work with."""

    plan: PlanT_co
    run: Run
    hardware: Hardware
    tokenizer: Any
    model: Any
    progress: ProgressCallback
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    completions: list[dict[str, Any]] = field(default_factory=list)
    """Rows of `samples.jsonl` since the last logged step, for the monitors."""
    during: bool = False
    """Whether what is measured is a model in training, beside which no other is in memory."""

    @property
    def processing_class(self) -> Any:
        """What TRL's trainers take: the tokenizer, or the processor where rows have images."""
        return processor_of(self.tokenizer) if self.plan.has_images else self.tokenizer

    def arguments(self) -> Any:
        """The TRL config object of this run."""
        from rlllm.algorithms.trl_args import trl_arguments
        from rlllm.launch.cpu_fsdp import shard_on_cpu

        arguments = trl_arguments(
            self.plan.trainer.trl_config,
            self.plan.settings,
            checkpoints=self.run.checkpoints,
            seed=self.plan.config.seed,
            hardware=self.hardware,
            trusted=self.plan.source.trusted,
        )
        shard_on_cpu()
        return arguments

    def adapters(self) -> Any:
        """The PEFT config for `lora`, or None for full training."""
        lora = self.plan.config.lora
        if lora is None:
            return None
        from peft import LoraConfig

        return LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.target_modules,
            use_rslora=lora.use_rslora,
            use_dora=lora.use_dora,
            revision=self.plan.source.revision,
            task_type=self.plan.trainer.task,
        )


def train(plan: Plan[Any], options: RunOptions) -> Run:
    """Run a plan to its verdict: load, build the trainer, measure, train, save, measure again, judge.

    The trainer is built first, since settings that TRL refuses are found then; a measurement may take long.

    Raises:
        RlllmError: before anything was trained (bad directory, model that does not load). Later failures end up in the
            verdict of the returned run.
    """
    diagnostics = Diagnostics(rows=len(plan.loaded.train), rows_needed=plan.rows_needed)
    plan.trainer.expect(plan, diagnostics)
    with judged_run(plan.config, diagnostics, options) as run:
        if diagnostics.untrainable:
            return run
        from rlllm.algorithms.trackers import tracked
        from rlllm.training.rollback import go_back

        goes_back = True
        while goes_back:
            job = prepare(same_batch(plan, run, resume=options.resume), run, diagnostics, options)
            checkpoint = run.latest_checkpoint() if options.resume else None
            trained, stop, finite = _constructed(job, checkpoint, options.stop_after)
            with tracked(run, trained, job.progress):
                goes_back = _learn(job, trained, stop, finite, checkpoint, options)
            if goes_back:
                plan, options = go_back(plan, run, diagnostics, options.progress), replace(options, resume=True)
    return run


def _learn(
    job: Job[Any],
    trained: Any,
    stop: GracefulStop,
    finite: NonFiniteStop,
    checkpoint: Path | None,
    options: RunOptions,
) -> bool:
    """Measure, train, save and measure again, as far as the run gets; returns whether it has to go back."""
    from rlllm.training.rollback import can_go_back

    diagnostics = job.diagnostics
    measure(job, "before", options.measurements)
    evaluations = None if options.stop_after else _evaluation_callback(job, trained)
    _fit(job, trained, stop, checkpoint)
    if can_go_back(job.run, diagnostics, finite.last_finite):
        return True
    if diagnostics.interrupted or diagnostics.failure is not None or options.stop_after:
        return False
    if evaluations is not None:
        evaluations.bring_back()
    make_whole(trained.model, keep=is_main(), engine=trained.model_wrapped if trained.is_deepspeed_enabled else None)
    diagnostics.failure = process_group.on_main(lambda: diagnostics.failure or _save(job, trained))
    if not diagnostics.non_finite_steps and diagnostics.failure is None:  # nothing can be sampled from a diverged model
        measure(job, "after")
        compare(job)
    return False


@contextmanager
def judged_run(config: StageConfig, diagnostics: Diagnostics, options: RunOptions) -> Iterator[Run]:
    """The directory of a run, open while its work is done; afterwards it is judged, and the report is written.

    What is raised inside is written into the run's status, and goes on.

    Args:
        config: settings of the verb.
        diagnostics: filled inside.
        options: how the run is started.
    """
    started = time.monotonic()
    with (
        like_ctrl_c(unless=process_group.ends_alone),
        ExitStack() as held,
        process_group.together(lambda: _open_run_directory(config, options, held), _meeting(config)) as run,
        watched(run.path, config.watchdog),
    ):
        try:
            yield run
        except BaseException as raised:
            error = process_group.settled(raised)
            error = storage_error(raised, run) or error
            said = str(error) if isinstance(error, KeyboardInterrupt) and error.args else repr(error)
            text = without_secrets(said, secrets_in(config.model_dump(mode="json")))
            if not isinstance(error, RunLostError):  # nothing is written where the directory is another's, or gone
                run.set_status("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", error=text)
            elif not isinstance(raised, RunLostError):
                with suppress(OSError):  # a full disk may have room for this
                    run.set_status("failed", error=text)
            if error is raised:
                raise
            raise error from raised
        seconds = time.monotonic() - started
        with named_faults(run):
            process_group.on_main(lambda: _conclude(run, config, diagnostics, options.progress, seconds))


def _meeting(config: StageConfig) -> dict[str, Any]:
    """How the processes of a run meet, as TRL's settings `ddp_backend` and `ddp_timeout` say."""
    given = config.trainer if isinstance(config, TrainingConfig) else {}
    return {name: given[f"ddp_{name}"] for name in ("backend", "timeout") if given.get(f"ddp_{name}") is not None}


def _open_run_directory(config: StageConfig, options: RunOptions, held: ExitStack) -> Run:
    """Make or reopen the run directory, and write down what is about to run. `held` lets go of its lock in the end."""
    digest = config.digest()
    run = runs.create(
        config.directory(),
        digest=digest,
        overwrite=options.overwrite,
        resume=options.resume,
        say=options.progress.note,
    )
    held.callback(run_lock.release, run.path)
    with named_faults(run):
        _record_start(run, config, options, digest)
    return run


def _record_start(run: Run, config: StageConfig, options: RunOptions, digest: str) -> None:
    spent = run.status.get("seconds", 0.0) if options.resume else 0.0
    settings, given = (without_secrets(config.model_dump(mode="json", exclude_unset=unset)) for unset in (False, True))
    secrets = secrets_in(config.model_dump(mode="json"))
    if not options.resume:
        write_json(
            run.path / "config.json",
            {
                "digest": digest,
                "stage": config.stage,
                "command": options.command and without_secrets(options.command, secrets),
                "given": given,
                "settings": settings,
            },
        )
    if not (run.path / "recipe.yaml").exists():  # also where a kill came between the two
        recipe = options.recipe if isinstance(options.recipe, str) else dump(dict(options.recipe or settings))
        write_text(run.path / "recipe.yaml", without_secrets(recipe, secrets))
    run.set_status("running", stage=config.stage, seconds=spent)


def _conclude(
    run: Run, config: StageConfig, diagnostics: Diagnostics, progress: ProgressCallback, seconds: float
) -> None:
    """Write verdict, status and report; `seconds` of wall time add to those of the sessions that ended before a resume."""
    from rlllm.report import render_run  # not needed to plan

    if isinstance(config, TrainingConfig):
        verdict = judge(diagnostics, outcome_of(run.results), config.fail_on)
    else:
        verdict = judge(diagnostics)
    run.write("verdict.json", verdict.to_json())
    state = "interrupted" if diagnostics.interrupted else "done" if verdict.carried_out else "failed"
    error = {} if diagnostics.failure is None else {"error": diagnostics.failure}
    spent = round(run.status.get("seconds", 0.0) + seconds, 1)
    run.set_status(state, stage=run.config["stage"], seconds=spent, **error)
    run.write_text("report.html", render_run(run))
    progress.finished(run.path)


def prepare(plan: PlanT, run: Run, diagnostics: Diagnostics, options: RunOptions) -> Job[PlanT]:
    """Load what a plan names, and write down the environment and the lineage."""
    if options.resume:
        check_resumed(run, plan.config.launch)
    options.progress.phase("loading")
    from rlllm.launch import choice, local

    hardware = local.prepare()
    earlier = choice.recorded(run) if options.resume else choice.usable(options.environment, hardware)
    from transformers import set_seed

    from rlllm.policies.chat import add_end_of_turn
    from rlllm.policies.loading import load_tokenizer, placed

    set_seed(plan.config.seed)
    for text in trusted_code(plan.source):
        options.progress.note(text)
    tokenizer = load_tokenizer(plan.source)
    if plan.has_images and processor_of(tokenizer) is None:
        raise blind(plan.source, plan.source.reference)
    model = plan.trainer.load(plan.source, tokenizer, hardware)
    if plan.trainer.task == "CAUSAL_LM" and (added := add_end_of_turn(model, tokenizer)):
        options.progress.note(added)
    _check_rows(plan, model, tokenizer, diagnostics, options.progress)
    if plan.measured_on or not plan.config.launch.shards:
        # else the engine brings one layer after another to the device, and shares it out
        model = placed(model, hardware)
    hardware = _same_choice(model, hardware, plan.config.hardware, earlier)
    local.record(run, hardware)
    said = process_group.on_main(
        lambda: write_lineage(run, plan, tokenizer, resume=options.resume, accepted=options.accept_change)
    )
    _say_resumed(run, diagnostics, options.progress, said)
    quarantine = run.path if run.writes else run.path / "logs" / f"rank-{rank()}"
    quarantine.mkdir(parents=True, exist_ok=True)
    return Job(plan.quarantined(quarantine), run, hardware, tokenizer, model, options.progress, diagnostics)


def _say_resumed(run: Run, diagnostics: Diagnostics, progress: ProgressCallback, said: list[str]) -> None:
    """Warn of what a resume did not find as it was; `config.json` keeps it for the verdict of a later start."""
    for text in said:
        progress.note(f"warning: {text}")
    diagnostics.resumed = [*run.config.get("resumed", []), *said]
    if said:
        run.add_to_config(resumed=diagnostics.resumed)


def _same_choice(model: Any, hardware: Hardware, wanted: HardwareConfig, earlier: Mapping[str, Any] | None) -> Hardware:
    """Threads and matrix product as rank 0 chooses them: processes that compute differently would drift apart."""
    from rlllm.launch import choice

    chosen = process_group.on_main(lambda: choice.choose(model, hardware, wanted, earlier))
    return chosen if is_main() else choice.choose(model, hardware, HardwareConfig(), chosen.to_json())


def _check_rows(
    plan: Plan[Any], model: Any, tokenizer: Any, diagnostics: Diagnostics, progress: ProgressCallback
) -> None:
    """Refuse rows that the model cannot read, and say what the chat template does to those that it learns from.

    Raises:
        DataError: a row with a token or a position that the model has no vector for, or one that the template refuses.
    """
    train, measured = plan.loaded.train, plan.measured_on
    limit = plan.setting("max_length") if "max_length" in trl_fields.table(plan.trainer.trl_config) else None
    completion = plan.config.rollout.max_new_tokens if plan.trainer.samples else 0
    check_tokens((*train, *measured), model, tokenizer)
    check_positions(train, model, tokenizer, limit=limit, completion=completion)
    check_images_fit(train, tokenizer, limit)
    if plan.trainer.task != "SEQ_CLS":  # a reward model reads the end of a longer row
        check_positions(measured, model, tokenizer, completion=completion)
    stops = stop_ids(model, tokenizer)
    diagnostics.template_findings = check_plan_templates(plan.trainer, train, measured, tokenizer, stops)
    for text in diagnostics.template_findings:
        progress.note(f"warning: {text}")
    for text in template_notes(train, tokenizer):
        progress.note(text)


def measure(job: Job[Any], when: str, shared: Path | None = None) -> None:
    """Measure and keep the numbers; a resumed run keeps the `before` of its first start. Of several processes one measures.

    The state of the random generators is the same afterwards, so that training does not depend on what was measured.

    Args:
        job: with the model to measure.
        when: `before` or `after` training.
        shared: folder of measurements of start models; an equal one is taken from there, and a new one kept.
    """
    process_group.on_main(lambda: _measure(job, when, shared))


def _measure(job: Job[Any], when: str, shared: Path | None) -> None:
    path = job.run.path / f"measured_{when}.json"
    if when == "before" and path.exists():
        try:
            _measurements(path)
            recall_counts(path, job.plan.rewards)
            return
        except RunDirectoryError as error:  # found here, and not at the end of the training
            job.progress.note(f"warning: {error.what}; the start is measured again")
    job.progress.phase(f"measuring {when}")
    store = SharedMeasurements(shared) if shared else None
    place = store.path(job.plan, job.tokenizer, job.hardware) if store else None
    kept = store.read(place, job.plan) if store and place else None
    if kept is not None:
        keep_counts(path, job.plan.rewards)
        write_json(path, kept)
        return
    from rlllm.evals.before_after import unmeasured

    with random_state_kept():
        measured = job.plan.trainer.measure(job, job.model)
    if measured:
        if when == "before":
            keep_counts(path, job.plan.rewards)
            if text := unmeasured(measured[0], measured[0]):
                job.progress.note(f"warning: {text}")
        write_json(path, [asdict(result) for result in measured])
        if store and place:
            store.write(place, job.plan, measured)


def _measurements(path: Path) -> list[Measured]:
    """What a file of measurements holds. Raises RunDirectoryError where it is damaged."""
    from rlllm.evals.before_after import Measured

    return [Measured(**row) for row in read_run_file(path)]


def _constructed(job: Job[Any], checkpoint: Path | None, stop_after: int) -> tuple[Any, GracefulStop, NonFiniteStop]:
    """The trainer, and its callbacks that catch Ctrl-C and numbers that are not finite.

    Its settings as they are used stand in the run's config then.

    Raises:
        ConfigError: TRL refuses the settings, or adapters do not fit the model.
    """
    from rlllm.algorithms.callbacks import GracefulStop, Recorder, StopAfter
    from rlllm.training.monitoring import MonitorCallback
    from rlllm.training.rollback import NonFiniteStop

    said = process_group.on_main(lambda: mend_logs(job.run, job.plan, checkpoint))
    _say_resumed(job.run, job.diagnostics, job.progress, said)
    stop = GracefulStop(job.diagnostics, job.progress, job.plan.steps_per_rollout, job.plan.config.grace_period)
    recorder = Recorder(job.run, job.diagnostics, job.progress, job.plan.flat_steps_limit)
    monitors = MonitorCallback(job.plan, job.run, job.diagnostics, job.progress, len(job.tokenizer), job.completions)
    finite = NonFiniteStop(job.run, job.progress, job.tokenizer)
    trainer = built(job, [monitors, recorder, finite, stop, *([StopAfter(stop_after)] if stop_after else [])])
    finite.trainer = trainer
    drop_printers(trainer)
    process_group.on_main(lambda: check_space(job.run, trainer, job.progress))
    job.run.add_to_config(trl=without_secrets(trainer.args.to_dict()))
    job.diagnostics.rows = len(trainer.train_dataset)
    return trainer, stop, finite


def _evaluation_callback(job: Job[Any], trainer: Any) -> EvaluationCallback | None:
    """The evaluations of a run, after that of its start; None without any."""
    evaluations = job.plan.evaluations
    if evaluations is None:
        return None
    from rlllm.training.evaluation_callback import EvaluationCallback

    config = job.plan.config
    asked = evaluations.asked(job.plan)
    same_rows = not evaluations.apart and config.eval.during_rows is None
    callback = EvaluationCallback(
        evaluations,
        partial(job.plan.trainer.measure, replace(job, plan=asked, during=True)),
        job.run,
        job.diagnostics,
        job.progress,
        config.seed,
        job.run.path / "measured_before.json" if same_rows else None,
        trainer,
        asked.rewards,
    )
    callback.begin()
    return callback


def _fit(job: Job[Any], trainer: Any, stop: GracefulStop, checkpoint: Path | None) -> None:
    """Train. What goes wrong is noted in the job's diagnostics."""
    from rlllm.algorithms.callbacks import AlreadyFinishedError
    from rlllm.algorithms.weight_checks import checksum, finite
    from rlllm.rollouts.engines.native.token_sampling import NoDistributionError

    start = checksum(trainer.model)
    if job.diagnostics.rows < job.diagnostics.rows_needed:
        return
    if job.plan.idle_dropout:
        job.progress.note(job.plan.idle_dropout)
    job.progress.phase("training")
    try:
        with stop, dropout_of(trainer):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except AlreadyFinishedError:
        pass
    except RunLostError:
        raise
    except RlllmError as error:
        process_group.go_on_alone(error)
        job.diagnostics.failure = str(error)
    except ImportError as error:
        process_group.go_on_alone(error)
        job.diagnostics.failure = f"a setting needs a package that is not installed: {error}"
    except RuntimeError as error:
        if loss := process_group.lost_process(error):
            _end_after_loss(job, loss)
        elif finite(trainer.model) and not isinstance(error, NoDistributionError):
            raise
        else:
            process_group.go_on_alone(error)
            job.diagnostics.non_finite_steps += (
                1  # torch refuses to sample from a diverged model before the step is logged
            )
    _agree(job.diagnostics)
    job.diagnostics.weights_changed = checksum(trainer.model) != start
    job.plan.trainer.observe(job, trainer)


def _end_after_loss(job: Job[Any], loss: RlllmError) -> None:
    """Rank 0 goes on to the verdict, which says who was lost. Raises the loss in another process."""
    if not is_main():
        raise loss
    job.diagnostics.interrupted = False  # by the launcher, which ends what is left of the run
    job.diagnostics.failure = str(loss)


def _agree(diagnostics: Diagnostics) -> None:
    """All processes take rank 0's word on how training ended, since they go on together by it."""
    names = ("interrupted", "failure", "non_finite_steps")
    said = process_group.on_main(lambda: [getattr(diagnostics, name) for name in names])
    for name, value in zip(names, said, strict=True):
        setattr(diagnostics, name, value)


def built(job: Job[Any], callbacks: list[Any]) -> Any:
    """The trainer of a job.

    Raises:
        ConfigError: TRL refuses the settings, the Hub cannot be pushed to, or adapters cannot be put on this model.
    """
    from httpx2 import TransportError

    _check_rope(job)
    try:
        return job.plan.trainer.build(job, callbacks)
    except RlllmError:
        raise
    except ImportError as error:
        raise ConfigError(
            f"a setting needs a package that is not installed: {error}", given=without_secrets(job.plan.settings)
        ) from error
    except (OSError, TransportError) as error:  # of the Hub: no network, no token, no right to write there
        if not job.plan.settings.get("push_to_hub"):
            raise
        raise ConfigError(
            f"the Hub cannot be pushed to: {describe(error)}",
            given="push_to_hub=true",
            hint="hf auth login; or leave it out, and push the folder model of the run yourself",
        ) from error
    except (ValueError, NotImplementedError) as error:
        if job.plan.config.lora is None:
            raise ConfigError(
                f"TRL refuses these settings: {error}", given=without_secrets(job.plan.settings)
            ) from error
        raise ConfigError(
            f"the adapters do not fit the model: {error}",
            given=f"lora.target_modules={job.plan.config.lora.target_modules}",
            hint="name the modules to adapt in lora.target_modules; all-linear takes every linear layer but the head",
        ) from error


def _check_rope(job: Job[Any]) -> None:
    """Refuse rows without padding between them, where the model reads the length of a row from what stands in it."""
    from rlllm.policies.rope import length_threshold

    fields = trl_fields.table(job.plan.trainer.trl_config)
    names = [name for name in ("packing", "padding_free") if name in fields and job.plan.setting(name)]
    threshold = length_threshold(job.model.config)
    if names and threshold is not None:
        raise ConfigError(
            f"{names[0]} lays several rows into one, and beyond {threshold:,} tokens this model's rotary frequencies change",
            given=f"{names[0]}=true ({job.plan.source.name})",
            hint=f"leave {names[0]} out",
        )


def dropout_of(trainer: Any) -> AbstractContextManager[None]:
    """Training without dropout where the settings switch it off, in layers that are no modules of torch, too."""
    from rlllm.algorithms.dropout import without_functional_dropout

    off = getattr(trainer.args, "disable_dropout", False)
    return without_functional_dropout(trainer.accelerator.unwrap_model(trainer.model)) if off else nullcontext()


def drop_printers(trainer: Any) -> None:
    """Remove transformers' own printers: progress is shown by the run's progress callback."""
    from transformers import PrinterCallback, ProgressCallback

    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)


def _save(job: Job[Any], trained: Any) -> str | None:
    """Write the model; returns why what was written does not hold, None if it does."""
    from rlllm.policies.loading import save_model

    job.progress.phase("saving")
    lora, stored = job.plan.config.lora, job.plan.source.stored_dtype()
    try:
        model = _without_autocast(trained.accelerator.unwrap_model(trained.model))
        job.plan.trainer.keep(job, trained)
        job.model = save_model(
            model, job.tokenizer, job.run.model, merge=lora is not None and lora.merge, stored=stored
        )
    except ModelError as error:
        return str(error)
    trained_in = str(job.model.dtype).removeprefix("torch.")
    if lora is None and stored not in (None, trained_in):
        job.progress.note(
            f"model/ is {trained_in}, as it was trained, and the base is {stored}: rlllm export {job.run.path} --merge "
            f"--dtype {stored} writes it in that, model.dtype=auto trains in it"
        )
    return None


def _without_autocast(model: Any) -> Any:
    """The trained model in its own precision: `bf16` and `fp16` made accelerate put its `forward` under autocast.

    The saved model computes without it, is compared with this one, and is what is measured.
    """
    forward = vars(model).pop("_original_forward", None)
    if forward is not None:
        model.forward = forward
    return model


def compare(job: Job[Any]) -> None:
    """Write `results.json`, and the texts before and after, once both ends were measured."""
    process_group.on_main(lambda: _compare(job))


def _compare(job: Job[Any]) -> None:
    paths = [job.run.path / f"measured_{when}.json" for when in ("before", "after")]
    if not all(path.exists() for path in paths):
        return
    from rlllm.evals.before_after import before_after_rows, difference

    before, after = map(_measurements, paths)
    measures = zip(before, after, strict=True)
    rows = [row for then, now in measures for row in difference(then, now, seed=job.plan.config.seed)]
    evaluations = job.plan.evaluations
    seen = summary_of(job.run.evaluations(), evaluations) if evaluations else {}
    write_json(job.run.path / "results.json", {"measures": rows, **({"evaluations": seen} if seen else {})})
    texts = before_after_rows(before[0], after[0])
    if texts:
        (job.run.path / "before_after.jsonl").unlink(missing_ok=True)
        append_jsonl(job.run.path / "before_after.jsonl", texts)
