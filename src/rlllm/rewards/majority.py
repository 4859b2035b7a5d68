"""The reward that needs no labels: agreement with the other completions of the same prompt."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rlllm.core.records import Prompt, Sample, Score
from rlllm.parsing.answers import extract_answer
from rlllm.parsing.numbers import answer_key
from rlllm.rewards.verifiers.exact import NO_ANSWER

_ALONE = "one completion is no vote"


@dataclass(frozen=True)
class Majority:
    """1 if the marked final answer is the one most completions of the prompt give, else 0 (TTRL: Zuo et al. 2025, arXiv
    2504.16084).

    Answers are one if they are the same number, or else the same text up to blanks. A completion without an answer gets 0
    and has no vote. Where several answers tie, all of them get 1: nothing prefers the first. A prompt with one completion
    in the batch gives None.
    """

    verifies = True

    def score_batch(self, samples: Sequence[Sample]) -> list[Score]:
        """One score a sample; the samples of a prompt, wherever they stand, vote together."""
        groups: dict[str, list[int]] = {}
        for place, sample in enumerate(samples):
            groups.setdefault(_key(sample.prompt), []).append(place)
        scores: dict[int, Score] = {}
        for places in groups.values():
            scores.update(zip(places, _vote([samples[place].completion for place in places]), strict=True))
        return [scores[place] for place in range(len(samples))]


def _vote(completions: Sequence[str]) -> list[Score]:
    """Scores of the completions of one prompt."""
    if len(completions) < 2:
        return [Score(None, note=_ALONE)] * len(completions)
    answers = [extract_answer(completion) for completion in completions]
    votes = Counter(answer_key(answer) for answer in answers if answer is not None)
    most = max(votes.values(), default=0)
    return [_judged(answer, votes, most) for answer in answers]


def _judged(answer: str | None, votes: Counter[object], most: int) -> Score:
    if answer is None:
        return Score(0.0, note=NO_ANSWER)
    got = votes[answer_key(answer)]
    return Score(float(got == most), parsed=answer, note=f"{got} of {votes.total()} votes")


def _key(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True)
