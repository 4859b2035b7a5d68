"""Preferences between answers: hh-rlhf, UltraFeedback, HelpSteer2 and HelpSteer3.

Sources: hh-rlhf (Bai et al. 2022, arXiv 2204.05862), UltraFeedback (Cui et al. 2023, arXiv 2310.01377), HelpSteer2 (Wang et
al. 2024, arXiv 2406.08673 and 2410.01257), HelpSteer3 (Wang et al. 2025, arXiv 2505.11475). The margin of a pair is the
difference of its scores. Equal scores prefer neither answer and give no pair, but where the data set itself says which was
chosen (binarized UltraFeedback): there the margin is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import FOLLOWING, Expand, Row, RowSchema, has, number, rest, text, together, unfit

_HUMAN = "\n\nHuman:"


def _is_hh(row: Row) -> bool:
    sides = (row.get("chosen"), row.get("rejected"))
    return "prompt" not in row and all(isinstance(side, str) and side.startswith(_HUMAN) for side in sides)


_is_scored = has("chosen", "rejected", "score_chosen", "score_rejected", lacks=("margin",))


def _is_binarized(row: Row) -> bool:
    return _is_scored(row) and is_messages(row["chosen"]) and is_messages(row["rejected"])


def _binarized(row: Row, place: str) -> list[dict[str, Any]]:
    better, worse = (number(row[name], name, place) for name in ("score_chosen", "score_rejected"))
    if better < worse:
        raise unfit(place, f"scores chosen below rejected: {better:g} and {worse:g}")
    return [{**row, "margin": better - worse}]


def _is_ultrafeedback(row: Row) -> bool:
    answers = row.get("completions")
    return "instruction" in row and is_messages(answers) and all("overall_score" in answer for answer in answers)


def _ultrafeedback(row: Row, place: str) -> list[dict[str, Any]]:
    """The best and the worst of the completions, the first of each where several are equal."""
    scored = [(number(one["overall_score"], "overall_score", place), one) for one in row["completions"]]
    high, best = max(scored, key=lambda pair: pair[0])
    low, worst = min(scored, key=lambda pair: pair[0])
    sides = {"chosen": (high, best), "rejected": (low, worst)}
    made = {**rest(row, "instruction", "completions"), "prompt": row["instruction"], "margin": high - low}
    for side, (score, answer) in sides.items():
        made |= {
            side: text(answer.get("response"), "response", place),
            f"score_{side}": score,
            f"model_{side}": answer.get("model"),
        }
    return [made] if high > low else []


_is_helpsteer2 = has("prompt", "response", "helpfulness", "correctness")
_HELPSTEER2_SCORES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def _helpsteer2(row: Row, place: str) -> list[dict[str, Any]]:
    """The two responses to one prompt, which stand in rows that follow one another, by helpfulness."""
    both = [row, *row[FOLLOWING]]
    if len(both) != 2:
        raise unfit(place, f"begins {len(both)} rows with one prompt, where a pair takes 2")
    scores = [number(one["helpfulness"], "helpfulness", place) for one in both]
    responses = [text(one["response"], "response", place) for one in both]
    if scores[0] == scores[1]:
        return []
    better = int(scores[1] > scores[0])
    made = {**rest(row, "response", FOLLOWING, *_HELPSTEER2_SCORES), "margin": abs(scores[0] - scores[1])}
    for side, index in (("chosen", better), ("rejected", 1 - better)):
        made |= {side: responses[index]}
        made |= {f"{name}_{side}": both[index].get(name) for name in _HELPSTEER2_SCORES}
    return [made]


def _judged(prompt: str, first: str, second: str, judgement: str) -> Expand:
    """Pairs from two responses and a judgement that is negative where the first is better, positive where the second is."""

    def expand(row: Row, place: str) -> list[dict[str, Any]]:
        strength = number(row[judgement], judgement, place)
        responses = {name: text(row[name], name, place) for name in (first, second)}
        if strength == 0:
            return []
        better, worse = (first, second) if strength < 0 else (second, first)
        sides = {"chosen": responses[better], "rejected": responses[worse], "margin": abs(strength)}
        return [{**rest(row, prompt, first, second), "prompt": row[prompt], **sides}]

    return expand


def _pairs(name: str, fits: Callable[[Row], bool], needs: str, expand: Expand) -> RowSchema:
    return RowSchema(name, fits, needs, expands={PreferencePair: expand})


PREFERENCES = (
    _pairs(
        "ultrafeedback-binarized",
        _is_binarized,
        "chosen and rejected as messages, score_chosen and score_rejected",
        _binarized,
    ),
    _pairs(
        "ultrafeedback", _is_ultrafeedback, "instruction, and completions that all have overall_score", _ultrafeedback
    ),
    RowSchema(
        "helpsteer2",
        _is_helpsteer2,
        "prompt, response and its scores",
        expands={PreferencePair: _helpsteer2},
        joined={PreferencePair: together(_is_helpsteer2, "prompt")},
    ),
    _pairs(
        "helpsteer2-preference",
        has("prompt", "response_1", "response_2", "preference_strength"),
        "prompt, response_1, response_2 and preference_strength",
        _judged("prompt", "response_1", "response_2", "preference_strength"),
    ),
    _pairs(
        "helpsteer3",
        has("context", "response1", "response2", "overall_preference"),
        "context, response1, response2 and overall_preference",
        _judged("context", "response1", "response2", "overall_preference"),
    ),
    RowSchema(
        "hh-rlhf",
        _is_hh,
        "chosen and rejected that begin with a blank line and Human:",
        maps={PreferencePair: {"chosen": "chosen", "rejected": "rejected"}},
    ),
)
