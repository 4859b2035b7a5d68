"""Log-probabilities of the completions under another prompt: the policy as a teacher that has seen the solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.signals.base import Signal, SignalContext
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Prompt, PromptTask, with_text

if TYPE_CHECKING:
    from torch import Tensor

_PLACEHOLDERS = ("{prompt}", "{privileged_context}")


@dataclass(frozen=True)
class TeacherLogps(Signal):
    """(B, T) log-probabilities in nats of the completion tokens, when the prompt also shows the row's solution.

    The weights are the policy's own at this rollout, the temperature the run's; no gradient is recorded. The token ids are
    those that were sampled, so that the values stand beside those of `logps`.

    Args:
        column: column of the data with the privileged text; `answer` is the reference answer.
        template: the teacher's prompt, from `{prompt}` (the text of the last message) and `{privileged_context}`, as TRL's SDFT
            names them.
        optional: whether rows without text are allowed; their values are NaN.
    """

    column: str = "solution"
    template: str = "{prompt}\nSolution:\n{privileged_context}"
    optional: bool = False
    name = "teacher_logps"
    summary = "log-probability of each token when the prompt also shows the solution, in nats (B, T)"
    cost = "pass"

    def __post_init__(self) -> None:
        try:
            self.template.format(prompt="", privileged_context="")
            complete = all(placeholder in self.template for placeholder in _PLACEHOLDERS)
        except (KeyError, IndexError, ValueError):
            complete = False
        if not complete:
            raise ConfigError(
                "a teacher's prompt is made from {prompt} and {privileged_context}, both of them and nothing else in braces",
                given=self.template,
                hint="write {{ and }} for braces of the text itself",
            )

    def compute(self, context: SignalContext) -> Tensor:
        import torch

        output = context.output
        values = output["completion_ids"].new_full(output["completion_ids"].shape, torch.nan, dtype=torch.float32)
        shown = [row for row, task in enumerate(context.tasks) if not self.optional or self.text(task)]
        if shown:
            values[shown] = self._scored(context, shown)
        return values

    def _scored(self, context: SignalContext, rows: Sequence[int]) -> Tensor:
        """(b, T) values of these rows. Rows that are equal pass once, and prompts are encoded once for their group."""
        import torch

        from rlllm.policies.chat import encode_prompts

        distinct = {id(context.tasks[row]): context.tasks[row] for row in rows}
        metas = [task.meta for task in distinct.values()]
        encoded = encode_prompts(context.tokenizer, [self.prompt(task) for task in distinct.values()], metas)
        of_task = dict(zip(distinct, encoded, strict=True))
        prompts = [of_task[id(context.tasks[row])] for row in rows]
        completion_ids, completion_mask = (context.output[name][rows] for name in ("completion_ids", "completion_mask"))
        prompt_ids, prompt_mask = _left_padded(prompts, context.tokenizer.pad_token_id, completion_ids.device)
        ids, mask = torch.cat([prompt_ids, completion_ids], 1), torch.cat([prompt_mask, completion_mask], 1)
        self._check_length(context.model, int(mask.sum(1).max()))
        distinct_rows, inverse = torch.unique(torch.cat([ids, mask], 1), dim=0, return_inverse=True)
        ids, mask = distinct_rows.split(ids.size(1), dim=1)
        parts = context.passes(ids, mask, completion_ids.size(1))
        return torch.cat([part.restore(part.view.chosen[0]) for part in parts])[inverse]

    def _check_length(self, model: Any, longest: int) -> None:
        most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        if most and longest > most:
            raise ConfigError(
                f"the teacher's prompt and a completion are {longest} tokens, and the model takes {most}",
                given=f"privileged text of the column {self.column}",
                hint="rollout.max_new_tokens, or a shorter text such as column=answer",
            )

    def text(self, task: PromptTask) -> str:
        """The privileged text of a row; empty where it has none."""
        value = task.answer if self.column == "answer" else task.meta.get(self.column)
        return "" if value is None else str(value).strip()

    def prompt(self, task: PromptTask) -> Prompt:
        """The teacher's prompt of a task.

        Raises:
            DataError: the row has no text in the column.
        """
        text = self.text(task)
        if not text:
            raise DataError(
                f"the signal teacher_logps needs text in the column {self.column}, and a row has none",
                given=str(task.prompt)[:120],
                exists=["answer", *task.meta],
            )
        if isinstance(task.prompt, str):
            return self.template.format(prompt=task.prompt, privileged_context=text)
        *before, last = task.prompt
        return [*before, with_text(last, lambda own: self.template.format(prompt=own, privileged_context=text))]


def _left_padded(rows: Sequence[Sequence[int]], pad_id: int, device: Any) -> tuple[Tensor, Tensor]:
    import torch

    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask
