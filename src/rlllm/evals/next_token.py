"""How often a model predicts the next token of a text: behind its own thought, without one, and behind another position's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.records import PromptTask, Sample, prompt_text
from rlllm.core.watchdog import sign
from rlllm.data.corpus.positions import PREFIX
from rlllm.evals.before_after import Measured, passed
from rlllm.evals.sampling import sample
from rlllm.evals.teacher_forcing import LOGITS, batch
from rlllm.policies import chat
from rlllm.rewards.composition import Composition
from rlllm.rewards.verifiers.next_token import NextToken
from rlllm.rollouts.config import SamplingConfig

_OPENED = "<think>"
ACCURACY = "next-token accuracy"
"""Share of the positions at which the most likely token, behind the model's own thought, is the true one."""
WITHOUT = f"{ACCURACY}, no thought"
"""The same where the model is not let think."""
ANOTHERS = f"{ACCURACY}, another's thought"
"""The same behind the thought that the model had at another position: a control, which has the form and lacks the content."""


def measure_next_token(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[PromptTask],
    rewards: Composition,
    sampling: SamplingConfig,
    *,
    samples: int,
    seed: int,
) -> list[Measured]:
    """The three accuracies, and pass@1: the share of sampled completions that the first reward gives at least 1.

    A completion without the marker has no thought, so that all three accuracies are one at it; unless the prompt ends with
    `<think>`: then the completion is a thought, and is ended where it was cut.
    """
    marker = marker_of(rewards)
    completions = sample(model, tokenizer, tasks, sampling, samples=samples, seed=seed)
    own = [[thought(row, marker) for row in rows] for rows in completions]
    others = [own[(place + 1) % len(own)] for place in range(len(own))]
    shown = {ACCURACY: own, WITHOUT: [[""] for _ in tasks], ANOTHERS: others}
    bare = [PromptTask(task.meta.get(PREFIX, task.prompt), task.answer, task.meta) for task in tasks]
    measured = [
        Measured(
            name,
            hits(model, tokenizer, bare if name == WITHOUT else tasks, thoughts),
            **(_texts(completions) if thoughts is own else {}),
        )
        for name, thoughts in shown.items()
    ]
    return [*measured, passed("pass@1", completions, rewards)]


def marker_of(rewards: Composition) -> str:
    """What ends a thought, by the reward `next-token` of a run."""
    found = (reward.target.marker for reward in rewards.rewards if isinstance(reward.target, NextToken))
    return next(found, NextToken().marker)


def thought(sample: Sample, marker: str) -> str:
    """A completion up to the end of its last marker. Without one it is empty, or all of it with a marker behind it where the
    prompt has opened a thought."""
    before, found, _ = sample.completion.rpartition(marker)
    if not found and prompt_text(sample.prompt).endswith(_OPENED):
        return sample.completion + marker
    return before + found


def hits(
    model: Any, tokenizer: Any, tasks: Sequence[PromptTask], thoughts: Sequence[Sequence[str]]
) -> list[list[float]]:
    """For each position and each of its thoughts, 1 where the most likely next token is the first of the answer.

    Args:
        tasks: positions.
        thoughts: for each of them, texts that stand between the prompt and the prediction.
    """
    prompts = chat.encode_prompts(tokenizer, [task.prompt for task in tasks], [task.meta for task in tasks])
    firsts = [_first_token(tokenizer, task) for task in tasks]
    rows = [
        ([*prompt, *tokenizer(text, add_special_tokens=False)["input_ids"]], first)
        for prompt, first, texts in zip(prompts, firsts, thoughts, strict=True)
        for text in texts
    ]
    found = iter(_argmax(model, tokenizer, [row for row, _ in rows]))
    right = iter([float(next(found) == first) for _, first in rows])
    return [[next(right) for _ in texts] for texts in thoughts]


def _first_token(tokenizer: Any, task: PromptTask) -> int:
    ids = tokenizer(task.answer or "", add_special_tokens=False)["input_ids"]
    return int(ids[0]) if ids else -1


def _argmax(model: Any, tokenizer: Any, rows: Sequence[Sequence[int]]) -> list[int]:
    """The most likely token behind each row."""
    import torch

    was_training, found = model.training, list[int]()
    model.eval()
    vocabulary = model.get_input_embeddings().num_embeddings
    size = max(1, LOGITS // (vocabulary * max(map(len, rows), default=1)))
    with torch.inference_mode():
        for start in range(0, len(rows), size):
            sign()
            part = rows[start : start + size]
            inputs = batch(tokenizer, part, [None] * len(part), model.device)
            logits = model(**inputs, use_cache=False).logits
            last = torch.tensor([len(row) - 1 for row in part], device=logits.device)
            found += logits[torch.arange(len(part), device=logits.device), last].argmax(-1).tolist()
    model.train(was_training)
    return found


def _texts(completions: list[list[Sample]]) -> dict[str, Any]:
    return {
        "prompts": [row[0].prompt for row in completions],
        "answers": [row[0].answer for row in completions],
        "completions": [[sample.completion for sample in row] for row in completions],
    }
