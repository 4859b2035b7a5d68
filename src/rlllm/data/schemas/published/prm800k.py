"""PRM800K (Lightman et al. 2023, arXiv 2305.20050): solutions whose steps are rated -1, 0 or 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlllm.core.records import PromptTask, StepwiseSolution
from rlllm.data.schemas.base import Row, RowError, RowSchema, text, without

_LabelledStep = tuple[str, bool]


def _fits(row: Row) -> bool:
    question, label = row.get("question"), row.get("label")
    has_problem = isinstance(question, Mapping) and isinstance(question.get("problem"), str)
    return has_problem and isinstance(label, Mapping) and isinstance(label.get("steps"), list)


def _solutions(row: Row) -> list[dict[str, Any]]:
    """The path the labeller took, and for each rated step beside it the path up to there that ends with it.

    A rating of 0 (neutral) counts as right, as the paper's own scoring has it. An unrated step ends its path.
    """
    path: list[_LabelledStep] = []
    branches: list[list[_LabelledStep]] = []
    for step in row["label"]["steps"]:
        candidates, chosen = _candidates(step)
        others = [candidate for index, candidate in enumerate(candidates) if index != chosen]
        branches += [[*path, rated] for candidate in others if (rated := _rated(candidate))]
        next_step = _rated(candidates[chosen]) if chosen is not None else _written_by_labeller(step)
        if next_step is None:
            break
        path.append(next_step)
    solutions = [*branches, path] if path else branches
    if not solutions:
        raise RowError("has no rated step")
    other_columns = {**without(row, "question", "label"), "answer": row["question"].get("ground_truth_answer")}
    prompt = row["question"]["problem"]
    return [
        {
            **other_columns,
            "prompt": prompt,
            "steps": [text for text, _ in solution],
            "labels": [right for _, right in solution],
        }
        for solution in solutions
    ]


def _candidates(step: Any) -> tuple[list[Any], int | None]:
    """The candidates for a step, and the index of the one that the labeller went on from."""
    if not isinstance(step, Mapping):
        raise RowError("has a step that is no object")
    candidates, chosen = step.get("completions") or [], step.get("chosen_completion")
    if not isinstance(candidates, list) or not all(isinstance(candidate, Mapping) for candidate in candidates):
        raise RowError("has a step whose completions are no list of objects")
    if chosen is not None and (type(chosen) is not int or not 0 <= chosen < len(candidates)):
        raise RowError(f"chooses a completion that is not there: {chosen}")
    return candidates, chosen


def _rated(candidate: Mapping[str, Any]) -> _LabelledStep | None:
    rating = candidate.get("rating")
    if rating is None:
        return None
    if isinstance(rating, bool) or rating not in (-1, 0, 1):
        raise RowError(f"has the rating {rating!r}; ratings are -1, 0 and 1")
    return text(candidate.get("text"), "the text of a step"), rating >= 0


def _written_by_labeller(step: Mapping[str, Any]) -> _LabelledStep | None:
    """The step that the labeller wrote because no candidate was right."""
    human = step.get("human_completion")
    if human is None:
        return None
    return text(human.get("text") if isinstance(human, Mapping) else human, "human_completion"), True


SCHEMA = RowSchema(
    name="prm800k",
    summary="PRM800K: solutions with rated steps",
    fits=_fits,
    needs="question.problem and label.steps",
    columns={PromptTask: {"prompt": "question.problem", "answer": "question.ground_truth_answer"}},
    convert={StepwiseSolution: _solutions},
)
