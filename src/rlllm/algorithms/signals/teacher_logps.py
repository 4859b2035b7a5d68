"""Log-probabilities of the completions under another prompt: the policy as a teacher that has seen the solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.signals.base import Signal, SignalContext
from rlllm.core.errors import DataError
from rlllm.core.records import Prompt, PromptTask

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TeacherLogps(Signal):
    """(B, T) log-probabilities in nats of the completion tokens, when the prompt also shows the row's solution.

    The weights are the policy's own at this rollout; no gradient is recorded.

    Args:
        column: column of the data with the privileged text; `answer` is the reference answer.
        template: the teacher's prompt, from `{prompt}` (the text of the last message) and `{text}`.
    """

    column: str = "solution"
    template: str = "{prompt}\nSolution:\n{text}"
    name = "teacher_logps"
    summary = "log-probability of each token when the prompt also shows the solution, in nats (B, T)"
    cost = "pass"

    def compute(self, context: SignalContext) -> Tensor:
        import torch

        from rlllm.algorithms.forward_pass import Window, plain_pass
        from rlllm.policies.chat import encode_prompts

        shown = [self.prompt(task) for task in context.tasks]
        prompts = encode_prompts(context.tokenizer, shown, [task.meta for task in context.tasks])
        completion_ids, completion_mask = context.output["completion_ids"], context.output["completion_mask"]
        prompt_ids, prompt_mask = _left_padded(prompts, context.tokenizer.pad_token_id, completion_ids.device)
        ids, mask = torch.cat([prompt_ids, completion_ids], 1), torch.cat([prompt_mask, completion_mask], 1)
        rows, keep = context.rows_per_pass, completion_ids.size(1)
        parts = []
        with torch.no_grad():
            for part_ids, part_mask in zip(ids.split(rows), mask.split(rows), strict=True):
                window = Window.of(part_ids, part_mask, keep)
                parts.append(window.pad(plain_pass(context.model, window, context.temperature).view.chosen[0]))
        return torch.cat(parts)

    def prompt(self, task: PromptTask) -> Prompt:
        """The teacher's prompt of a task.

        Raises:
            DataError: the row has no text in the column.
        """
        text = task.answer if self.column == "answer" else task.meta.get(self.column)
        if not text:
            raise DataError(
                f"the signal teacher_logps needs text in the column {self.column}, and a row has none",
                given=str(task.prompt)[:120],
                exists=["answer", *task.meta],
            )
        if isinstance(task.prompt, str):
            return self.template.format(prompt=task.prompt, text=text)
        *before, last = task.prompt
        return [*before, {**last, "content": self.template.format(prompt=last["content"], text=text)}]


def _left_padded(rows: Sequence[Sequence[int]], pad_id: int, device: Any) -> tuple[Tensor, Tensor]:
    import torch

    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask
