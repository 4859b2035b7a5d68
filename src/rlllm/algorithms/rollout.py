"""`Rollout`: completions with their scores as a value that can be cut into groups, joined, stored and read back.

What TRL computed over the batch it sampled (advantages, a token count) is computed anew over the batch that learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms.batch import weighted
from rlllm.algorithms.protocols import CONTEXT
from rlllm.algorithms.stored_group import StoredGroup, spread
from rlllm.algorithms.tensor_dict import MULTIMODAL, take_rows
from rlllm.core.records import REFLECTED, Prompt, Sample
from rlllm.rollouts.environments.base import STORED

PROMPT = ("prompt_ids", "prompt_mask")
"""Tensors padded on the left; every other tensor with a column a token is padded on the right."""


@dataclass(frozen=True)
class Rollout:
    """B completions in contiguous groups of G.

    Args:
        rows: B rows of the data set.
        output: TRL's, with one entry for each completion in every tensor that is not a scalar.
        rewards: (B, R), NaN where a reward could not judge.
        group_size: G.
        samples: B samples; None where a completion was not sampled in this rollout.
        described: what each reward said of each sample.
        prompts: B prompts as the model saw them.
    """

    rows: list[int]
    output: dict[str, Any]
    rewards: Tensor
    group_size: int
    samples: list[Sample | None]
    described: list[dict[str, Any]]
    prompts: list[Prompt]

    @property
    def group_rows(self) -> list[int]:
        """Row of the data set of each group."""
        return self.rows[:: self.group_size]

    def grouped(self, weights: Tensor) -> Tensor:
        """(B / G, G) weighted rewards, NaN where undefined."""
        return weighted(self.rewards, weights).view(-1, self.group_size)

    def judged(self, column: int) -> Tensor:
        """(B / G, G) values of one reward, by its column in `rewards`; NaN where it could not judge."""
        return self.rewards[:, column].reshape(-1, self.group_size)

    def of_policy(self, grouped: Tensor) -> Tensor:
        """(B / G, G) values, NaN in the places of demonstrations, which the policy did not write itself."""
        off_policy = self.output.get("off_policy")
        return grouped if off_policy is None else grouped.masked_fill(off_policy.any(1).view_as(grouped), torch.nan)

    def with_output(self, **tensors: Tensor) -> Rollout:
        return replace(self, output={**self.output, **tensors})

    def groups(self, chosen: Sequence[int]) -> Rollout:
        """The groups of these numbers, in this order, without the pixels of their images."""
        size = self.group_size
        index = [group * size + place for group in chosen for place in range(size)]
        at = torch.tensor(index, dtype=torch.long, device=self.rewards.device)
        return Rollout(
            rows=[self.rows[row] for row in index],
            output=take_rows({name: value for name, value in self.output.items() if name not in MULTIMODAL}, at),
            rewards=self.rewards[at],
            group_size=size,
            samples=[self.samples[row] for row in index],
            described=[self.described[row] for row in index],
            prompts=[self.prompts[row] for row in index],
        )

    def table(self, weights: Tensor, step: int, advantages: Tensor | None = None) -> list[dict[str, Any]]:
        """Rows of `samples.jsonl`, one for everything that was sampled; without (B,) advantages it did not reach the update.

        `row` is the number of the prompt's row among the training rows: with it, the columns that rewards read are found again.
        """
        totals = self.grouped(weights).view(-1)
        off_policy = self.output.get("off_policy", torch.zeros(len(totals), 1)).any(1).tolist()
        kept = {} if advantages is not None else {"kept": False}
        advantage = torch.zeros_like(totals) if advantages is None else advantages
        scored = zip(self.described, totals.tolist(), advantage.tolist(), off_policy, strict=True)
        return [
            {
                "step": step,
                "row": row,
                "prompt": prompt,
                "completion": sample.completion,
                "answer": sample.answer,
                "reward": None if total != total else total,
                "rewards": described,
                "advantage": advantage,
                "truncated": sample.truncated,
                "tokens": sample.tokens,
                **{name: sample.meta[name] for name in (*STORED, CONTEXT, REFLECTED) if name in sample.meta},
                **({"demonstration": True} if demonstration else {}),
                **kept,
            }
            for row, sample, prompt, (described, total, advantage, demonstration) in zip(
                self.rows, self.samples, self.prompts, scored, strict=True
            )
            if sample is not None
        ]


def join(rollouts: Sequence[Rollout], pad_id: int) -> Rollout:
    """One after the other. Their `advantages` and `num_items_in_batch` do not describe the whole and are left out, and so is
    what only some of them have: an engine may report log-probabilities for some prompts alone."""
    names = [name for name in _columns(rollouts[0].output) if all(name in part.output for part in rollouts)]
    return Rollout(
        rows=[row for part in rollouts for row in part.rows],
        output={
            name: _stack(
                [part.output[name] for part in rollouts], pad_id if name.endswith("_ids") else 0, name in PROMPT
            )
            for name in names
        },
        rewards=torch.cat([part.rewards for part in rollouts]),
        group_size=rollouts[0].group_size,
        samples=[sample for part in rollouts for sample in part.samples],
        described=[texts for part in rollouts for texts in part.described],
        prompts=[prompt for part in rollouts for prompt in part.prompts],
    )


def _columns(output: Mapping[str, Any]) -> list[str]:
    tensors = {name: value for name, value in output.items() if isinstance(value, Tensor) and name not in MULTIMODAL}
    return [name for name, value in tensors.items() if value.dim() == 2]


def _stack(blocks: Sequence[Tensor], fill: int, left: bool) -> Tensor:
    width = max(block.size(1) for block in blocks)
    gaps = [width - block.size(1) for block in blocks]
    return torch.cat(
        [
            torch.nn.functional.pad(block, (gap, 0) if left else (0, gap), value=fill)
            for block, gap in zip(blocks, gaps, strict=True)
        ]
    )


def packed(rollout: Rollout, column: int) -> list[StoredGroup]:
    """The groups of a sampled rollout without their padding, as plain lists; `column` of the reward whose spread they keep."""
    values, size, stored = rollout.judged(column).tolist(), rollout.group_size, []
    behind = [name for name in _columns(rollout.output) if name not in PROMPT]
    for group, row in enumerate(rollout.group_rows):
        first = group * size
        seen = rollout.output["prompt_mask"][first].bool()
        lengths = [sample.tokens or 0 for sample in rollout.samples[first : first + size] if sample is not None]
        stored.append(
            StoredGroup(
                row=row,
                prompt=rollout.output["prompt_ids"][first][seen].tolist(),
                tokens=[
                    {name: rollout.output[name][first + place, :length].tolist() for name in behind}
                    for place, length in enumerate(lengths)
                ],
                rewards=rollout.rewards[first : first + size].tolist(),
                spread=spread(values[group]),
            )
        )
    return stored


def unpacked(groups: Sequence[StoredGroup], pad_id: int, device: torch.device) -> Rollout:
    """Stored groups, at least one, as a rollout."""
    rollouts = [_unpack(group, pad_id, device) for group in groups]
    return join(rollouts, pad_id)


def _unpack(group: StoredGroup, pad_id: int, device: torch.device) -> Rollout:
    size = len(group.tokens)
    prompt = torch.tensor(group.prompt, device=device).expand(size, -1)
    output = {"prompt_ids": prompt, "prompt_mask": torch.ones_like(prompt)}
    for name in group.tokens[0]:
        rows = [torch.tensor([part[name]], device=device) for part in group.tokens]
        output[name] = _stack(rows, pad_id if name.endswith("_ids") else 0, left=False)
    rewards = torch.tensor(group.rewards, device=device)
    return Rollout([group.row] * size, output, rewards, size, [None] * size, [{}] * size, [""] * size)


def merge_metrics(logged: Mapping[str, list[float]], before: Mapping[str, int], prompts: Sequence[int]) -> None:
    """One value in place of one for each rollout, so that every sampled prompt counts the same.

    A mean of deviations stands in for the deviation of all.

    Args:
        logged: TRL's lists of metrics; changed in place.
        before: how long each list was.
        prompts: size of each rollout.
    """
    for name, values in logged.items():
        start = before.get(name, 0)
        fresh = values[start:]
        if len(fresh) == len(prompts) > 1:
            values[start:] = [_merged(name, fresh, prompts)]


def _merged(name: str, values: Sequence[float], sizes: Sequence[int]) -> float:
    known = [(value, size) for value, size in zip(values, sizes, strict=True) if value == value]
    if not known:
        return float("nan")
    if "/min_" in name or "/max_" in name:
        return (min if "/min_" in name else max)(value for value, _ in known)
    return sum(value * size for value, size in known) / sum(size for _, size in known)
