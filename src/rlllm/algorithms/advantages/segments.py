"""Advantages of segments: the reward of a completion shared out among its segments by the attention paid to them (E3RL)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rlllm.algorithms.protocols import Advantage, Setup
from rlllm.algorithms.signals.attention_shares import AttentionShares
from rlllm.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch

_EPSILON = 1e-8


@dataclass(frozen=True)
class SegmentShares(Advantage):
    """Advantage of each segment: its share of the reward, compared with those of the same segment in the group.

    R_n = R share_n, where share_n is the part of the attention of the completion's last tokens that segment n gets, and A_n =
    (R_n - mean R_n) / sqrt(var R_n + 1e-8) over the completions of the group that reach segment n, with population
    variance (Wang et al. 2026, arXiv 2606.17735). Every token has the advantage of its segment. A segment that one completion
    alone reaches has none.

    Shares differ between completions of equal reward, so that the printed formula learns from groups that are all right or all
    wrong-but-paid, and may punish segments of the best completion.

    Args:
        segment_length: tokens of a segment; that of the slot `erase`, where the run has one.
        attention_tokens: last tokens of a completion whose attention counts.
        layer: whose attention; -1 is the last.
        equal_groups: `learn` gives groups of equal rewards the advantages of the formula, `skip` gives them none.
        control: `shuffled` permutes the shares of each completion among its segments.
    """

    segment_length: int = 1024
    attention_tokens: int = 64
    layer: int = -1
    equal_groups: Literal["learn", "skip"] = "learn"
    control: Literal["none", "shuffled"] = "none"
    _logged: dict[str, float] = field(init=False, repr=False, compare=False, default_factory=dict)
    compares_group = True
    per_token = True
    reads_kl_penalty = False

    def __post_init__(self) -> None:
        if self.segment_length < 1 or self.attention_tokens < 1:
            raise ConfigError(
                "advantage e3rl: segment_length and attention_tokens are 1 or more",
                given=f"segment_length={self.segment_length} attention_tokens={self.attention_tokens}",
            )

    @property
    def needs(self) -> Sequence[AttentionShares]:
        return (AttentionShares(self.attention_tokens, self.layer),)

    def check(self, setup: Setup) -> None:
        """Raise ConfigError where segments are erased that are not those which get an advantage."""
        if setup.erase is not None and setup.erase.segment_length != self.segment_length:
            raise ConfigError(
                "advantage e3rl: segments get their advantage as they are sampled, and the lengths differ",
                given=f"advantage.segment_length={self.segment_length} erase.segment_length={setup.erase.segment_length}",
                hint=f"advantage.segment_length={setup.erase.segment_length}",
            )

    def __call__(self, batch: RolloutBatch) -> Tensor:
        """(B, T) advantages."""
        import torch

        numbers = torch.arange(batch.loss_mask.size(1), device=batch.rewards.device) // self.segment_length
        shares, reached = of_segments(batch.signals["attention_shares"], batch.loss_mask, numbers)
        if self.control == "shuffled":
            shares = shuffled(shares, reached)
        rewards = batch.summed_reward
        judged = reached & ~rewards.isnan().unsqueeze(1)
        of_segment = segment_advantages(shares * rewards.nan_to_num().unsqueeze(1), judged, batch.group_size)
        equal = _equal(rewards.view(-1, batch.group_size)).repeat_interleave(batch.group_size)
        self._note(batch, of_segment, shares, judged, equal)
        if self.equal_groups == "skip":
            of_segment = of_segment.masked_fill(equal.unsqueeze(1), 0.0)
        return of_segment[:, numbers] * batch.loss_mask

    def _note(self, batch: RolloutBatch, of_segment: Tensor, shares: Tensor, judged: Tensor, equal: Tensor) -> None:
        above = (batch.trl_advantages > 0).unsqueeze(1) & judged
        every = judged.any(1)
        values = {
            "largest_share": (shares.amax(1), every),
            "first_share": (shares[:, 0], every),
            "against_reward_share": ((of_segment < 0).float(), above),
            "equal_groups_size": (of_segment.abs(), judged & equal.unsqueeze(1)),
        }
        self._logged.clear()
        self._logged.update({f"segments/{name}": float(batch.mean(*pair)[0]) for name, pair in values.items()})

    @property
    def metrics(self) -> Mapping[str, float]:
        """For the log, after a rollout."""
        return self._logged


def of_segments(shares: Tensor, mask: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of the segments, and which of them have tokens, both (B, N).

    Args:
        shares: (B, T) of tokens.
        mask: (B, T) 0/1.
        numbers: (T,) segment of each token.
    """
    import torch

    belongs = torch.nn.functional.one_hot(numbers).to(shares.dtype)
    return (shares * mask) @ belongs, (mask.to(shares.dtype) @ belongs) > 0


def segment_advantages(rewards: Tensor, judged: Tensor, group_size: int) -> Tensor:
    """(B, N) rewards of segments, normalised over each group by mean and population deviation of those under `judged`.

    0 outside of `judged`, and where one completion alone is judged.
    """
    import torch

    grouped, mask = (values.view(-1, group_size, values.size(1)) for values in (rewards, judged))
    count = mask.sum(1, keepdim=True)
    mean = (grouped * mask).sum(1, keepdim=True) / count.clamp(min=1)
    centred = (grouped - mean) * mask
    variance = (centred**2).sum(1, keepdim=True) / count.clamp(min=1)
    advantages = centred / torch.sqrt(variance + _EPSILON)
    return (advantages * (count > 1)).view_as(rewards)


def shuffled(shares: Tensor, reached: Tensor) -> Tensor:
    """(B, N) with the shares of each row permuted among its segments, drawn from the global generator."""
    import torch

    draws = torch.rand(shares.shape, device=shares.device).masked_fill(~reached, torch.inf)
    return shares.gather(1, draws.argsort(1))


def _equal(grouped: Tensor) -> Tensor:
    """(N,) bool: groups in which all rewards that are known are equal."""
    known = ~grouped.isnan()
    first = grouped.gather(1, known.float().argmax(1, keepdim=True))
    return ((grouped == first) | ~known).all(1)
