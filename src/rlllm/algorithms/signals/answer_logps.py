"""Log-probability of each completion's answer after its reasoning, under the reference model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.signals.base import Signal, SignalContext

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class AnswerLogps(Signal):
    """(B,) float: the sum of the reference's log-probabilities (nats) of the tokens inside the last `<tag>`; NaN without one.

    Every token is conditioned on all before it, so that this is log p(answer | prompt and reasoning). Needs `beta` above 0, and
    a reference that moves slowly with the policy (`sync_ref_model`) for a bonus that follows it.

    Args:
        tag: name of the tag that holds the answer.
    """

    tag: str = "answer"
    name = "answer_logps"
    summary = (
        "log-probability of the answer after its reasoning under the reference model, in nats (B,); needs beta above 0"
    )
    per_token = False

    def compute(self, context: SignalContext) -> Tensor | None:
        import torch

        logps = context.output.get("ref_per_token_logps")
        if logps is None:
            return None
        inside = answer_places(
            context.output["completion_ids"], context.output["completion_mask"], context.tokenizer, self.tag
        )
        sums = (logps * inside).sum(1)
        return torch.where(inside.any(1), sums, torch.nan)

    def example(self, rows: int, tokens: int) -> Tensor:
        import torch

        return -torch.rand(rows)


def answer_places(ids: Tensor, mask: Tensor, tokenizer: Any, tag: str) -> Tensor:
    """(R, T) bool: the tokens whose text begins inside the last closed `<tag>` of a row.

    Args:
        mask: (R, T) 0/1; tokens of 0 have no text.
    """
    import torch

    texts: dict[int, str] = {token: tokenizer.decode([token]) for token in set(ids[mask.bool()].tolist())}
    inside = torch.zeros(ids.shape, dtype=torch.bool)
    for row, (tokens, real) in enumerate(zip(ids.tolist(), mask.tolist(), strict=True)):
        pieces = [texts[token] if use else "" for token, use in zip(tokens, real, strict=True)]
        start, end = _last_content("".join(pieces), tag)
        offset = 0
        for place, piece in enumerate(pieces):
            inside[row, place] = bool(piece) and start <= offset < end
            offset += len(piece)
    return inside.to(ids.device)


def _last_content(text: str, tag: str) -> tuple[int, int]:
    """Where the content of the last closed tag begins and ends; equal where there is none."""
    found: Sequence[re.Match[str]] = list(re.finditer(rf"<{re.escape(tag)}>(.*?)</{re.escape(tag)}>", text, re.DOTALL))
    return found[-1].span(1) if found else (0, 0)
