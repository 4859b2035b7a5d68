"""Prompts of judges, and the parsing of their replies: verdicts (A or B) and ratings (1 to 10).

The letter of a verdict has to end its line, and the last verdict counts, so that a critique may quote another one. A reply
without a readable verdict gives None. The prompts are short because the model `nano` has a context of 512 tokens.
"""

from __future__ import annotations

import re

from rlllm.core.errors import DataError
from rlllm.core.records import PreferencePair, Prompt, PromptTask, full_text, images_of, prompt_text

_RUBRIC = "Prefer the correct answer; of equals, the clearer and shorter one."
"""The rubric where none is given."""

SIDES = ("A", "B")

_COMPARE = """Which answer is better? {rubric}
Question: {prompt}
[A]
{first}
[B]
{second}
[end]
Write a short critique, then Verdict: A or Verdict: B on its own line."""

_RATE = """Rate the answer from 1 (worst) to 10 (best). {rubric}
Question: {prompt}
[answer]
{answer}
[end]
Write a short critique, then Score: N on its own line."""

LOWEST, HIGHEST = 1, 10

_MARK = r"\b[*\"'`]*[ \t]*[:=][ \t\[(*\"'`]*"
_END_OF_LINE = r"[ \t\])*\"'`.!]*\r?$"
_VERDICT = re.compile(rf"\bverdict{_MARK}(?:answer[ \t]+)?([AB]){_END_OF_LINE}", re.I | re.M)
_RATING = re.compile(rf"\b(?:score|rating){_MARK}(\d{{1,3}}(?:\.\d+)?)(?:[ \t]*/[ \t]*10)?{_END_OF_LINE}", re.I | re.M)


def comparison(prompt: Prompt, first: str, second: str, rubric: str = "") -> str:
    """A prompt that asks which of two answers is better; `first` is A. Raises DataError for a prompt with images."""
    return _filled(_COMPARE, prompt=_in_words(prompt), first=first, second=second, rubric=rubric or _RUBRIC)


def rating(prompt: Prompt, answer: str, rubric: str = "") -> str:
    """A prompt that asks for a rating of one answer, from 1 to 10. Raises DataError for a prompt with images."""
    return _filled(_RATE, prompt=_in_words(prompt), answer=answer, rubric=rubric or _RUBRIC)


def _in_words(prompt: Prompt) -> str:
    if images_of(prompt):
        raise DataError(
            "a judge is asked in text, and this prompt shows images, which the judge would not see",
            given=prompt_text(prompt)[:120],
            hint="take a reward that compares with the answer, such as exact, or leave images out: --columns images=none",
        )
    return prompt_text(prompt)


def read_verdict(reply: str) -> str | None:
    """The letter of the last `Verdict: A` whose letter ends its line; None if there is none."""
    letters = _VERDICT.findall(reply)
    return letters[-1].upper() if letters else None


def read_rating(reply: str) -> float | None:
    """The number of the last `Score: N` (or `N/10`) that ends its line, if it lies between 1 and 10; else None."""
    numbers = _RATING.findall(reply)
    value = float(numbers[-1]) if numbers else 0.0
    return value if LOWEST <= value <= HIGHEST else None


def well_formed(reply: str) -> bool:
    """Whether the reply is a critique, followed by exactly one verdict at its end."""
    verdicts = list(_VERDICT.finditer(reply))
    if len(verdicts) != 1:
        return False
    return bool(re.search(r"\w", reply[: verdicts[0].start()])) and not reply[verdicts[0].end() :].strip()


def _filled(template: str, **parts: str) -> str:
    """The template with its slots filled in one pass, so that braces in the parts are not filled."""
    return re.sub(r"\{(\w+)\}", lambda slot: parts[slot[1]].strip(), template)


def both_orders(pair: PreferencePair, rubric: str = "") -> list[PromptTask]:
    """Both comparisons of a pair, each with the letter of the chosen completion as its answer."""
    chosen, rejected = full_text(pair.chosen), full_text(pair.rejected)
    texts = ((chosen, rejected), (rejected, chosen))
    return [
        PromptTask(comparison(pair.prompt, *answers, rubric), side, pair.meta)
        for answers, side in zip(texts, SIDES, strict=True)
    ]
