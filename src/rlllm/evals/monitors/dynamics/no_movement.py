"""The learning rate is so small that the weights stay where they are."""

from __future__ import annotations

from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts

_SMALLEST = 1e-6
_QUARTER = 0.25
_FEWEST = 5


class NoMovement(Monitor):
    """A quarter into the run, by the learning rates so far, no weight can move by 1e-6 until its end.

    A step of Adam moves a weight by about the learning rate at most, so that their sum bounds its way. What is still to come
    is taken as if the rate grew on linearly, as in a warm-up. Other optimizers are left out.
    """

    name = "no_movement"
    summary = "the learning rate is too small to move a weight"

    def __init__(self, facts: TrainingFacts) -> None:
        super().__init__(facts)
        self._sum = 0.0
        self._last = 0
        self._adam = str(facts.settings.get("optim", "adam")).startswith(("adam", "paged_adam"))

    def observe(self, step: LoggedStep) -> Finding | None:
        rate = step.values.get("learning_rate")
        if rate is None or not self._adam:
            return None
        self._sum += rate * (step.step - self._last)
        self._last = step.step
        early = step.step < max(_FEWEST, _QUARTER * self.facts.steps)
        reached = self._sum * (self.facts.steps / step.step) ** 2
        if early or reached >= _SMALLEST:
            return None
        return Finding(
            1,
            f"the learning rate is {rate:.2g}, and its sum over the whole run stays below {reached or _SMALLEST:.1g}: no "
            "weight moves further than that",
            "the learning rate is too small, or the warm-up is longer than the run",
            "raise learning_rate, or shorten warmup_steps",
        )
