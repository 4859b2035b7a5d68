"""How much more likely the true continuation is behind a thought than without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.signals.base import Signal, SignalContext
from rlllm.data.corpus.positions import PREFIX

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ThoughtGain(Signal):
    """(B, T) information gain of each completion in nats per token, at the tokens of its thought; NaN behind it.

    The gain is the mean over the tokens of the reference answer of log p(token | prompt, thought) - log p(token | prefix), both
    at temperature 1 under the policy of this rollout, without a gradient. A thought is the completion up to its first marker,
    which is added where it lacks one. The prefix is the row's column of that name, the prompt without the words around it; or
    else the prompt. NaN throughout for a row without an answer.

    Args:
        marker: what ends a thought.
        others: whether each answer is scored behind a thought of the next group: the control that keeps the form of thoughts
            and loses their content. Of one group alone, behind the thought of the next completion.
    """

    marker: str = "</think>"
    others: bool = False
    name = "thought_gain"
    summary = "gain in log-probability of the answer by the thought, in nats per token, at the thought's tokens (B, T)"
    cost = "pass"

    def compute(self, context: SignalContext) -> Tensor:
        import torch

        from rlllm.policies.chat import encode_prompts

        ids, mask = context.output["completion_ids"], context.output["completion_mask"]
        thoughts = [self._thought(context, row) for row in range(len(context.tasks))]
        prompts, metas = [task.prompt for task in context.tasks], [task.meta for task in context.tasks]
        prefixes = [task.meta.get(PREFIX, task.prompt) for task in context.tasks]
        before = encode_prompts(context.tokenizer, prompts, metas)
        bare = encode_prompts(context.tokenizer, prefixes, metas)
        answers = [self._encoded(context.tokenizer, task.answer or "") for task in context.tasks]
        step = 0 if not self.others else context.group_size if len(thoughts) > context.group_size else 1
        read = [thoughts[(row + step) % len(thoughts)][0] for row in range(len(thoughts))]
        behind = self._means(context, [[*prompt, *text] for prompt, text in zip(before, read, strict=True)], answers)
        gains = behind - self._means(context, bare, answers)
        places = torch.arange(ids.size(1), device=ids.device).unsqueeze(0)
        lengths = torch.tensor([length for _, length in thoughts], device=ids.device).unsqueeze(1)
        inside = (places < lengths) & mask.bool()
        return torch.where(inside, gains.to(ids.device).unsqueeze(1), torch.nan)

    def _thought(self, context: SignalContext, row: int) -> tuple[list[int], int]:
        """Token ids of a completion's thought with its marker, and how many of them the policy wrote."""
        kept = context.output["completion_mask"][row].bool()
        ids: list[int] = context.output["completion_ids"][row][kept].tolist()
        ends = {
            token for token in (context.tokenizer.eos_token_id, context.tokenizer.pad_token_id) if token is not None
        }
        written = ""
        for number, token in enumerate(ids):
            if token in ends:
                return [*ids[:number], *self._encoded(context.tokenizer, self.marker)], number + 1
            written += context.tokenizer.decode([token])
            if self.marker in written:
                return ids[: number + 1], number + 1
        return [*ids, *self._encoded(context.tokenizer, self.marker)], len(ids)

    @staticmethod
    def _encoded(tokenizer: Any, text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    @staticmethod
    def _means(context: SignalContext, before: Sequence[list[int]], answers: Sequence[list[int]]) -> Tensor:
        """(B,) mean log-probability of each answer's tokens behind the ids before it, at temperature 1; NaN without any."""
        import torch

        device, pad = context.output["completion_ids"].device, context.tokenizer.pad_token_id
        width, keep = max(map(len, before)), max(1, *map(len, answers))
        rows = [
            [*[pad] * (width - len(left)), *left, *right, *[pad] * (keep - len(right))]
            for left, right in zip(before, answers, strict=True)
        ]
        masks = [
            [*[0] * (width - len(left)), *[1] * (len(left) + len(right)), *[0] * (keep - len(right))]
            for left, right in zip(before, answers, strict=True)
        ]
        ids, mask = torch.tensor(rows, device=device), torch.tensor(masks, device=device)
        means = []
        for part in context.passes(ids, mask, keep):
            logps = torch.log_softmax(part.view.logits.float(), -1)
            chosen = logps.gather(-1, part.view.targets.unsqueeze(-1)).squeeze(-1)
            means.append(part.restore(chosen))
        inside = mask[:, -keep:]
        return (torch.cat(means) * inside).sum(1) / inside.sum(1)
