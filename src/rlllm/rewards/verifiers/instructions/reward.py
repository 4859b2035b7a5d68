"""The `instructions` reward: read the instructions of a row, check each, and count those that are followed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rlllm.core.errors import ConfigError, unknown
from rlllm.core.records import Sample, Score
from rlllm.rewards.verifiers.instructions.rows import UnreadableRowError, read_checks
from rlllm.rewards.verifiers.instructions.table import CHECKS, PUBLISHED, Check
from rlllm.rewards.verifiers.submissions import final_part

_MODES = ("strict", "loose")
_AGGREGATES = ("all", "share")
_COMPATIBLE = ("ifeval",)
_WORDS = {True: "followed", False: "not followed", None: "undecided"}


@dataclass(frozen=True)
class Instructions:
    """Whether a completion follows the verifiable instructions of its row (IFEval, arXiv 2311.07911).

    Reads `instruction_id_list` and `kwargs` of the row, as the published rows of IFEval and IFBench have them (an entry or
    argument that is null counts as absent), or their JSON text; and the `ground_truth` of open-instruct, which holds
    `instruction_id` and `kwargs`, or `func_name` and its arguments. An empty completion follows nothing. None where an
    instruction is unknown, its arguments do not fit, or it cannot be decided and the others do not settle the matter; the
    note names it.

    Args:
        mode: `strict` judges the text as it is; `loose` also without its first line, its last line, both, and each of these
            without asterisks: followed if any of the eight texts follows (section 2.2 of the paper).
        aggregate: `all`: 1 if every instruction is followed, else 0 (the paper's accuracy by prompt); `share`: the share
            of instructions that are.
        compat: `ifeval`: the checks of IFEval as lm-evaluation-harness has them, also where they accept what the
            instruction rules out; None: ours.
    """

    mode: str = "strict"
    aggregate: str = "all"
    compat: str | None = None
    verifies = True

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise unknown("mode of the reward instructions", self.mode, _MODES)
        if self.aggregate not in _AGGREGATES:
            raise unknown("aggregate of the reward instructions", self.aggregate, _AGGREGATES)
        if self.compat not in (None, *_COMPATIBLE):
            raise unknown("compat of the reward instructions", str(self.compat), _COMPATIBLE)

    def __call__(self, sample: Sample) -> Score:
        try:
            checks = read_checks(sample.meta, sample.answer, PUBLISHED if self.compat else CHECKS)
            verdicts = {name: self._followed(check, final_part(sample.completion)) for name, check in checks}
        except UnreadableRowError as error:
            return Score(None, note=str(error)[:300])
        results = list(verdicts.values())
        parsed = ", ".join(f"{name} {_WORDS[verdict]}" for name, verdict in verdicts.items())
        return Score(self._value(results), parsed=parsed)

    def _followed(self, check: Check, text: str) -> bool | None:
        texts = _variants(text) if self.mode == "loose" else [text]
        try:
            verdicts = [check(variant) if variant.strip() else False for variant in texts]
        except ConfigError as error:
            raise UnreadableRowError(str(error.what)) from error
        except re.error as error:
            raise UnreadableRowError(f"a keyword is no regular expression, as IFEval takes it: {error}") from error
        return True if True in verdicts else None if None in verdicts else False

    def _value(self, results: list[bool | None]) -> float | None:
        if self.aggregate == "all" and False in results:
            return 0.0
        if None in results:
            return None
        return sum(map(bool, results)) / len(results)


def _variants(text: str) -> list[str]:
    """The eight readings of the loose mode."""
    lines = text.split("\n")
    cuts = (lines, lines[1:], lines[:-1], lines[1:-1])
    shorter = ["\n".join(cut).strip() for cut in cuts]
    return [text, *shorter[1:], *(variant.replace("*", "") for variant in (text, *shorter[1:]))]
