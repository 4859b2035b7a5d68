"""What a run records while it trains: metrics, diagnostics, and when it stops."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState

from rlllm.algorithms.callbacks import AlreadyFinishedError, GracefulStop, Recorder, TokenBudget
from rlllm.core.events import NullProgress
from rlllm.core.runs import Run, append_jsonl, write_json
from rlllm.core.verdict import Diagnostics


class Ears(NullProgress):
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.notes: list[str] = []

    def step(self, step: int, values: Mapping[str, float]) -> None:
        self.steps.append(step)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write_json(tmp_path / "config.json", {"stage": "reason", "settings": {}})
    return Run(tmp_path)


def train(recorder: Recorder, logs: list[dict[str, Any]], start: int = 0, steps: int = 100) -> int:
    """Feed logs to a recorder the way a trainer does; returns the number of steps until it wants to stop."""
    state, control = TrainerState(global_step=start, max_steps=steps), TrainerControl()
    recorder.on_train_begin(None, state, control)
    for number, log in enumerate(logs, 1):
        state.global_step = start + number
        recorder.on_step_end(None, state, control)
        recorder.on_log(None, state, control, logs=log)
        if control.should_training_stop:
            return number
    return len(logs)


FLAT = {"loss": 0.0, "grad_norm": 0.0, "frac_reward_zero_std": 1.0}
MIXED = {"loss": 0.1, "grad_norm": 0.5, "frac_reward_zero_std": 0.5}


def test_logs_become_metrics_facts_and_words(run: Run) -> None:
    diagnostics, ears = Diagnostics(), Ears()
    train(Recorder(run, diagnostics, ears), [{"loss": 1.0, "grad_norm": 0.5}, {"loss": 0.5, "grad_norm": 0.7}])
    assert [(row["step"], row["loss"]) for row in run.metrics()] == [(1, 1.0), (2, 0.5)]
    assert (diagnostics.steps_requested, diagnostics.steps_done, diagnostics.largest_gradient) == (100, 2, 0.7)
    assert ears.steps == [1, 2]


def test_the_summary_at_the_end_is_no_step(run: Run) -> None:
    train(Recorder(run, Diagnostics(), Ears()), [{"loss": 1.0}, {"train_runtime": 3.0, "train_loss": 1.0}])
    assert len(run.metrics()) == 1


NOT_FINITE = [{"loss": math.nan}, {"loss": math.inf}, {"loss": 1.0, "grad_norm": math.nan}]


@pytest.mark.parametrize("log", NOT_FINITE, ids=str)
def test_numbers_that_are_not_finite_are_counted_and_are_no_gradient(run: Run, log: dict[str, float]) -> None:
    diagnostics = Diagnostics()
    train(Recorder(run, diagnostics, Ears()), [{"loss": 1.0, "grad_norm": 0.5}, log])
    assert (diagnostics.non_finite_steps, diagnostics.largest_gradient) == (1, 0.5)


def test_a_gradient_of_zero_is_a_gradient_that_was_seen(run: Run) -> None:
    diagnostics = Diagnostics()
    train(Recorder(run, diagnostics, Ears()), [FLAT])
    assert diagnostics.largest_gradient == 0.0


STOPS = [
    (3, [FLAT] * 9, 3),
    (3, [FLAT, FLAT, MIXED, *[FLAT] * 9], 6),
    (3, [FLAT, FLAT, MIXED] * 3, 9),
    (0, [FLAT] * 9, 9),
    (3, [MIXED, *[FLAT] * 9], 4),
    (1, [{"loss": 1.0}] * 4, 4),
]


@pytest.mark.parametrize(("limit", "logs", "stops_after"), STOPS)
def test_steps_in_a_row_without_a_difference_in_reward_stop_a_run(
    run: Run, limit: int, logs: list[dict[str, float]], stops_after: int
) -> None:
    diagnostics = Diagnostics()
    assert train(Recorder(run, diagnostics, Ears(), limit), logs) == stops_after
    assert diagnostics.stopped_flat == (limit if stops_after < len(logs) else 0)


CUT = {**FLAT, "completions/clipped_ratio": 1.0}
CUT_RUNS = [
    ("cut and equal from the start", 20, [CUT] * 9, 5, "nothing to learn"),
    ("nobody wants a stop", 0, [CUT] * 9, 9, "nothing to learn"),
    ("a lower limit holds", 3, [CUT] * 9, 3, "nothing to learn"),
    (
        "cut, with rewards that differ at first",
        20,
        [{**MIXED, "completions/clipped_ratio": 1.0}, *[CUT] * 9],
        10,
        "scored",
    ),
    ("a completion that ended", 20, [{**CUT, "completions/clipped_ratio": 0.9}, *[CUT] * 9], 10, ""),
    ("environments log no lengths", 20, [FLAT] * 9, 9, ""),
]


@pytest.mark.parametrize(
    ("limit", "logs", "stops_after", "warning"), [row[1:] for row in CUT_RUNS], ids=[row[0] for row in CUT_RUNS]
)
def test_completions_that_are_all_cut_are_said_at_once_and_stop_a_run_that_cannot_learn(
    run: Run, limit: int, logs: list[dict[str, float]], stops_after: int, warning: str
) -> None:
    ears = Ears()
    assert train(Recorder(run, Diagnostics(), ears, limit), logs) == stops_after
    warnings = [note for note in ears.notes if note.startswith("warning: every completion of the first rollout")]
    assert len(warnings) == bool(warning)
    assert warning in "".join(warnings)


def test_the_last_step_needs_no_stop(run: Run) -> None:
    diagnostics = Diagnostics()
    assert train(Recorder(run, diagnostics, Ears(), 3), [FLAT] * 3, steps=3) == 3
    assert diagnostics.stopped_flat == 0


def test_flat_steps_are_counted_between_logs_too(run: Run) -> None:
    recorder, state, control = Recorder(run, Diagnostics(), Ears(), 20), TrainerState(max_steps=100), TrainerControl()
    for step, log in ((10, MIXED), (20, FLAT), (30, FLAT)):
        state.global_step = step
        recorder.on_log(None, state, control, logs=log)
        assert control.should_training_stop is (step == 30)


def test_what_logs_say_of_rewards_and_lengths_is_summed_up(run: Run) -> None:
    rewards = [{**MIXED, "reward": 0.4, "completions/clipped_ratio": 1.0}, {**FLAT, "reward": math.nan}]
    diagnostics = Diagnostics()
    last = {**FLAT, "reward": 0.0, "completions/clipped_ratio": 0.25}
    train(Recorder(run, diagnostics, Ears()), [*rewards, last, {"loss": 1.0}])
    assert (diagnostics.steps_compared, diagnostics.steps_flat) == (3, 2)
    assert (diagnostics.mean_rewards, diagnostics.least_cut) == ((0.4, 0.0), 0.25)


def test_a_resumed_recorder_knows_the_steps_before(run: Run) -> None:
    append_jsonl(run.path / "metrics.jsonl", [{"step": 1, **FLAT}, {"step": 2, **FLAT}])
    diagnostics = Diagnostics()
    assert train(Recorder(run, diagnostics, Ears(), 3), [FLAT] * 9, start=2) == 1
    assert diagnostics.largest_gradient == 0.0


def test_a_run_that_was_stopped_trains_no_further_when_it_is_resumed(run: Run) -> None:
    append_jsonl(run.path / "metrics.jsonl", [{"step": 1, **MIXED}, *({"step": step, **FLAT} for step in (2, 3, 4))])
    diagnostics = Diagnostics()
    with pytest.raises(AlreadyFinishedError):
        train(Recorder(run, diagnostics, Ears(), 3), [], start=4)
    assert (diagnostics.steps_done, diagnostics.stopped_flat) == (4, 3)


def test_a_resumed_recorder_knows_when_rewards_last_differed(run: Run) -> None:
    append_jsonl(run.path / "metrics.jsonl", [{"step": 1, **MIXED}])
    diagnostics = Diagnostics()
    assert train(Recorder(run, diagnostics, Ears(), 3), [FLAT] * 9, start=1) == 3
    assert diagnostics.largest_gradient == 0.5


def test_speed_is_tokens_since_the_last_log(run: Run) -> None:
    train(
        Recorder(run, Diagnostics(), Ears()), [{"loss": 1.0, "num_tokens": 100.0}, {"loss": 1.0, "num_tokens": 100.0}]
    )
    assert run.metrics()[0]["tokens_per_second"] > 0
    assert run.metrics()[1]["tokens_per_second"] == 0


def test_a_resume_after_the_last_step_trains_nothing(run: Run) -> None:
    diagnostics = Diagnostics()
    with pytest.raises(AlreadyFinishedError):
        train(Recorder(run, diagnostics, Ears()), [], start=8, steps=8)
    assert (diagnostics.steps_done, diagnostics.steps_requested) == (8, 8)


# steps a rollout lasts, step at which Ctrl-C is pressed -> step at which a checkpoint is saved
BOUNDARIES = [(1, 3, 3), (4, 1, 4), (4, 4, 4), (4, 5, 8), (3, 10, None)]


@pytest.mark.parametrize(("boundary", "pressed", "saved"), BOUNDARIES)
def test_ctrl_c_saves_where_a_resume_is_exact(boundary: int, pressed: int, saved: int | None) -> None:
    diagnostics, ears = Diagnostics(), Ears()
    stop, control = GracefulStop(diagnostics, ears, boundary), TrainerControl()
    for step in range(1, 11):
        if step == pressed:
            stop._on_signal(2, None)
        stop.on_step_end(None, TrainerState(global_step=step, max_steps=10), control)
        if control.should_training_stop:
            break
    assert (step if control.should_save else None) == saved
    assert diagnostics.interrupted is (saved is not None)
    assert len(ears.notes) == 1


def test_a_second_ctrl_c_is_an_interrupt() -> None:
    with GracefulStop(Diagnostics(), Ears()) as stop:
        stop._on_signal(2, None)
        with pytest.raises(KeyboardInterrupt):
            stop._on_signal(2, None)


def test_a_step_that_outlasts_the_grace_period_is_ended_in_its_sleep_with_the_reason() -> None:
    ears = Ears()
    with GracefulStop(Diagnostics(), ears, grace_period=0.2):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt, match=r"^the step did not end within grace_period=0.2 s$"):
            time.sleep(30)
    assert ears.notes == [
        "SIGTERM: saving a checkpoint after this step, if it ends within 0.2 s (again to stop at once)"
    ]


def test_after_training_the_grace_period_ends_nothing() -> None:
    with GracefulStop(Diagnostics(), Ears(), grace_period=0.1):
        signal.raise_signal(signal.SIGTERM)
    time.sleep(0.3)


def test_a_stop_that_a_reward_swallowed_ends_the_run_after_the_step() -> None:
    with GracefulStop(Diagnostics(), Ears()) as stop:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            stop.on_step_end(None, TrainerState(global_step=1, max_steps=10), TrainerControl())


def test_under_a_launcher_a_signal_that_comes_twice_at_once_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with GracefulStop(Diagnostics(), Ears()) as stop:
        for number in (2, 15, 2):
            stop._on_signal(number, None)
        time.sleep(1.05)
        with pytest.raises(KeyboardInterrupt):
            stop._on_signal(2, None)


# step, tokens seen, steps a rollout lasts -> whether a run that begins there has spent its budget of 100
BUDGETS = [(0, 0, 1, False), (3, 99, 1, False), (3, 100, 1, True), (3, 100, 2, False), (4, 130, 2, True)]


@pytest.mark.parametrize(("step", "seen", "boundary", "spent"), BUDGETS)
def test_a_resume_after_the_budget_was_spent_trains_nothing(step: int, seen: int, boundary: int, spent: bool) -> None:
    diagnostics = Diagnostics(steps_requested=9)
    state = TrainerState(global_step=step, max_steps=9, num_input_tokens_seen=seen)
    with pytest.raises(AlreadyFinishedError) if spent else nullcontext():
        TokenBudget(diagnostics, 100, boundary).on_train_begin(None, state, TrainerControl())
    assert diagnostics.steps_requested == (step if spent else 9)
