"""The dataset `verdicts`: judgements of simulated pairs, to teach a small model the form before `train-rm --kind generative`.

Reinforcement learning needs a model that writes a verdict at least now and then. Each pair of the underlying procedural data
is asked in both orders; the critique says the right answer and what either side ends in, the verdict is the pair's label.
"""

from __future__ import annotations

from dataclasses import replace

from rlllm.core.errors import DataError
from rlllm.core.records import Conversation, PreferencePair, PromptTask, Record
from rlllm.data.request import DataRequest
from rlllm.data.sources import CallableSource, find
from rlllm.parsing.answers import extract_answer
from rlllm.parsing.judge_prompts import both_orders


class Verdicts:
    """Dataset callable: `verdicts` judges arithmetic pairs, `verdicts:NAME` those of another procedural data set."""

    argument = "source"
    rewards = ("verdict",)

    def __call__(self, request: DataRequest) -> list[Record]:
        if request.kind not in (Conversation, PromptTask):
            raise DataError(f"verdicts makes no {request.kind.__name__} records", exists=["Conversation", "PromptTask"])
        params = dict(request.params)
        name = str(params.pop("source", "arithmetic"))
        source = find(name)
        if not isinstance(source, CallableSource):
            raise DataError("verdicts judges pairs of a procedural data set", given=name, hint="rlllm data ls")
        wanted = replace(request, kind=PreferencePair, rows=(request.rows + 1) // 2, params={**params, **source.params})
        pairs = [placed.row for placed in source.rows(wanted)]
        return [record for pair in pairs for record in _records(pair, request.kind)][: request.rows]


def _records(pair: PreferencePair, kind: type[Record]) -> list[Record]:
    tasks = both_orders(pair)
    if kind is PromptTask:
        return list(tasks)
    shown = ((pair.chosen, pair.rejected), (pair.rejected, pair.chosen))
    return [
        Conversation(task.prompt, f"{critique(pair, *texts)}\nVerdict: {task.answer}", {"answer": task.answer})
        for task, texts in zip(tasks, shown, strict=True)
    ]


def critique(pair: PreferencePair, first: str, second: str) -> str:
    """What there is to say of two answers: the right one where it is known, and what each side ends in."""
    right = pair.meta.get("answer")
    known = f"Right is {right}. " if right is not None else ""
    return f"{known}A ends in {_final(first)}, B in {_final(second)}."


def _final(text: str) -> str:
    return extract_answer(text) or "no answer"


verdicts = Verdicts()
