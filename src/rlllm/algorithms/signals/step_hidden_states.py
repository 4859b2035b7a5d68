"""Hidden states by reasoning step: the mean over the tokens of each step."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.signals.base import Signal, SignalContext

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.forward_pass import Pass

_LINE_END = re.compile(r"\n\s*")
_SENTENCE_END = re.compile(r"[.!?]+\s+")
_FEWEST_LINES = 3
"""With fewer lines than that, a text is cut into sentences."""


@dataclass(frozen=True)
class StepHiddenStates(Signal):
    """(B, S, H) float32: mean hidden state of each step; rows of NaN after a completion's last step.

    Steps are lines that are not empty; where there are fewer than three, sentences. What separates two steps belongs to the
    first of them. Special tokens belong to none, nor does a completion's last token, for which the pass has no hidden state.
    S is the largest number of steps of the rollout.

    Args:
        layer: index among the hidden states, of which the embeddings are the first and the last layer's output, after the
            final norm, is the last.
        window: steps of so many tokens, whatever the text; 0 takes lines.
    """

    layer: int = -1
    window: int = 0
    name = "step_hidden_states"
    summary = "mean hidden state of each reasoning step (B, S, H), NaN after the last step"
    cost = "shared pass"
    reads_hidden_states = True
    any_layout = True
    per_token = False

    def from_pass(self, part: Pass, context: SignalContext) -> Tensor:
        import torch

        ids, mask = part.window.targets, part.window.target_mask
        steps = step_numbers(ids, mask, context.tokenizer, self.window)
        # the pass has the states that predict a token: a token's own is that at the place of the next one
        own = torch.nn.functional.pad(part.view.hidden_states[self.layer][part.places][:, 1:].float(), (0, 0, 0, 1))
        has_own = torch.nn.functional.pad(mask[:, 1:], (0, 1)).bool()
        return step_means(own, steps.masked_fill(~has_own, -1))

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        import torch

        most = max(part.size(1) for part in parts)
        gaps = [(0, 0, 0, most - part.size(1)) for part in parts]
        return torch.cat(
            [torch.nn.functional.pad(part, gap, value=torch.nan) for part, gap in zip(parts, gaps, strict=True)]
        )

    def example(self, rows: int, tokens: int) -> Tensor:
        import torch

        return torch.rand(rows, 2, 8)


def step_numbers(ids: Tensor, mask: Tensor, tokenizer: Any, window: int = 0) -> Tensor:
    """(R, T) number of the step each token belongs to, from 0; -1 for special tokens and where `mask` is 0.

    Args:
        window: tokens of a step; 0 takes lines, or sentences where there are fewer than three lines.
    """
    import torch

    special = set(tokenizer.all_special_ids)
    texts: dict[int, str] = {token: tokenizer.decode([token]) for token in set(ids[mask.bool()].tolist()) - special}
    numbers = torch.full(ids.shape, -1)
    for row, (tokens, real) in enumerate(zip(ids.tolist(), mask.tolist(), strict=True)):
        places = [place for place, token in enumerate(tokens) if real[place] and token not in special]
        pieces = [texts[tokens[place]] for place in places]
        of_pieces = [at // window for at in range(len(pieces))] if window else _steps_of_pieces(pieces)
        numbers[row, places] = torch.tensor(of_pieces, dtype=numbers.dtype)
    return numbers.to(ids.device)


def _steps_of_pieces(pieces: Sequence[str]) -> list[int]:
    """The step of each piece of a text, by the place where the piece begins."""
    text = "".join(pieces)
    starts = _step_starts(text, _LINE_END)
    if len(starts) + 1 < _FEWEST_LINES:
        starts = sorted({*starts, *_step_starts(text, _SENTENCE_END)})
    numbers, offset = [], 0
    for piece in pieces:
        numbers.append(bisect_right(starts, offset))
        offset += len(piece)
    # a piece that spans a boundary may leave a step without a piece of its own
    distinct = {number: at for at, number in enumerate(dict.fromkeys(numbers))}
    return [distinct[number] for number in numbers]


def _step_starts(text: str, end: re.Pattern[str]) -> list[int]:
    """Where the second and every further step begins; only places with text before and after them."""
    return [match.end() for match in end.finditer(text) if text[: match.start()].strip() and match.end() < len(text)]


def step_means(hidden: Tensor, steps: Tensor) -> Tensor:
    """(R, T, H) hidden states and (R, T) step numbers, -1 for none, to (R, S, H) means; NaN for steps without tokens."""
    import torch

    count = max(int(steps.max()) + 1, 1)
    belongs = torch.nn.functional.one_hot(steps + 1, count + 1)[..., 1:].to(hidden.dtype)
    sizes = belongs.sum(1).unsqueeze(2)
    return (belongs.transpose(1, 2) @ hidden / sizes.clamp(min=1)).masked_fill(sizes == 0, torch.nan)
