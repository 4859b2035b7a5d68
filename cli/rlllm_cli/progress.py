"""What a run looks like while it runs: a live line on a terminal, one line a step everywhere else. All of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlllm_cli.console import said, say

if TYPE_CHECKING:
    from rlllm.core.events import ProgressCallback

SHOWN = (
    ("reward", ("reward",)),
    ("kl", ("kl",)),
    ("accuracy", ("accuracy", "rewards/accuracies", "step_accuracy", "mean_token_accuracy")),
    ("loss", ("loss",)),
    ("tokens/s", ("tokens_per_second",)),
)
"""Label, and the metrics it is read from: the first that was logged."""


class Pace:
    """Time to go, from the steps seen so far; the first one only starts the clock, since it pays for warming up."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._first: tuple[int, float] | None = None

    def eta(self, step: int, now: float) -> float | None:
        """Seconds until the last step, None before two steps are done."""
        if self._first is None:
            self._first = (step, now)
        first_step, first_time = self._first
        if step <= first_step:
            return None
        return (now - first_time) / (step - first_step) * max(self.total - step, 0)


class LineProgress:
    """One line a step."""

    def __init__(self) -> None:
        self._head = ""
        self._pace = Pace(0)

    def started(self, stage: str, total_steps: int, run: Path) -> None:
        self._head = f"{stage}: "
        self._pace = Pace(total_steps)
        say(f"{self._head}{total_steps} steps in {run}")

    def phase(self, name: str) -> None:
        say(f"{self._head}{name}")

    def step(self, step: int, values: Mapping[str, float]) -> None:
        eta = clock(self._pace.eta(step, time.monotonic()))
        say("  ".join([f"{self._head}step {step}/{self._pace.total}", f"eta {eta}", *numbers(values)]))

    def note(self, text: str) -> None:
        say(text)

    def finished(self, run: Path) -> None:
        say(f"{self._head}finished {run}")
        self._head = ""


class LiveProgress:
    """A bar that is redrawn in place; notes scroll away above it."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.fields[stage]}", style="bold", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("eta {task.fields[eta]}  {task.fields[numbers]}", markup=False),
        )
        self.display = Progress(*columns, console=console, transient=True)
        self._task = self._add()
        self._pace = Pace(0)

    def started(self, stage: str, total_steps: int, run: Path) -> None:
        self._pace = Pace(total_steps)
        self.note(f"{stage}: {total_steps} steps in {run}")
        self.display.update(self._task, total=total_steps, stage=stage, visible=True)

    def phase(self, name: str) -> None:
        self.display.update(self._task, description=said(name), visible=True)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        eta = clock(self._pace.eta(step, time.monotonic()))
        self.display.update(self._task, completed=step, eta=eta, numbers="  ".join(numbers(values)))

    def note(self, text: str) -> None:
        self.display.console.print(said(text), markup=False, highlight=False, emoji=False)

    def finished(self, run: Path) -> None:
        self.note(f"finished {run}")
        self.display.remove_task(self._task)
        self._task = self._add()

    def _add(self) -> Any:
        return self.display.add_task("", total=None, visible=False, stage="", eta=clock(None), numbers="")


@contextmanager
def listening() -> Iterator[ProgressCallback]:
    """The listener that suits stderr. A Ctrl-C the stage could not turn into a saved run is said here, and passed on."""
    from rlllm.core.stop_signals import like_ctrl_c

    try:
        with like_ctrl_c(), _display() as progress:
            yield progress
    except KeyboardInterrupt as error:
        say(f"{str(error) or 'interrupted at once'}; a checkpoint that was saved before is continued with --resume")
        raise


@contextmanager
def _display() -> Iterator[ProgressCallback]:
    if not sys.stderr.isatty():  # as in a process that is not the first of its run
        yield LineProgress()
        return
    from rich.console import Console

    progress = LiveProgress(Console(stderr=True))
    with progress.display:
        yield progress


def numbers(values: Mapping[str, float]) -> list[str]:
    """The logged numbers a person watches, each with its label."""
    found = ((label, next((values[name] for name in names if name in values), None)) for label, names in SHOWN)
    return [f"{label} {_short(value)}" for label, value in found if value is not None]


def clock(seconds: float | None) -> str:
    """`m:ss` or `h:mm:ss`; `-:--` where it is not known."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
