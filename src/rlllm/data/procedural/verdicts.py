"""The dataset `verdicts`: judgements of simulated pairs, for SFT before `train-rm --kind generative`.

Reinforcement learning only works with a model that already writes a verdict in some of its completions. Each pair of the
wrapped procedural data set is judged in both orders. The critique states the right answer and the final answer of each
completion; the verdict is the pair's label.
"""

from __future__ import annotations

from dataclasses import replace

from rlllm.core.errors import DataError
from rlllm.core.records import Conversation, PreferencePair, PromptTask, Record, full_text
from rlllm.data.request import DataRequest
from rlllm.parsing.answers import extract_answer
from rlllm.parsing.judge_prompts import both_orders


class _Verdicts:
    """Dataset callable: `verdicts` judges arithmetic pairs, `verdicts:NAME` those of another procedural data set."""

    argument = "source"
    wraps = "arithmetic"
    rewards = ("verdict",)

    def __call__(self, request: DataRequest) -> list[Record]:
        if request.kind not in (Conversation, PromptTask):
            raise DataError(f"verdicts makes no {request.kind.__name__} records", exists=["Conversation", "PromptTask"])
        if request.wrapped is None:
            raise DataError(
                "verdicts needs the pairs of another data set", hint="load it by its name: verdicts:arithmetic"
            )
        pairs = request.wrapped(replace(request, kind=PreferencePair, rows=(request.rows + 1) // 2, wrapped=None))
        return [record for pair in pairs for record in _records(pair, request.kind)][: request.rows]


def _records(pair: PreferencePair, kind: type[Record]) -> list[Record]:
    tasks = both_orders(pair)
    if kind is PromptTask:
        return list(tasks)
    chosen, rejected = full_text(pair.chosen), full_text(pair.rejected)
    orders = ((chosen, rejected), (rejected, chosen))
    return [
        Conversation(task.prompt, f"{_critique(pair, *texts)}\nVerdict: {task.answer}", {"answer": task.answer})
        for task, texts in zip(tasks, orders, strict=True)
    ]


def _critique(pair: PreferencePair, first: str, second: str) -> str:
    """The right answer, where the pair has one, and the final answer of each completion."""
    answer = pair.meta.get("answer")
    right_answer = f"Right is {answer}. " if answer is not None else ""
    return f"{right_answer}A ends in {_final(first)}, B in {_final(second)}."


def _final(text: str) -> str:
    return extract_answer(text) or "no answer"


verdicts = _Verdicts()
