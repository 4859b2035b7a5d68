"""What a run looks like while it runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from rlllm.core.events import NullProgress, ProgressCallback
from rlllm_cli.progress import LineProgress, LiveProgress, Pace, clock, listening, numbers

RUN = Path("runs/reason-1")


def play(listener: ProgressCallback) -> None:
    """A short run, told in the order stages tell it: phases may come before the steps are counted."""
    listener.phase("loading")
    listener.started("reason", 3, RUN)
    listener.phase("training")
    listener.step(1, {"reward": 0.25, "kl": 0.0, "loss": 0.12345678, "tokens_per_second": 12345.6, "epoch": 0.1})
    listener.step(2, {"reward": 0.5, "loss": 1e-7})
    listener.note("saved")
    listener.step(3, {"loss": float("nan")})
    listener.finished(RUN)


def test_a_pipe_gets_one_line_a_step_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with listening() as listener:
        play(listener)
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "\x1b" not in streams.err
    assert "\r" not in streams.err
    assert streams.err.splitlines() == [
        "loading",
        "reason: 3 steps in runs/reason-1",
        "reason: training",
        "reason: step 1/3  eta -:--  reward 0.25  kl 0  loss 0.1235  tokens/s 12,346",
        "reason: step 2/3  eta 0:00  reward 0.5  loss 1e-07",
        "saved",
        "reason: step 3/3  eta 0:00  loss nan",
        "reason: finished runs/reason-1",
    ]


def test_a_ctrl_c_that_could_not_wait_is_said_and_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), listening():
        raise KeyboardInterrupt
    assert capsys.readouterr().err.startswith("interrupted at once; ")


def test_a_listener_serves_several_runs_in_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    listener = LineProgress()
    play(listener)
    play(listener)
    lines = capsys.readouterr().err.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


def test_a_terminal_gets_a_bar_with_the_same_numbers() -> None:
    screen = io.StringIO()
    progress = LiveProgress(Console(file=screen, force_terminal=True, width=120, height=20))
    with progress.display:
        for _ in range(2):
            progress.phase("loading")
            progress.started("reason", 3, RUN)
            progress.phase("training")
            progress.step(3, {"reward": 0.25, "tokens_per_second": 12345.6})
            progress.display.refresh()
            progress.note("[saved]")
            progress.finished(RUN)
    shown = screen.getvalue()
    for text in ("training", "reward 0.25", "3/3", "eta -:--", "[saved]", "tokens/s 12,346", "finished runs/reason-1"):
        assert shown.count(text) >= 2, text


@pytest.mark.parametrize("listener", [NullProgress(), LineProgress()])
def test_every_listener_hears_the_whole_protocol(listener: ProgressCallback) -> None:
    play(listener)


def test_the_first_step_only_starts_the_clock() -> None:
    pace = Pace(10)
    assert pace.eta(1, 100.0) is None
    assert pace.eta(3, 104.0) == pytest.approx(14.0)
    assert pace.eta(10, 118.0) == 0.0


def test_a_resumed_run_counts_its_own_steps_only() -> None:
    pace = Pace(100)
    assert pace.eta(91, 0.0) is None
    assert pace.eta(92, 2.0) == pytest.approx(16.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-:--"), (0, "0:00"), (7.4, "0:07"), (65, "1:05"), (3600, "1:00:00"), (7325, "2:02:05")],
)
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({}, []),
        ({"epoch": 1.0}, []),
        ({"loss": 0.5, "mean_token_accuracy": 0.75}, ["accuracy 0.75", "loss 0.5"]),
        ({"rewards/accuracies": 0.5, "loss": 0.7}, ["accuracy 0.5", "loss 0.7"]),
        ({"accuracy": 1.0, "mean_token_accuracy": 0.2}, ["accuracy 1"]),
    ],
)
def test_the_numbers_of_each_kind_of_trainer_are_found(values: dict[str, float], shown: list[str]) -> None:
    assert numbers(values) == shown
