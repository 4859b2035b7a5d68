"""What several processes noted is logged as one, and what they draw does not depend on how many they are."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from rlllm.algorithms.completion_seeds import CompletionSeeds
from rlllm.algorithms.shared_log import of_all
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.native.token_sampling import choose, seeded


@pytest.mark.parametrize(
    ("processes", "together"),
    [
        ([{"kl": [1.0, 3.0]}, {"kl": [3.0, 5.0]}], {"kl": [2.0, 4.0]}),
        ([{"kl": [1.0, math.nan]}, {"kl": [3.0, 5.0]}], {"kl": [2.0, 5.0]}),
        ([{"ratio_max": [2.0], "ratio_min": [0.5]}, {"ratio_max": [4.0], "ratio_min": [0.25]}],
         {"ratio_max": [4.0], "ratio_min": [0.25]}),
        ([{"erased": [1.0]}, {"erased": [2.0, 3.0]}], {"erased": [1.0, 2.0, 3.0]}),
        ([{"kl": [1.0]}, {}], {"kl": [1.0]}),
    ],
)  # fmt: skip
def test_the_metrics_of_processes_become_those_of_the_batch(
    processes: list[dict[str, Any]], together: dict[str, Any]
) -> None:
    assert of_all(processes) == together


def test_the_seeds_of_completions_do_not_depend_on_the_number_of_processes() -> None:
    one, first, second = (CompletionSeeds(7) for _ in range(3))
    for step in (0, 0, 1):
        whole = one.draw(step, 0, 8)
        assert whole == first.draw(step, 0, 4) + second.draw(step, 4, 4)
        assert len({*whole}) == 8
    assert CompletionSeeds(7).draw(0, 0, 8) != CompletionSeeds(8).draw(0, 0, 8)
    again = CompletionSeeds(7)
    assert again.draw(0, 0, 8) != again.draw(0, 0, 8) != again.draw(1, 0, 8)


@pytest.mark.parametrize("vocabulary", [40, 3000])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_row_with_a_seed_draws_the_same_token_beside_any_others(vocabulary: int, top_p: float) -> None:
    logits = torch.randn(6, vocabulary, generator=torch.Generator().manual_seed(0))
    sampling, uniform = SamplingConfig(top_p=top_p), seeded(range(6), 3, "cpu")
    together, shares = choose(logits.clone(), sampling, uniform[:, 1])
    alone = [choose(logits[row : row + 1].clone(), sampling, seeded([row], 3, "cpu")[:, 1]) for row in range(6)]
    assert together.tolist() == [int(tokens) for tokens, _ in alone]
    torch.testing.assert_close(shares, torch.cat([share for _, share in alone]))
    assert together.tolist() != choose(logits.clone(), sampling, uniform[:, 2])[0].tolist()
