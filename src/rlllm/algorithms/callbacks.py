"""Callbacks of every training run: metrics and diagnostics, a clean stop on signals, and a budget of tokens."""

from __future__ import annotations

import math
import os
import signal
import time
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback

from rlllm.core.events import ProgressCallback
from rlllm.core.processes import launched
from rlllm.core.runs import Run
from rlllm.core.stop_signals import Deadline, caught, put_back, raise_swallowed_stop, stop_at_once
from rlllm.core.verdict import Diagnostics
from rlllm.core.watchdog import sign

_SAME_SIGNAL_SECONDS = 1.0
"""Signals in so short a time are one under a launcher: Slurm sends its own to all processes, and each launcher hands it on."""
_CUT_LIMIT = 5
"""Steps in a row after which a run ends whose completions were all cut at the length limit and never differed in reward."""


class AlreadyFinishedError(Exception):
    """The checkpoint to resume from is that of the last step. transformers' Trainer would train one step more."""


class Recorder(TrainerCallback):
    """Writes `metrics.jsonl`, fills the run's diagnostics and reports progress.

    Args:
        run: its directory holds `metrics.jsonl`.
        diagnostics: updated at every log and every step.
        progress: called at the start and at every log.
        flat_limit: stop after this many steps in a row without any difference in reward; 0 never stops. A run whose
            completions were all cut at the length limit from the start stops after `_CUT_LIMIT` such steps.
    """

    def __init__(self, run: Run, diagnostics: Diagnostics, progress: ProgressCallback, flat_limit: int = 0) -> None:
        self.run = run
        self.diagnostics = diagnostics
        self.progress = progress
        self.flat_limit = flat_limit
        self._started = time.monotonic()
        self._last = (self._started, 0.0)
        self._last_signal = 0
        """The last logged step in which rewards of a group differed."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.diagnostics.steps_requested = state.max_steps
        self.diagnostics.steps_done = state.global_step
        self.progress.started(self.run.config["stage"], state.max_steps, self.run.path)
        self._last = (time.monotonic(), float(state.num_input_tokens_seen or 0))
        flat = 0
        for row in self.run.metrics():  # rows of the run before it was resumed: the verdict covers all of it
            self._update_diagnostics(row)
            flat = self._update_signal(row["step"], row)
        if state.global_step >= state.max_steps or self._stops_after(flat, state):
            raise AlreadyFinishedError

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.diagnostics.steps_done = state.global_step
        sign(step=state.global_step)

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        sign()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        sign()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        values = {key: float(value) for key, value in (logs or {}).items() if isinstance(value, int | float)}
        if "loss" not in values:  # the summary TRL logs once at the end
            return
        self._update_diagnostics(values)
        self._add_speed(values)
        first_rollout = self.diagnostics.least_cut is None
        flat = self._update_signal(state.global_step, values)
        if first_rollout and self.diagnostics.least_cut == 1:
            self.progress.note(f"warning: {_cut_text(equal_rewards=values.get('frac_reward_zero_std') == 1)}")
        if self._stops_after(flat, state):
            control.should_training_stop = True
            self.progress.note(f"stopping: {flat} steps without any difference in reward")
        row = {"step": state.global_step, "time": round(time.monotonic() - self._started, 3), **values}
        self.run.append("metrics.jsonl", [row])
        self.progress.step(state.global_step, values)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        """Write the numbers of an evaluation; the time that it took is no time of training."""
        values = metrics or {}
        then, tokens = self._last
        self._last = (then + values.get("eval_runtime", 0.0), tokens)
        row = {"step": state.global_step, "time": round(time.monotonic() - self._started, 3), **values}
        self.run.append("metrics.jsonl", [row])

    def _update_diagnostics(self, values: dict[str, float]) -> None:
        self._update_mismatch(values)
        gradient = values.get("grad_norm")
        if not math.isfinite(values["loss"]) or (gradient is not None and not math.isfinite(gradient)):
            self.diagnostics.non_finite_steps += 1
        elif gradient is not None:
            self.diagnostics.largest_gradient = max(self.diagnostics.largest_gradient or 0.0, gradient)

    def _update_mismatch(self, values: dict[str, float]) -> None:
        """Keep the means over all logged steps of what `algorithms.mismatch` measures."""
        facts, outside = self.diagnostics, values.get("rollout_corr/ratio_fraction_outside")
        if outside is None:
            return
        facts.mismatch_steps += 1
        means = (facts.mismatch_outside or 0.0, facts.mismatch_kl or 0.0)
        fresh = (outside, values["rollout_corr/k3_kl"])
        facts.mismatch_outside, facts.mismatch_kl = (
            mean + (new - mean) / facts.mismatch_steps for mean, new in zip(means, fresh, strict=True)
        )

    def _add_speed(self, values: dict[str, float]) -> None:
        now, tokens = time.monotonic(), values.get("num_tokens")
        if tokens is not None:
            time_before, tokens_before = self._last
            values["tokens_per_second"] = round((tokens - tokens_before) / max(now - time_before, 1e-9), 1)
            self._last = (now, tokens)

    def _stops_after(self, flat: int, state: Any) -> bool:
        """Whether the run ends here after `flat` steps without a difference in reward; the diagnostics are told so."""
        never_ended = self.diagnostics.least_cut == 1 and self.diagnostics.steps_flat == self.diagnostics.steps_compared
        limit = min(self.flat_limit, _CUT_LIMIT) if never_ended else self.flat_limit
        stops = 0 < limit <= flat and state.global_step < state.max_steps
        self.diagnostics.stopped_flat = flat if stops else 0
        return stops

    def _update_signal(self, step: int, values: dict[str, float]) -> int:
        """Note what a log says of rewards and completions; returns the steps since rewards of a group last differed."""
        facts, share = self.diagnostics, values.get("frac_reward_zero_std")
        if share is None or share < 1.0:
            self._last_signal = step
        if share is not None:
            facts.steps_compared += 1
            facts.steps_flat += share >= 1.0
        if (reward := values.get("reward")) is not None and math.isfinite(reward):
            facts.mean_rewards = (facts.mean_rewards[0] if facts.mean_rewards else reward, reward)
        if (cut := values.get("completions/clipped_ratio")) is not None:
            facts.least_cut = min(cut, 1.0 if facts.least_cut is None else facts.least_cut)
        return step - self._last_signal


def _cut_text(*, equal_rewards: bool) -> str:
    """What is wrong with a rollout in which every completion reached the length limit."""
    if equal_rewards:
        rest = "and in no group the rewards differ, so that there is nothing to learn"
    else:
        rest = "and is scored as it was cut"
    return (
        f"every completion of the first rollout ends at the length limit, {rest}: raise rollout.max_new_tokens, or see whether "
        "the model ends its turns (rlllm data show DATA --tokens --model MODEL)"
    )


class GracefulStop(TrainerCallback):
    """Ctrl-C, or a signal like it, saves a checkpoint and stops; a second one stops at once. One process of several stops all.

    Args:
        diagnostics: its `interrupted` is set.
        progress: gets a note at the first signal.
        boundary: optimizer steps between which a checkpoint cannot be resumed exactly (one rollout's worth).
        grace_period: seconds from the first signal after which the run stops at once by itself; 0 waits for the step.
    """

    def __init__(
        self, diagnostics: Diagnostics, progress: ProgressCallback, boundary: int = 1, grace_period: float = 0
    ) -> None:
        self.diagnostics = diagnostics
        self.progress = progress
        self.boundary = boundary
        self.grace_period = grace_period
        self._deadline: Deadline | None = None
        self._over = False
        """Whether the deadline does not matter any more."""
        self._previous: dict[signal.Signals, Any] = {}
        self._process = os.getpid()
        self._signalled = float("-inf")

    def __enter__(self) -> GracefulStop:
        self._previous = caught(self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._call_off()
        put_back(self._previous)

    def _call_off(self) -> None:
        self._over = True
        if self._deadline:
            self._deadline.call_off()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a worker that was forked: the signal is to end it
            os._exit(128 + number)
        late = self._deadline is not None and self._deadline.passed
        if late and self._over:
            return
        again = time.monotonic() - self._signalled < _SAME_SIGNAL_SECONDS
        self._signalled = time.monotonic()
        if self.diagnostics.interrupted:
            if again and launched() and not late:
                return
            stop_at_once(*[f"the step did not end within grace_period={self.grace_period:g} s"] * late)
        self.diagnostics.interrupted = True
        name, within = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name, ""
        if self.grace_period:
            self._deadline = Deadline(self.grace_period, number)
            within = f", if it ends within {self.grace_period:g} s"
        self.progress.note(f"{name}: saving a checkpoint after this step{within} (again to stop at once)")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        raise_swallowed_stop()
        self.diagnostics.interrupted = _in_any_process(self.diagnostics.interrupted, args)
        if not self.diagnostics.interrupted:
            return
        if state.global_step >= state.max_steps:
            self.diagnostics.interrupted = False
            self._call_off()
        elif state.global_step % self.boundary == 0:
            control.should_save = True
            control.should_training_stop = True


def _in_any_process(said: bool, args: Any) -> bool:
    """Whether one process says so: a signal reaches each at another moment, and they have to stop after the same step."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return said
    together = torch.tensor(float(said), device=args.device)
    torch.distributed.all_reduce(together, torch.distributed.ReduceOp.MAX)
    return bool(together)


class StopAfter(TrainerCallback):
    """Ends a run after its first steps.

    Args:
        steps: optimizer steps, at least 1.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= self.steps:
            control.should_training_stop = True


class TokenBudget(TrainerCallback):
    """Ends a run at the step that brings the tokens of prompts and completions to a budget. The verdict counts it as complete.

    Args:
        diagnostics: `steps_requested` is set to the steps that the budget allowed.
        tokens: the budget; the count is TRL's `num_tokens`, which checkpoints keep.
        boundary: as in `GracefulStop`.
    """

    def __init__(self, diagnostics: Diagnostics, tokens: int, boundary: int = 1) -> None:
        self.diagnostics = diagnostics
        self.tokens = tokens
        self.boundary = boundary

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._spent(state):
            raise AlreadyFinishedError

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._spent(state):
            control.should_training_stop = True

    def _spent(self, state: Any) -> bool:
        spent = state.num_input_tokens_seen >= self.tokens and state.global_step % self.boundary == 0
        if spent:
            self.diagnostics.steps_requested = state.global_step
        return spent
