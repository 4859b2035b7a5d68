"""ReMax advantage: the reward of the greedy completion is the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlllm.algorithms.protocols import Advantage

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch


@dataclass(frozen=True)
class ReMax(Advantage):
    """Reward minus the reward of the greedy completion of the same prompt (Li et al. 2023, arXiv 2310.10505).

    The baseline depends on the prompt alone, so the gradient stays unbiased, and one completion a prompt is enough. A
    completion gets 0 where it or its greedy counterpart could not be judged. A KL penalty in the reward is taken off the
    sample alone.
    """

    needs = ("greedy_rewards",)

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) advantages."""
        return over_greedy(batch.kl_shaped_reward, batch.signals["greedy_rewards"])


def over_greedy(total: Tensor, greedy: Tensor) -> Tensor:
    """(B,) rewards of samples and of their prompts' greedy completions, NaN where undefined, to (B,) advantages."""
    return (total - greedy).nan_to_num(nan=0.0)
