"""`FastPath`: what the loop does on a CPU instead of plain passes over whole micro-batches. The numbers stay the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms import forward_pass
from rlllm.algorithms.cpu import microbatches
from rlllm.algorithms.cpu.forward import cheap_pass, packs
from rlllm.algorithms.cpu.onednn_linear import OneDNNLinear
from rlllm.algorithms.forward_pass import Pass, Window, most_rows, plain_pass
from rlllm.policies.rope import outgrows_cache


@dataclass(frozen=True)
class FastPath:
    """Two calls of the loop: `passes` for forward passes, `parts` for cutting a micro-batch.

    Args:
        onednn: compute linear layers through oneDNN; see `onednn_linear`.
        one_process: no other process trains with this one; a second pass through a wrapped model would upset how gradients
            are averaged.
    """

    onednn: bool
    one_process: bool

    def passes(
        self,
        model: Any,
        ids: Tensor,
        mask: Tensor,
        keep: int,
        temperature: float,
        *,
        rows: int | None = None,
        share: bool = True,
        hidden_states: bool = False,
    ) -> Iterator[Pass]:
        """Forward passes over the last `keep` tokens of (B, P + keep) rows, in order.

        Args:
            model: the policy, also as several processes wrap it.
            rows: rows that pass together; no more than have room for their logits. None passes all together.
            share: encode each prompt once and lay completions side by side, where the model's cache allows.
            hidden_states: keep the hidden states of every layer.
        """
        with self._products():
            unwrapped = getattr(model, "module", model)
            for part_ids, part_mask in self._chunks(unwrapped, ids, mask, keep, rows):
                window = Window.of(part_ids, part_mask, keep)
                if share and not _beyond(unwrapped, part_mask):
                    yield cheap_pass(model, window, temperature, hidden_states=hidden_states)
                else:
                    yield plain_pass(model, window, temperature, hidden_states=hidden_states)

    def parts(self, model: Any, inputs: Mapping[str, Tensor], rows: Tensor) -> Sequence[Tensor | None]:
        """Row indices of each part of a micro-batch: similar lengths and the same prompts together.

        Args:
            model: the policy, unwrapped.
            inputs: a micro-batch of the loop.
            rows: the rows to pass; others have no gradient.

        Returns:
            One tensor of row indices for each part; [None] for the micro-batch as it is.
        """
        lengths = inputs["completion_mask"].sum(1)
        prompts = torch.cat([inputs["prompt_ids"], inputs["prompt_mask"]], dim=1)[rows]
        _, owners = torch.unique(prompts, dim=0, return_inverse=True)
        packed = 2 * int(owners.max() + 1) <= len(rows) and packs(model, inputs["prompt_ids"].size(1) - 1)
        costs = _costs(model, inputs["prompt_ids"].size(1), packed)
        cut = microbatches.partition(lengths[rows].tolist(), owners.tolist(), costs)
        if len(cut) == 1 and len(rows) == len(lengths):
            return [None]
        return [rows[torch.tensor(sorted(part), device=rows.device)] for part in cut]

    def _chunks(
        self, model: Any, ids: Tensor, mask: Tensor, keep: int, rows: int | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        if rows:
            rows = max(min(rows, most_rows(model, keep)), 1)
        size = rows or ids.size(0)
        yield from zip(ids.split(size), mask.split(size), strict=True)

    def _products(self) -> AbstractContextManager[Any]:
        return OneDNNLinear(gather=self.one_process) if self.onednn else nullcontext()


def _beyond(model: Any, mask: Tensor) -> bool:
    """Whether a row is so long that its rotary frequencies are others than those of its prompt alone."""
    return outgrows_cache(model, int(mask.sum(1).max()))


def _costs(model: Any, prefix: int, packed: bool) -> microbatches.Costs:
    config = model.config.get_text_config()
    size = max(config.hidden_size * config.num_hidden_layers, 1)
    overhead = microbatches.OVERHEAD / (12 * config.hidden_size * size)
    largest = max(forward_pass.PART_BYTES // (8 * config.vocab_size + 120 * size), 1)
    return microbatches.Costs(overhead, prefix, largest, packed)
