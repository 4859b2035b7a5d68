"""Advantages with a bonus for how the reasoning steps of a completion move through hidden-state space (StaRPO)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rlllm.algorithms.protocols import Advantage, Setup
from rlllm.algorithms.signals.step_hidden_states import StepHiddenStates
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch

_FEWEST_STEPS = 3
"""A completion with fewer steps has no two moves to compare; its bonus is 0."""
_EPSILON = 1e-8


@dataclass(frozen=True)
class StaRPO(Advantage):
    """The group advantage of reward + acf_weight acf + pe_weight pe (Zhang et al. 2026, arXiv 2604.08905).

    h_k is the mean hidden state of step k, v_k = h_k - h_{k-1} a move. acf is the mean cosine of successive moves, in [-1, 1];
    pe is the distance from the first to the last step over the length of the way, in [0, 1]. Both are 0 with fewer than three
    steps. No gradient reaches the hidden states.

    Args:
        acf_weight: weight of the autocorrelation; no number is published.
        pe_weight: weight of the path efficiency; no number is published.
        acf_norm: `valid` divides by the K - 2 cosines that there are, `printed` by the K - 1 of the paper's formula.
        pe_norm: `sqrt` multiplies pe by sqrt(K - 1), at most 1, which takes the pay for fewer steps out of it.
        gate: name of a reward; completions for which it is not above 0 get no bonus. Empty: all get it.
        layer: of the hidden states; -1 is the last one's output after the final norm.
        window: steps of so many tokens; 0 takes lines.
        control: `shuffled` scores the same steps in random order, `shorter` pays 1 - length / longest of the group instead.
    """

    acf_weight: float = 0.1
    pe_weight: float = 0.1
    acf_norm: Literal["valid", "printed"] = "valid"
    pe_norm: Literal["none", "sqrt"] = "none"
    gate: str = ""
    layer: int = -1
    window: int = 0
    control: Literal["none", "shuffled", "shorter"] = "none"
    _logged: dict[str, float] = field(init=False, repr=False, compare=False, default_factory=dict)
    compares_group = True
    per_completion = True
    reads_kl_penalty = False

    def __post_init__(self) -> None:
        if self.window < 0:
            raise ConfigError(
                "advantage starpo: window is a number of tokens", given=f"window={self.window}", hint="0 takes lines"
            )

    @property
    def needs(self) -> Sequence[StepHiddenStates]:
        return (StepHiddenStates(self.layer, self.window),) if self._has_bonus else ()

    @property
    def _has_bonus(self) -> bool:
        return bool(self.acf_weight or self.pe_weight)

    def same_as(self, settings: Mapping[str, Any]) -> str:
        return "" if self._has_bonus else "group"

    def check(self, setup: Setup) -> None:
        """Raise ConfigError where the gate is no reward, or where rewards are normalised before they are added."""
        if self.gate and self.gate not in setup.reward_names:
            raise ConfigError(
                f"advantage starpo: no reward is named {self.gate}",
                given=f"advantage.gate={self.gate}",
                exists=setup.reward_names,
            )
        if self._has_bonus and setup.settings.get("multi_objective_aggregation") == "normalize_then_sum":
            raise ConfigError(
                "advantage starpo adds its bonus to the reward, and each reward is normalised before they are added",
                given="multi_objective_aggregation=normalize_then_sum",
                hint="leave the setting out",
            )

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B,) advantages."""
        import torch

        self._logged.clear()
        if not self._has_bonus:
            return batch.trl_advantages
        bonus = self._bonus(batch)
        if self.gate:
            bonus = bonus * (batch.rewards[:, batch.names.index(self.gate)] > 0)
        self._note_spread(batch, bonus)
        bonus = bonus.masked_fill(batch.summed_reward.isnan(), torch.nan).to(batch.rewards.dtype)
        rewards = torch.cat([batch.rewards, bonus.unsqueeze(1)], dim=1)
        weights = torch.cat([batch.weights, batch.weights.new_ones(1)])
        return batch.normalise(rewards, weights, batch.group_size)

    def _bonus(self, batch: RolloutBatch) -> Tensor:
        """(B,) weighted bonus; logs what it is made of."""
        states = batch.signals["step_hidden_states"]
        if self.control == "shuffled":
            states = shuffled_steps(states)
        acf, pe, steps = stability(states, printed=self.acf_norm == "printed")
        free_pe = (pe * (steps - 1).clamp(min=0).sqrt()).clamp(max=1)
        every = batch.loss_mask.any(1)
        several = every & (steps >= _FEWEST_STEPS)
        values = {
            "acf": batch.mean(acf, several),
            "path_efficiency": batch.mean(pe, several),
            "path_efficiency_sqrt": batch.mean(free_pe, several),
            "steps": batch.mean(steps, every),
            "few_steps_share": batch.mean((~several).float(), every),
        }
        self._logged.update({f"starpo/{name}": float(mean) for name, (mean, _) in values.items()})
        if self.control == "shorter":
            lengths = batch.loss_mask.sum(1).float().view(-1, batch.group_size)
            shorter = 1 - lengths / lengths.amax(1, keepdim=True).clamp(min=1)
            return (self.acf_weight + self.pe_weight) * shorter.view(-1)
        return self.acf_weight * acf + self.pe_weight * (free_pe if self.pe_norm == "sqrt" else pe)

    def _note_spread(self, batch: RolloutBatch, bonus: Tensor) -> None:
        """Log how much bonus and outcome differ within a group, and the share of groups in which only the bonus does."""
        import torch

        outcome = batch.summed_reward.view(-1, batch.group_size)
        judged = ~outcome.isnan()
        spread = [deviation(values, judged) for values in (outcome.nan_to_num(), bonus.view_as(outcome))]
        alone = ((spread[0] == 0) & (spread[1] > 0)).float()
        every = torch.ones_like(alone)
        for name, values in (("outcome_std", spread[0]), ("bonus_std", spread[1]), ("bonus_alone_share", alone)):
            self._logged[f"starpo/{name}"] = float(batch.mean(values, every)[0])

    @property
    def metrics(self) -> Mapping[str, float]:
        """For the log, after a rollout."""
        return self._logged


def stability(states: Tensor, *, printed: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Autocorrelation, path efficiency and number of steps K, each (B,) float; the first two are 0 where K is below 3.

    Args:
        states: (B, S, H) mean hidden state of each step, NaN after a completion's last.
        printed: divide the sum of the K - 2 cosines by K - 1.
    """
    import torch

    inside = ~states.isnan().any(2)
    steps = inside.sum(1).to(states.dtype)
    states = states.nan_to_num(nan=0.0)
    moves = (states[:, 1:] - states[:, :-1]) * inside[:, 1:].unsqueeze(2)
    lengths = moves.norm(dim=2)
    products = (moves[:, 1:] * moves[:, :-1]).sum(2)
    sizes = lengths[:, 1:] * lengths[:, :-1]
    cosines = torch.where(sizes > 0, products / sizes.clamp(min=torch.finfo(sizes.dtype).tiny), 0.0).clamp(-1, 1)
    several = steps >= _FEWEST_STEPS
    acf = cosines.sum(1) / (steps - (1 if printed else 2)).clamp(min=1)
    last = (steps.long() - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, states.size(2))
    distance = (states.gather(1, last).squeeze(1) - states[:, 0]).norm(dim=1)
    pe = (distance / (lengths.sum(1) + _EPSILON)).clamp(max=1)
    return acf * several, pe * several, steps


def shuffled_steps(states: Tensor) -> Tensor:
    """(B, S, H) with the steps of each row in random order, drawn from the global generator; NaN rows stay last."""
    import torch

    inside = ~states.isnan().any(2)
    draws = torch.rand(inside.shape, device=states.device).masked_fill(~inside, torch.inf)
    return states.gather(1, draws.argsort(1).unsqueeze(2).expand_as(states))


def deviation(values: Tensor, mask: Tensor) -> Tensor:
    """(N,) biased deviation of the (N, G) values under the mask; exactly 0 where all are equal."""
    import torch

    count = mask.sum(1, keepdim=True).clamp(min=1)
    first = values.gather(1, mask.float().argmax(1, keepdim=True))
    shifted = (values - first) * mask
    mean = shifted.sum(1, keepdim=True) / count
    return torch.sqrt((((shifted - mean) * mask) ** 2).sum(1) / count.squeeze(1))
