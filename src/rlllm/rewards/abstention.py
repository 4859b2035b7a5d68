"""The `abstention` reward: a verifying reward in which a wrong answer costs something and "I do not know" costs nothing.

A reward of 1 or 0 pays for guessing: an answer that is right one time in ten is worth more than none. With a right answer worth
1, abstaining 0 and a wrong answer -penalty, answering pays only above the confidence t = penalty / (1 + penalty), and a penalty
of t / (1 - t) sets t (Kalai et al. 2025, arXiv 2509.04664). As a reward of RL: 1, 0 and -1 in TruthRL (Wei et al. 2025, arXiv
2509.25760), any penalty in Reinforced Hesitation (Mohamadi et al. 2025, arXiv 2511.11500).

Abstaining is told from the text alone, never from whether the answer is right, so that a hedge ("it is 42, but I do not know")
cannot be an answer where it is right and an abstention where it is wrong. English only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample, Score
from rlllm.parsing.answer_text import plain_answer
from rlllm.parsing.answers import extract_answer
from rlllm.rewards.bound import BoundReward
from rlllm.rewards.verifiers.exact import reference_answers
from rlllm.rewards.verifiers.refusal import plain_words
from rlllm.rewards.verifiers.submissions import final_part

Outcome = Literal["right", "wrong", "abstained"]
OUTCOMES: tuple[Outcome, ...] = ("right", "wrong", "abstained")

_UNABLE = r"(?:can(?:'t|not| not)|could(?:n't| not)|am (?:unable|not able) to|'m (?:unable|not able) to|won't|will not)"
_FIND = (
    r"(?:determine|answer|say|tell|find(?: out)?|figure|solve|work|compute|calculate|decide|conclude|know|be (?:sure|certain)"
    r"|(?:give|provide) (?:an?|the|any) (?:\w+ )?answer)"
)
_ABSTAINS = re.compile(
    rf"\bi (?:\w+ly )?(?:do not|don't|did not|didn't) (?:\w+ly )?know\b|\bi dont know\b|\bidk\b|\bdon't know\b|\bdo not know\b"
    rf"|\bi (?:\w+ly )?have no (?:idea|clue)\b|^no (?:idea|clue)\b"
    rf"|\b(?:i am|i'm) (?:\w+ly )?(?:not (?:sure|certain)|unsure|uncertain)\b|^(?:not sure|not certain|unsure|uncertain)\b"
    rf"|\bi ?{_UNABLE} (?:\w+ly )?{_FIND}\b"
    rf"|\bi (?:must |have to |will |would rather |prefer to )?(?:abstain|not answer|decline to answer|refuse to answer)\b"
    rf"|^(?:abstain|pass)$"
    rf"|\b(?:can(?:'t|not| not)|could(?:n't| not)) be (?:determined|answered|known|found|solved|decided|inferred)\b"
    rf"|\bimpossible to (?:determine|answer|say|tell|know|find|decide)\b"
    rf"|\b(?:not enough|insufficient) (?:information|data|context)\b"
    rf"|\b(?:answer|solution|result|value) is (?:unknown|not known|undetermined|uncertain)\b"
    rf"|^(?:unknown|not known|undetermined|unanswerable|indeterminate)\b"
)
_COMMITS = re.compile(
    r"\b(?:but|however|though|although|yet|still|maybe|perhaps|probably|likely|possibly|guess|think|believe|assume|suppose"
    r"|suspect|estimate|approximately|roughly|would be|must be|should be|it is|it's|answer is|so it)\b|="
)
_CLAUSE = re.compile(r"[,;:.!?()\u2013\u2014]| - ")
_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
_LAST = 2
"""Sentences of a text without a marked answer that are read: "I do not know. Sorry!" abstains in the first of them."""


@dataclass(frozen=True)
class Payoff:
    """What answers are worth: 1 if right, `abstain` for abstaining, -`penalty` if wrong."""

    penalty: float = 1.0
    abstain: float = 0.0

    @classmethod
    def of(cls, penalty: float | None, threshold: float | None, abstain: float, owner: str) -> Payoff:
        """From the penalty, or from the confidence above which answering pays; with neither, a penalty of 1.

        Args:
            owner: whose arguments they are, as a message begins with it.

        Raises:
            ConfigError: both are given, one is out of range, or abstaining is worth no less than a right answer or no more
                than a wrong one.
        """
        if penalty is not None and threshold is not None:
            raise ConfigError(
                f"{owner}: penalty and threshold say the same thing",
                given=f"penalty={penalty:g} threshold={threshold:g}",
                hint="a threshold t means a penalty of t / (1 - t); give one of the two",
            )
        if threshold is not None:
            if not 0 < threshold < 1:
                raise ConfigError(f"{owner}: threshold is between 0 and 1", given=f"threshold={threshold:g}")
            penalty = (threshold - abstain) / (1 - threshold)
            if threshold <= abstain < 1:
                raise ConfigError(
                    f"{owner}: threshold is above what abstaining is worth",
                    given=f"threshold={threshold:g} abstain={abstain:g}",
                    hint="with a lower threshold a wrong answer would be worth more than nothing",
                )
        payoff = cls(1.0 if penalty is None else penalty, abstain)
        if not (math.isfinite(payoff.penalty) and payoff.penalty >= 0):
            raise ConfigError(f"{owner}: penalty is 0 or more", given=f"penalty={payoff.penalty:g}", hint="penalty: 1")
        if not -payoff.penalty < abstain < 1:
            raise ConfigError(
                f"{owner}: abstaining is worth less than a right answer, 1, and more than a wrong one",
                given=f"penalty={payoff.penalty:g} abstain={abstain:g}",
                hint="penalty: 1, abstain: 0",
            )
        return payoff

    @property
    def threshold(self) -> float:
        """The confidence above which answering is worth more than abstaining."""
        return (self.abstain + self.penalty) / (1 + self.penalty)

    def score(self, outcome: Outcome, value: float) -> float:
        """What a completion is worth.

        Args:
            value: the verifying reward's. Part of the credit (0.5) is worth that part of the way from wrong to right.
        """
        if outcome == "abstained":
            return self.abstain
        share = 1.0 if outcome == "right" else min(1.0, max(0.0, value))
        return share - (1 - share) * self.penalty if share < 1 else 1.0


def abstains(text: str) -> str | None:
    """The words of a short statement (an answer, a sentence or two) that abstain; None where there are none, or where the
    statement commits to an answer beside them."""
    plain = plain_words(text).rstrip(" .!?")
    match = _ABSTAINS.search(plain)
    if match is None:
        return None
    rest = plain[match.end() :]
    first = _CLAUSE.search(rest)
    further = rest[first.end() :] if first else ""
    if _COMMITS.search(rest) or re.search(r"\d", further):
        return None
    return match.group()


def abstention(sample: Sample) -> str | None:
    """The words by which a completion abstains; None where it answers, or says nothing.

    Its last marked answer decides (`#### I do not know`, `\\boxed{unknown}`): who marks an answer has answered, whatever stands
    around it. Without one, the last two sentences do, unless the completion was cut at the length limit. What is thought
    before `</think>` does not count.
    """
    text = final_part(sample.completion)
    marked = extract_answer(text)
    if marked is not None:
        return abstains(plain_answer(marked))
    if sample.truncated:
        return None
    sentences = [part for part in _SENTENCES.split(text[-1000:].strip()) if part.strip()]
    tails = (" ".join(sentences[-count:]) for count in range(_LAST, 0, -1))
    return next((words for tail in tails if (words := abstains(tail))), None)


def outcome_of(sample: Sample, value: float) -> Outcome:
    """Whether a completion is right, wrong or abstains. An empty one is wrong: who says nothing has not said "I do not know".

    Where the reference itself abstains ("unknown": a question without an answer), abstaining is right.

    Args:
        value: the verifying reward's; 1 or more means right.
    """
    words = abstention(sample)
    if any(abstains(reference) for reference in reference_answers(sample)):
        return "right" if words or value >= 1 else "wrong"
    if words:
        return "abstained"
    return "right" if value >= 1 else "wrong"


class Abstention:
    """1 if right, 0 for "I do not know", -penalty if wrong, by any verifying reward; None where that cannot judge.

    Abstaining is told from the last marked answer (`#### I do not know`, `\\boxed{unknown}`), and without one from the last two
    sentences. An empty completion, or one without an answer, is wrong. Where the reference itself is "unknown" or the like,
    abstaining is right, and any answer is wrong.

    Args:
        reward: the verifying reward; in a recipe its name, or a mapping with its arguments (default `exact`). A score of 1 or
            more means right, and one between 0 and 1 is worth that part of the way from -penalty to 1.
        penalty: what a wrong answer costs, 1 by default: guessing pays above a confidence of penalty / (1 + penalty).
        threshold: that confidence, in place of the penalty: 0.75 means a penalty of 3.
        abstain: what abstaining is worth, more than -penalty and less than 1.
    """

    inner_rewards: ClassVar[Mapping[str, str | None]] = {"reward": "exact"}
    verifies = True
    score_batch: Callable[[Sequence[Sample]], list[Any]] | None = None
    """Set where the verifying reward scores whole batches."""

    def __init__(
        self, reward: BoundReward, penalty: float | None = None, threshold: float | None = None, abstain: float = 0.0
    ) -> None:
        self.payoff = Payoff.of(penalty, threshold, abstain, "abstention")
        self.deadline = reward.deadline
        self._score_sample, inner_batch = reward.score_sample, reward.score_batch
        if inner_batch is not None:
            self.score_batch = lambda samples: [
                self._judged(raw, sample) for raw, sample in zip(inner_batch(samples), samples, strict=True)
            ]

    def __call__(self, sample: Sample) -> Any:
        assert self._score_sample is not None
        return self._judged(self._score_sample(sample), sample)

    def _judged(self, raw: Any, sample: Sample) -> Any:
        score = raw if isinstance(raw, Score) else Score(raw)
        if not isinstance(score.value, Real) or math.isnan(score.value):  # None cannot judge, the rest is an error
            return raw
        outcome = outcome_of(sample, score.value)
        return Score(self.payoff.score(outcome, score.value), parsed=score.parsed, note=outcome)
