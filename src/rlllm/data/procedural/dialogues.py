"""The dataset `dialogues`: turns of a proposer and a reviewer, for SFT before `reason --method tracer`.

Reinforcement learning only works with a model that already writes a verdict in some of its reviews. A row is one turn on a
problem of the wrapped procedural data set: a solution, a review of a solution, or another solution after one. Solutions are
those of the simulated pairs, about half of them wrong, so that there is something to find and to improve on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from rlllm.core.config import Section
from rlllm.core.errors import DataError
from rlllm.core.records import Conversation, PreferencePair, PromptTask, Record, full_text
from rlllm.data.procedural.solution_writer import Rate
from rlllm.data.request import DataRequest
from rlllm.parsing.answers import extract_answer
from rlllm.parsing.dialogue_prompts import proposal, review


class DialogueParams(Section):
    """Which turns are shown; parameters of the wrapped data set may stand beside these."""

    reviews: Rate = 0.4
    """Share of rows that review a solution."""
    again: Rate = 0.2
    """Share of rows that solve a problem on which a solution is pending. The others solve a problem."""
    false_reviews: Rate = 0.2
    """Share of reviews whose verdict is false."""


class _Dialogues:
    """Dataset callable: `dialogues` is about sums, `dialogues:NAME` about another procedural data set.

    As `PromptTask` a row is one of that data set.
    """

    argument = "source"
    wraps = "arithmetic"
    rewards = ("exact",)

    def __call__(self, request: DataRequest) -> list[Record]:
        if request.kind not in (Conversation, PromptTask):
            raise DataError(
                f"dialogues makes no {request.kind.__name__} records", exists=["Conversation", "PromptTask"]
            )
        if request.wrapped is None:
            raise DataError(
                "dialogues needs the problems of another data set", hint="load it by its name: dialogues:arithmetic"
            )
        own = {name: value for name, value in request.params.items() if name in DialogueParams.model_fields}
        params = DialogueParams.checked(own)
        theirs = {name: value for name, value in request.params.items() if name not in own}
        if params.reviews + params.again > 1:
            raise DataError(
                "the shares of reviews and of further solutions add up to more than 1",
                given=f"reviews={params.reviews} again={params.again}",
            )
        if request.kind is PromptTask:
            return list(request.wrapped(replace(request, params=theirs, wrapped=None)))
        pairs = request.wrapped(replace(request, kind=PreferencePair, params=theirs, wrapped=None))
        return list(_turns(pairs, params, random.Random(f"dialogues {request.split} {request.seed}")))


def _turns(pairs: list[PreferencePair], params: DialogueParams, generator: random.Random) -> Iterator[Conversation]:
    for pair in pairs:
        solution, other = generator.sample([full_text(pair.chosen), full_text(pair.rejected)], 2)
        drawn = generator.random()
        meta = {**pair.meta, "turn": "proposal"}
        if drawn < params.reviews:
            right = extract_answer(solution) == pair.meta["answer"]
            verdict = "RIGHT" if right != (generator.random() < params.false_reviews) else "WRONG"
            yield Conversation(review(pair.prompt, solution), verdict, {**meta, "turn": "review"})
        else:
            pending = other if drawn < params.reviews + params.again else None
            yield Conversation(proposal(pair.prompt, pending), solution, meta)


dialogues = _Dialogues()
