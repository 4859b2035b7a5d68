"""The first steps of a planned run, tried: what they cost, and what the model writes in them.

The trainer of the run itself takes them, on other rows and with other completions than the run will (another seed), in a
folder that is removed. The learning rate is 0, so that all rollouts are of the model as it is now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rlllm.core.events import ProgressCallback
from rlllm.core.runs import Run, RunOptions, write_json
from rlllm.core.verdict import Diagnostics
from rlllm.launch import memory_use
from rlllm.training import flow
from rlllm.training.plan import Plan, RLPlan
from rlllm.training.truncation import lengths

_OTHER_SEED = 1_000_003
"""Added to the seed of the run: its own completions shall not be what is predicted from."""
_PROMPTS = 128
"""Prompts that are enough."""
_LEAST_STEPS = 3
_MOST_STEPS = 64
_MEASURED_ROWS = 64
"""Held-out rows that are measured, at most."""
_PHASES = {"_generate": "generate", "_calculate_rewards": "score"}
"""Methods of TRL's GRPOTrainer -> the phase that they are."""


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step of the probe, in seconds."""

    seconds: float
    phases: Mapping[str, float]
    """Of generating and scoring; the rest is the update. Empty where nothing is sampled."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What was seen.

    Args:
        steps: all steps.
        samples: rows of `samples.jsonl`; empty where nothing is sampled.
        measured: scores of held-out rows, as a run measures them before training.
        measured_seconds: how long that took.
        measured_rows: how many rows it were.
        loading_seconds: until the first step could begin.
        held: name -> bytes of what stays in memory: weights, gradients, optimizer and other models.
        beside: bytes above those of an empty process when the first step begins, without what is held: data, and libraries
            that the trainer imports.
        used: bytes above those of an empty process at the highest point.
        empty: bytes of the process before the model was loaded: Python and its libraries.
        free: bytes that were free on the device before the model was loaded; None if not known.
        row_tokens: tokens of each training row as the trainer reads it; empty where the trainer does not say.
        device: `cpu`, `cuda` or `mps`.
    """

    steps: Sequence[Step]
    samples: Sequence[Mapping[str, Any]]
    measured: Sequence[Any]
    measured_seconds: float
    measured_rows: int
    loading_seconds: float
    held: Mapping[str, int]
    beside: int
    used: int
    empty: int
    free: int | None
    row_tokens: Sequence[int]
    device: str

    @property
    def passing(self) -> int:
        """Bytes that come and go: activations, logits, keys and values, and what the allocator keeps of them."""
        return max(self.used - self.beside - sum(self.held.values()), 0)


def probe(plan: Plan[Any], progress: ProgressCallback, seconds: float) -> Probe:
    """Try the first steps of a run.

    Args:
        plan: of a run of one process.
        progress: told the phases.
        seconds: how long the steps may take, about; at least three are taken.

    Raises:
        RlllmError: what the run itself would raise before or in its first steps.
    """
    with TemporaryDirectory(prefix="rlllm-plan-") as folder:
        return _probe(_as_probe(plan, Path(folder)), Run(Path(folder)), progress, seconds)


def _as_probe(plan: Plan[Any], folder: Path) -> Plan[Any]:
    """The plan with a learning rate of 0, another seed, and nothing that is written or measured on the way."""
    config = plan.config.model_copy(update={"seed": plan.config.seed + _OTHER_SEED, "output_dir": folder})
    if hasattr(config, "max_tokens"):
        config = config.model_copy(update={"max_tokens": None})
    settings = {
        **plan.settings,
        "learning_rate": 0.0,
        "max_steps": _MOST_STEPS * plan.steps_per_rollout,
        "save_strategy": "no",
        "report_to": [],
        "push_to_hub": False,
    }
    settings.pop("warmup_steps", None)
    return replace(plan, config=config, settings=settings)


def _probe(plan: Plan[Any], run: Run, progress: ProgressCallback, seconds: float) -> Probe:
    from rlllm.algorithms import _trl  # noqa: F401  its import is no part of what the run takes
    from rlllm.launch import local

    device = local.prepare().device
    write_json(run.path / "config.json", {"stage": plan.config.stage, "settings": plan.config.model_dump(mode="json")})
    free, empty, started = memory_use.free(device), memory_use.begin(device), time.perf_counter()
    job = flow.prepare(plan, run, Diagnostics(), RunOptions(progress))
    clock = _clock(_enough(plan, run, seconds))
    trainer = flow.built(job, [clock])
    flow.drop_printers(trainer)
    progress.phase("measuring held-out rows")
    loading = time.perf_counter() - started
    rows, measured, measuring = _measure(job)
    progress.phase("trying the first steps")
    begun = memory_use.now(device) - empty
    with clock.phases_of(trainer), flow.dropout_of(trainer):
        trainer.train()
    used, held = memory_use.most_since(device) - empty, _held(plan, trainer)
    models = sum(size for name, size in held.items() if name in ("weights", "reference", "critic"))
    known = not isinstance(plan, RLPlan)
    return Probe(
        steps=clock.steps,
        samples=list(run.samples()),
        measured=measured,
        measured_seconds=measuring,
        measured_rows=rows,
        loading_seconds=loading,
        held=held,
        beside=max(begun - models, 0),
        used=used,
        empty=empty,
        free=free,
        row_tokens=lengths(trainer.train_dataset) if known else [],
        device=device,
    )


def _measure(job: Any) -> tuple[int, Sequence[Any], float]:
    """Measure some held-out rows as the run will: how many, their scores, and the seconds."""
    plan, start = job.plan, time.perf_counter()
    rows = plan.measured_on[:_MEASURED_ROWS]
    part = replace(plan, loaded=replace(plan.loaded, holdout=rows))
    measured = plan.trainer.measure(replace(job, plan=part), job.model) if rows else []
    return len(rows), measured, time.perf_counter() - start


def _enough(plan: Plan[Any], run: Run, seconds: float) -> Callable[[int, float], bool]:
    """Whether the probe may end after so many steps and seconds: at the end of a rollout, with enough prompts or no time."""
    per_rollout = plan.steps_per_rollout
    prompts = plan.batches.prompts_per_rollout if isinstance(plan, RLPlan) else 0

    def enough(steps: int, spent: float) -> bool:
        if steps < _LEAST_STEPS or steps % per_rollout:
            return False
        seen = prompts * (steps // per_rollout)
        wanted = min(_PROMPTS, len(plan.loaded.train)) if prompts else prompts
        return spent >= seconds or (seen >= wanted if prompts else spent >= seconds / 4)

    return enough


def _clock(enough: Callable[[int, float], bool]) -> Any:
    """A callback that takes the time of each step and ends the probe."""
    from transformers import TrainerCallback

    @dataclass
    class Clock(TrainerCallback):
        steps: list[Step] = field(default_factory=list)
        _phases: dict[str, float] = field(default_factory=dict)
        _start: float = 0.0
        _last: float = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self._start = self._last = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            now = time.perf_counter()
            self.steps.append(Step(now - self._last, self._phases))
            self._last, self._phases = now, {}
            if enough(len(self.steps), now - self._start):
                control.should_training_stop = True

        @contextmanager
        def phases_of(self, trainer: Any) -> Iterator[None]:
            """Take the time of sampling and of scoring as well."""
            for name, phase in _PHASES.items():
                if hasattr(trainer, name):
                    setattr(trainer, name, self._timed(phase, getattr(trainer, name)))
            yield

        def _timed(self, phase: str, call: Callable[..., Any]) -> Callable[..., Any]:
            def timed(*args: Any, **kwargs: Any) -> Any:
                start = time.perf_counter()
                result = call(*args, **kwargs)
                self._phases[phase] = self._phases.get(phase, 0.0) + time.perf_counter() - start
                return result

            return timed

    return Clock()


def _held(plan: Plan[Any], trainer: Any) -> dict[str, int]:
    """Bytes of what stays in memory through a run, by what it is; tensors that two share count for the first."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    critic, reference = getattr(trainer, "critic", None), getattr(trainer, "ref_model", None)
    own = [*critic.trunk.parameters(), *critic.head.parameters()] if critic else []
    found = {
        "weights": memory_use.tensor_bytes([*model.parameters(), *model.buffers()]),
        "gradients": memory_use.tensor_bytes(trained),
        "optimizer": _states(trainer.optimizer),
        "reference": memory_use.tensor_bytes(reference.parameters()) if reference is not None else 0,
        "critic": memory_use.tensor_bytes(own),
        "critic's gradients and optimizer": (
            memory_use.tensor_bytes([p for p in own if p.requires_grad]) + _states(critic.optimizer) if critic else 0
        ),
    }
    return {name: size for name, size in found.items() if size}


def _states(optimizer: Any) -> int:
    """Bytes of an optimizer's states."""
    import torch

    states = getattr(optimizer, "state", {})
    tensors = [value for state in states.values() for value in state.values() if torch.is_tensor(value)]
    return memory_use.tensor_bytes(tensors)
