"""A second oracle: polgrad implements policy losses, advantages and KL estimates anew, and brings verl's and OpenRLHF's code.

Installed for development; a selftest uses it where it is there. It shares no line with the formulas in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import polgrad
import torch
from polgrad import Aggregation, ClipConfig, KLEstimator, KLLossConfig, PolicyLossConfig, RatioKind, SurrogateKind
from polgrad.conformance._vendor import openrlhf_loss, verl_core_algos
from torch import Tensor

from rlllm.algorithms.advantages.confidence import group_normalised
from rlllm.algorithms.advantages.gae import gae, token_rewards
from rlllm.algorithms.advantages.group import leave_one_out
from rlllm.algorithms.advantages.reinforce_plus_plus import from_group_mean
from rlllm.algorithms.losses.base import aggregate, k3
from rlllm.algorithms.losses.dual_clip import DualClip
from rlllm.algorithms.ppo.critic import value_loss
from rlllm.tools.selftest.check import Batch, Check, difference, over_batches, same_loss
from rlllm.tools.selftest.own_parts import LONGEST, inputs_of, rollout_of
from rlllm.tools.selftest.trl_parts import BETA, Trainers, policy_loss

_POLGRAD = f"polgrad {version('polgrad')}"
_VERL, _OPENRLHF = f"verl, in {_POLGRAD}", f"OpenRLHF, in {_POLGRAD}"
_MODES = {
    "token-mean": Aggregation.TOKEN_MEAN,
    "seq-mean-token-mean": Aggregation.SEQ_MEAN_TOKEN_MEAN,
    "seq-mean-token-sum": Aggregation.SEQ_MEAN_TOKEN_SUM,
    "seq-mean-token-sum-norm": Aggregation.TOKEN_SUM_NORM,
}
"""verl's names, which are ours, and polgrad's."""
_POLICY: Mapping[str, tuple[str, Mapping[str, Any], PolicyLossConfig]] = {
    "grpo": (
        "grpo",
        {"epsilon": 0.2, "beta": BETA},
        PolicyLossConfig(
            RatioKind.TOKEN,
            SurrogateKind.PG_CLIP,
            ClipConfig(0.2, 0.2),
            Aggregation.SEQ_MEAN_TOKEN_MEAN,
            kl=KLLossConfig(KLEstimator.K3, BETA),
        ),
    ),
    "dapo": (
        "dapo",
        {"epsilon": 0.2, "epsilon_high": 0.28},
        PolicyLossConfig(RatioKind.TOKEN, SurrogateKind.PG_CLIP, ClipConfig(0.2, 0.28), Aggregation.TOKEN_MEAN),
    ),
    "bnpo": (
        "bnpo",
        {"epsilon": 0.2},
        PolicyLossConfig(RatioKind.TOKEN, SurrogateKind.PG_CLIP, ClipConfig(0.2, 0.2), Aggregation.TOKEN_MEAN),
    ),
    "dr_grpo": (
        "dr_grpo",
        {"epsilon": 0.2},
        PolicyLossConfig(
            RatioKind.TOKEN, SurrogateKind.PG_CLIP, ClipConfig(0.2, 0.2), Aggregation.TOKEN_SUM_NORM, LONGEST
        ),
    ),
    "gspo": (
        "grpo",
        {"epsilon": 0.1, "epsilon_high": 0.2, "importance_sampling_level": "sequence"},
        PolicyLossConfig(
            RatioKind.SEQUENCE, SurrogateKind.PG_CLIP, ClipConfig(0.1, 0.2), Aggregation.SEQ_MEAN_TOKEN_MEAN
        ),
    ),
    "luspo": (
        "luspo",
        {"epsilon": 0.2, "importance_sampling_level": "sequence"},
        PolicyLossConfig(
            RatioKind.SEQUENCE, SurrogateKind.PG_CLIP, ClipConfig(0.2, 0.2), Aggregation.SEQ_MEAN_TOKEN_SUM
        ),
    ),
    "cispo": (
        "cispo",
        {"epsilon_high": 1.2},
        PolicyLossConfig(RatioKind.TOKEN, SurrogateKind.CISPO, ClipConfig(None, 0.2), Aggregation.TOKEN_MEAN),
    ),
}
"""Loss -> TRL's loss type, its settings, and the same in polgrad's words. TRL's `epsilon_high` of cispo is the bound itself."""
_Loss = Callable[[Tensor, Batch], Tensor]


def checks() -> list[Check]:
    """What polgrad, verl or OpenRLHF compute as well."""
    trainers = Trainers()
    return [
        *(_trl_check(trainers, name) for name in _POLICY),
        *_dual_clip(),
        *_critic(),
        *_aggregations(),
        *_estimators(),
        *_advantages(),
    ]


def _both(part: str, against: str, own: _Loss, theirs: _Loss) -> Check:
    """A check of two losses of log-probabilities, values and gradients."""

    def compare(batch: Batch) -> float:
        return same_loss(lambda new: own(new, batch), lambda new: theirs(new, batch), batch)

    return Check(part, against, over_batches(compare))


def _in_polgrad(config: PolicyLossConfig) -> _Loss:
    def loss(new: Tensor, batch: Batch) -> Tensor:
        old, ref, advantages = map(torch.tensor, (batch.old, batch.ref, batch.advantages[:, 0]))
        return polgrad.policy_loss(
            config,
            logprobs=new,
            old_logprobs=old,
            advantages=advantages,
            response_mask=_inside(batch),
            ref_logprobs=ref,
        ).loss

    return loss


def _inside(batch: Batch) -> Tensor:
    return torch.tensor(batch.mask > 0)


def _trl_check(trainers: Trainers, name: str) -> Check:
    loss_type, settings, config = _POLICY[name]
    built: list[Any] = []

    def own(new: Tensor, batch: Batch) -> Tensor:
        if not built:
            built.append(trainers.policy(loss_type, use_bias_correction_kl=False, **settings))
        return policy_loss(built[0], new, batch)

    return _both(f"TRL loss {name}", _POLGRAD, own, _in_polgrad(config))


def _dual_clip() -> list[Check]:
    def own(new: Tensor, batch: Batch) -> Tensor:
        given = inputs_of(batch)
        losses = DualClip(0.2, 0.28, 1.5)(new, given)
        return aggregate(losses, given.mask, "token-mean", tokens=given.mask.sum(), longest=LONGEST)

    def verl(new: Tensor, batch: Batch) -> Tensor:
        given = inputs_of(batch)
        advantages = given.advantages.expand_as(new)
        return verl_core_algos.compute_policy_loss(
            given.old_logps, new, advantages, given.mask, cliprange_low=0.2, cliprange_high=0.28, clip_ratio_c=1.5
        )[0]

    def openrlhf(new: Tensor, batch: Batch) -> Tensor:
        given, loss = inputs_of(batch), openrlhf_loss.PolicyLoss(0.2, 0.28, dual_clip=1.5)
        return loss(new, given.old_logps, given.advantages.expand_as(new), given.mask)[0]

    clip = ClipConfig(0.2, 0.28, ratio_cap=1.5)
    config = PolicyLossConfig(RatioKind.TOKEN, SurrogateKind.PG_CLIP, clip, Aggregation.TOKEN_MEAN)
    return [
        _both("loss dual-clip", _POLGRAD, own, _in_polgrad(config)),
        _both("loss dual-clip", _VERL, own, verl),
        _both("loss dual-clip", _OPENRLHF, own, openrlhf),
    ]


def _critic() -> list[Check]:
    """The value loss; the log-probabilities of a batch stand for values."""

    def own(new: Tensor, batch: Batch) -> Tensor:
        old, returns, mask = map(torch.tensor, (batch.old, batch.values, batch.mask))
        return value_loss(new, old, returns, mask, 0.2)

    def in_polgrad(new: Tensor, batch: Batch) -> Tensor:
        old, returns = torch.tensor(batch.old), torch.tensor(batch.values)
        mode = Aggregation.TOKEN_MEAN
        return polgrad.value_loss(new, old, returns, _inside(batch), clip_eps=0.2, aggregation=mode).loss

    def verl(new: Tensor, batch: Batch) -> Tensor:
        returns, old, mask = map(torch.tensor, (batch.values, batch.old, batch.mask))
        return verl_core_algos.compute_value_loss(new, returns, old, mask, 0.2)[0]

    def openrlhf(new: Tensor, batch: Batch) -> Tensor:
        return openrlhf_loss.ValueLoss(0.2)(new, *map(torch.tensor, (batch.old, batch.values, batch.mask)))

    others = {_POLGRAD: in_polgrad, _VERL: verl, _OPENRLHF: openrlhf}
    return [_both("loss of a critic", name, own, theirs) for name, theirs in others.items()]


def _aggregations() -> list[Check]:
    def own(how: str) -> _Loss:
        def loss(new: Tensor, batch: Batch) -> Tensor:
            mask = torch.tensor(batch.mask)
            return aggregate(new, mask, how, tokens=mask.sum(), longest=LONGEST)

        return loss

    def in_polgrad(how: str) -> _Loss:
        return lambda new, batch: polgrad.aggregate(new, _inside(batch), _MODES[how], norm_len=LONGEST)

    def verl(how: str) -> _Loss:
        return lambda new, batch: verl_core_algos.agg_loss(
            new, torch.tensor(batch.mask), how, loss_scale_factor=LONGEST
        )

    def openrlhf(by_token: bool) -> _Loss:
        return lambda new, batch: openrlhf_loss.aggregate_loss(new, torch.tensor(batch.mask), by_token)

    return [
        *(_both(f"aggregation {how}", _POLGRAD, own(how), in_polgrad(how)) for how in _MODES),
        *(_both(f"aggregation {how}", _VERL, own(how), verl(how)) for how in _MODES),
        _both("aggregation token-mean", _OPENRLHF, own("token-mean"), openrlhf(by_token=True)),
        _both("aggregation seq-mean-token-mean", _OPENRLHF, own("seq-mean-token-mean"), openrlhf(by_token=False)),
    ]


def _estimators() -> list[Check]:
    """k3 in the loss, k1 in the reward."""

    def estimate(new: Tensor, batch: Batch) -> Tensor:
        return (k3(new, torch.tensor(batch.ref)) * torch.tensor(batch.mask)).sum()

    def in_polgrad(new: Tensor, batch: Batch) -> Tensor:
        ref, inside = torch.tensor(batch.ref), _inside(batch)
        return polgrad.kl_estimate(new, ref, KLEstimator.K3, response_mask=inside).sum()

    def verl(new: Tensor, batch: Batch) -> Tensor:
        return (verl_core_algos.kl_penalty(new, torch.tensor(batch.ref), "k3") * torch.tensor(batch.mask)).sum()

    def in_the_reward(batch: Batch) -> float:
        known = _known(batch)
        plain = token_rewards(rollout_of(known))
        shaped = token_rewards(rollout_of(known, BETA * (batch.old - batch.ref)))
        old, ref = torch.tensor(batch.old), torch.tensor(batch.ref)
        expected = polgrad.kl_in_reward(plain.double(), old, ref, KLEstimator.K1, BETA, response_mask=_inside(batch))
        return difference(shaped, expected)

    return [
        _both("KL estimate k3", _POLGRAD, estimate, in_polgrad),
        _both("KL estimate k3", _VERL, estimate, verl),
        Check("KL in the reward, k1", _POLGRAD, over_batches(in_the_reward)),
    ]


def _known(batch: Batch) -> Batch:
    """The batch with 0 for the reward that is unknown, which polgrad has no word for."""
    return Batch(**{**vars(batch), "rewards": np.nan_to_num(batch.rewards)})


def _advantages() -> list[Check]:
    groups = torch.tensor([0, 0, 0, 1, 1, 1])

    def of_rewards(name: str, own: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor]) -> Check:
        def compare(batch: Batch) -> float:
            rewards = torch.tensor(_known(batch).rewards)
            return difference(own(rewards).view(-1), theirs(rewards.view(-1)))

        return Check(f"advantage {name}", _POLGRAD, over_batches(compare))

    def of_values(batch: Batch) -> float:
        rewards, values = torch.tensor(batch.ref), torch.tensor(batch.values)
        lam = torch.full((len(rewards),), 0.9, dtype=torch.float64)
        config = polgrad.GAEConfig(gamma=0.97, lam=0.9)
        expected = polgrad.gae(rewards, values, config=config, response_mask=_inside(batch))[0]
        return difference(gae(rewards, values, torch.tensor(batch.mask), 0.97, lam), expected)

    normal, plain = polgrad.GroupNormConfig(), polgrad.GroupNormConfig(scale="none")
    return [
        of_rewards("group", group_normalised, lambda rewards: polgrad.grpo_advantages(rewards, groups, normal)),
        of_rewards(
            "group, scale_rewards=none",
            lambda rewards: from_group_mean(rewards)[0],
            lambda rewards: polgrad.grpo_advantages(rewards, groups, plain),
        ),
        of_rewards("rloo", leave_one_out, lambda rewards: polgrad.rloo_advantages(rewards, groups)),
        Check("advantage gae", _POLGRAD, over_batches(of_values)),
    ]
