"""Solutions with a label for each step: PRM800K (Lightman et al. 2023, arXiv 2305.20050), Math-Shepherd (Wang et al. 2023,
arXiv 2312.08935)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlllm.core.records import PromptTask, StepwiseSolution
from rlllm.data.schemas.base import Row, RowSchema, rest, text, unfit

_TAG = "\u043a\u0438"
"""The two Cyrillic letters that end each step of Math-Shepherd."""
_FIRST_STEP = "Step 1:"
_SIGNS = {"+": True, "-": False}


def _is_prm800k(row: Row) -> bool:
    question, label = row.get("question"), row.get("label")
    asked = isinstance(question, Mapping) and isinstance(question.get("problem"), str)
    return asked and isinstance(label, Mapping) and isinstance(label.get("steps"), list)


def _prm800k(row: Row, place: str) -> list[dict[str, Any]]:
    """The path the labeller took, and for each rated step beside it the path up to there that ends with it.

    A rating of 0 (neutral) counts as right, as the paper's own scoring has it. An unrated step ends its path.
    """
    path: list[tuple[str, bool]] = []
    made: list[list[tuple[str, bool]]] = []
    for step in row["label"]["steps"]:
        completions, chosen = _completions(step, place)
        made += [[*path, rated] for at, one in enumerate(completions) if at != chosen and (rated := _rated(one, place))]
        taken = _rated(completions[chosen], place) if chosen is not None else _written(step, place)
        if taken is None:
            break
        path.append(taken)
    solutions = [*made, path] if path else made
    if not solutions:
        raise unfit(place, "has no rated step")
    kept = {**rest(row, "question", "label"), "answer": row["question"].get("ground_truth_answer")}
    prompt = row["question"]["problem"]
    return [
        {**kept, "prompt": prompt, "steps": [step for step, _ in one], "labels": [right for _, right in one]}
        for one in solutions
    ]


def _completions(step: Any, place: str) -> tuple[list[Any], int | None]:
    """The candidates for a step, and which of them the labeller went on from."""
    if not isinstance(step, Mapping):
        raise unfit(place, "has a step that is no object")
    completions, chosen = step.get("completions") or [], step.get("chosen_completion")
    if not isinstance(completions, list) or not all(isinstance(one, Mapping) for one in completions):
        raise unfit(place, "has a step whose completions are no list of objects")
    if chosen is not None and (type(chosen) is not int or not 0 <= chosen < len(completions)):
        raise unfit(place, f"chooses a completion that is not there: {chosen}")
    return completions, chosen


def _rated(completion: Mapping[str, Any], place: str) -> tuple[str, bool] | None:
    rating = completion.get("rating")
    if rating is None:
        return None
    if isinstance(rating, bool) or rating not in (-1, 0, 1):
        raise unfit(place, f"has the rating {rating!r}; ratings are -1, 0 and 1")
    return text(completion.get("text"), "the text of a step", place), rating >= 0


def _written(step: Mapping[str, Any], place: str) -> tuple[str, bool] | None:
    """The step that the labeller wrote where no candidate was right."""
    human = step.get("human_completion")
    if human is None:
        return None
    return text(human.get("text") if isinstance(human, Mapping) else human, "human_completion", place), True


def _is_math_shepherd(row: Row) -> bool:
    given, label = row.get("input"), row.get("label")
    return isinstance(given, str) and isinstance(label, str) and _TAG in given and _FIRST_STEP in given


def _math_shepherd(row: Row, place: str) -> list[dict[str, Any]]:
    """`label` is `input` with a sign in the place of each tag."""
    *parts, after = row["input"].split(_TAG)
    if after.strip():
        raise unfit(place, "has text behind the tag of the last step")
    labels: list[bool] = []
    at = 0
    for part in parts:
        sign = row["label"][at + len(part) : at + len(part) + 1]
        if row["label"][at : at + len(part)] != part or sign not in _SIGNS:
            raise unfit(place, f"has a label that is not its input with + or - for the tag of step {len(labels) + 1}")
        labels.append(_SIGNS[sign])
        at += len(part) + 1
    prompt, _, first = parts[0].partition(_FIRST_STEP)
    steps = [step.strip() for step in (_FIRST_STEP + first, *parts[1:])]
    kept = rest(row, "input", "label")
    return [{**kept, "prompt": text(prompt.strip(), "the problem", place), "steps": steps, "labels": labels}]


def _math_shepherd_task(row: Row, place: str) -> list[dict[str, Any]]:
    return [rest(solution, "steps", "labels") for solution in _math_shepherd(row, place)]


STEPS = (
    RowSchema(
        "prm800k",
        _is_prm800k,
        "question.problem and label.steps",
        maps={PromptTask: {"prompt": "question.problem", "answer": "question.ground_truth_answer"}},
        expands={StepwiseSolution: _prm800k},
    ),
    RowSchema(
        "math-shepherd",
        _is_math_shepherd,
        f"an input with {_FIRST_STEP} and the tag {_TAG} behind each step, and its label",
        expands={StepwiseSolution: _math_shepherd, PromptTask: _math_shepherd_task},
    ),
)
