"""The `state-change` reward: a predicted next state against the true one, over the lines that changed.

World-model feedback: the model predicts what an action will do, and is paid for what it has right (RLVR-World, Wu et al. 2025,
arXiv 2505.13934; RWML, arXiv 2602.05842, compares embeddings). Here states are lines of `key=value`, and nothing is embedded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.parsing.states import compare_change, read_state, state_text
from rlllm.rewards.verifiers.submissions import submission


@dataclass(frozen=True)
class StateChange:
    """F1 over the lines of a state that changed: 1 where all of them, and no others, are predicted with their new values.

    The row's column `state` holds the state before as lines of `key=value` (or as a mapping), its answer the state after. A
    completion states the whole state after, in one fenced block, one marked answer, or as the whole text behind `</think>`; a
    line it leaves out is predicted to go. The old state is worth 0 where something changed, and 1 where nothing did. None where
    the row lacks a state.

    Args:
        column: column of the row with the state before.
        tolerance: how far a number may be off, as a share of the true one. It also has to be nearer to it than to the old one.
        threshold: with it, the reward is 1 from this F1 on, else 0.
    """

    column: str = "state"
    tolerance: float = 0.05
    threshold: float | None = None
    verifies = True

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise ConfigError("state-change: tolerance is a share, 0 to 1", given=f"tolerance={self.tolerance:g}")
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ConfigError("state-change: threshold is above 0 and at most 1", given=f"threshold={self.threshold:g}")

    def __call__(self, sample: Sample) -> Score:
        before, after = read_state(_lines(sample.meta.get(self.column))), read_state(_lines(sample.answer))
        if not before or not after:
            missing = f"the row has no state in column {self.column}" if not before else "the answer is no state"
            return Score(None, note=missing)
        text, fault = submission(sample.completion, ("text", "state", "ini"), other_labels=True)
        predicted = read_state(text or "")
        if not predicted:
            return Score(0.0, note=fault or "no line is key=value")
        change = compare_change(before, after, predicted, self.tolerance)
        value = change.f1 if self.threshold is None else float(change.f1 >= self.threshold)
        return Score(value, note=f"{change.right} right, {change.predicted} predicted, {change.true} changed")


def _lines(value: object) -> str:
    if isinstance(value, Mapping):
        return state_text({str(key): str(number) for key, number in value.items()})
    return value if isinstance(value, str) else ""
