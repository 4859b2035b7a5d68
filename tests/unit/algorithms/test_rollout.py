"""Rollouts as values: cut, joined, stored and read back without losing a token."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlllm.algorithms.rollout import Rollout, join, merge_metrics, packed, unpacked
from rlllm.algorithms.stored_group import StoredGroup
from rlllm.core.records import Sample
from rlllm.policies.padding import padded

PAD = 99
SIZE = 2
WEIGHTS = torch.tensor([1.0, 0.5])
LENGTHS = st.lists(st.lists(st.integers(1, 6), min_size=SIZE, max_size=SIZE), min_size=1, max_size=5)


def rollout(lengths: list[list[int]], first: int = 0) -> Rollout:
    """Groups of completions of these lengths; tokens, rewards and log-probabilities are all different."""
    flat = [length for group in lengths for length in group]
    prompts = [[first + row // SIZE] * (1 + row // SIZE) for row in range(len(flat))]
    completions = [[1000 * (first + row) + place for place in range(length)] for row, length in enumerate(flat)]
    prompt_ids, prompt_mask = padded(prompts, PAD, left=True)
    ids, mask = padded(completions, PAD)
    values = torch.tensor(ids) / 7.0 * torch.tensor(mask)
    return Rollout(
        rows=[first + row // SIZE for row in range(len(flat))],
        output={
            "prompt_ids": torch.tensor(prompt_ids),
            "prompt_mask": torch.tensor(prompt_mask),
            "completion_ids": torch.tensor(ids),
            "completion_mask": torch.tensor(mask),
            "old_per_token_logps": values,
            "off_policy": torch.tensor(mask).bool() & (torch.arange(len(flat)) % SIZE == 1).unsqueeze(1),
            "advantages": torch.zeros(len(flat)),
            "num_items_in_batch": torch.tensor(mask).sum(),
        },
        rewards=torch.rand(len(flat), 2, generator=torch.Generator().manual_seed(first)),
        group_size=SIZE,
        samples=[Sample("p", str(first + row), tokens=length) for row, length in enumerate(flat)],
        described=[{"row": first + row} for row in range(len(flat))],
        prompts=[f"p{first + row}" for row in range(len(flat))],
    )


def content(one: Rollout) -> list[dict[str, Any]]:
    """What each completion is, without padding."""
    seen, mask = one.output["prompt_mask"].bool(), one.output["completion_mask"].bool()
    behind = ("completion_ids", "old_per_token_logps", "off_policy")
    return [
        {
            "row": one.rows[row],
            "prompt": one.output["prompt_ids"][row][seen[row]].tolist(),
            "reward": one.rewards[row].tolist(),
            **{name: one.output[name][row][mask[row]].tolist() for name in behind},
        }
        for row in range(len(one.rows))
    ]


@given(first=LENGTHS, second=LENGTHS)
def test_joined_rollouts_hold_what_each_held(first: list[list[int]], second: list[list[int]]) -> None:
    one, other = rollout(first), rollout(second, 50)
    both = join([one, other], PAD)
    assert content(both) == content(one) + content(other)
    assert both.samples == one.samples + other.samples
    assert set(both.output) == set(one.output) - {"advantages", "num_items_in_batch"}
    pads = both.output["completion_ids"][both.output["completion_mask"] == 0]
    assert bool((pads == PAD).all())
    assert bool(both.output["prompt_mask"][:, -1].all()), "prompts are padded on the left"


@given(lengths=LENGTHS, data=st.data())
def test_chosen_groups_are_whole_and_in_the_order_asked_for(lengths: list[list[int]], data: st.DataObject) -> None:
    one = rollout(lengths)
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), unique=True))
    rows = [group * SIZE + place for group in chosen for place in range(SIZE)]
    part = one.groups(chosen)
    assert content(part) == [content(one)[row] for row in rows]
    assert (part.group_rows, part.prompts) == (chosen, [one.prompts[row] for row in rows])
    assert part.described == [one.described[row] for row in rows]


@given(lengths=LENGTHS)
def test_a_stored_rollout_comes_back_to_the_bit_through_json(lengths: list[list[int]]) -> None:
    one = rollout(lengths)
    stored = packed(one, 0)
    read = [StoredGroup(**group) for group in json.loads(json.dumps([asdict(group) for group in stored]))]
    back = unpacked(read, PAD, torch.device("cpu"))
    assert content(back) == content(one)
    assert {name: value.dtype for name, value in back.output.items()} == {
        name: one.output[name].dtype for name in back.output
    }
    assert [group.spread for group in read] == pytest.approx(one.judged(0).std(1, correction=0).tolist(), abs=1e-6)
    assert back.samples == [None] * len(one.rows)


def test_metrics_of_several_rollouts_become_those_of_all_prompts() -> None:
    logged = {
        "reward": [9.0, 1.0, 4.0],
        "completions/min_length": [3.0, 1.0],
        "completions/max_length": [3.0, 7.0],
        "only once": [5.0],
        "rewards/a/std": [float("nan"), 2.0],
    }
    merge_metrics(logged, {"reward": 1}, [2, 1])
    assert logged == {
        "reward": [9.0, 2.0],
        "completions/min_length": [1.0],
        "completions/max_length": [7.0],
        "only once": [5.0],
        "rewards/a/std": [2.0],
    }
