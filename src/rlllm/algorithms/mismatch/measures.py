"""How far the sampler's probabilities are from the trainer's, over the tokens of a rollout. Names are verl's (`rollout_corr/`).

The ratio of a token is its probability under the trainer over that under the sampler; of a completion, the product of its
tokens' ratios. Nothing is clipped, masked or weighted before it is measured.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PREFIX = "rollout_corr/"
OUTSIDE = (0.5, 2.0)
"""A token whose ratio is not between these counts as one on which sampler and trainer disagree."""
BOUND = 20.0
"""Log-ratios are cut at this many nats before their exponential is taken, as verl does; exp(20) is 5e8."""


def alone(values: Tensor) -> Tensor:
    """What one process gathers: its own values."""
    return values


def known(sampling_logps: Tensor, mask: Tensor) -> Tensor:
    """(B, T) bool: tokens under the mask whose log-probability the sampler has reported.

    Args:
        sampling_logps: (B, T) nats; nan where unknown.
        mask: (B, T) 0/1 completion tokens that the policy sampled.
    """
    return mask.bool() & ~sampling_logps.isnan()


def log_ratio(logps: Tensor, sampling_logps: Tensor, mask: Tensor) -> Tensor:
    """(B, T) log of trainer over sampler, in nats; 0 on tokens that are not `known`, whose ratio is taken for 1."""
    return (logps - sampling_logps).masked_fill(~known(sampling_logps, mask), 0.0)


def bounded_exp(values: Tensor) -> Tensor:
    """Exponential of log-ratios that are cut at `BOUND` nats on both sides."""
    return values.clamp(-BOUND, BOUND).exp()


def mismatch(
    logps: Tensor, sampling_logps: Tensor, mask: Tensor, gather: Callable[[Tensor], Tensor] = alone
) -> dict[str, float]:
    """Metric name -> value over all processes; empty where no token is known.

    `kl` and `k3_kl` estimate KL(sampler || trainer) a token by k1 and k3 (Schulman 2020), in nats; `ratio_*` are of tokens,
    `seq_ratio_*` of completions, `*_fraction_outside` the share of those outside of `OUTSIDE`; `chi2_token` and `chi2_seq` are
    the mean squared ratio minus 1; `log_ppl_abs_diff` is the mean over completions of the distance of mean log-probabilities.

    Args:
        logps: (B, T) nats under the trainer's policy with the weights that sampled.
        sampling_logps: (B, T) nats as the sampler reports them; nan where unknown.
        mask: (B, T) 0/1 completion tokens that the policy sampled.
        gather: concatenates (1, n) tensors of all processes to (processes, n).
    """
    is_known = known(sampling_logps, mask)
    difference = log_ratio(logps.detach().float(), sampling_logps.float(), mask)
    lengths = is_known.sum(1)
    whole = difference.sum(1)[lengths > 0]
    means = whole / lengths[lengths > 0]
    tokens, ratios = difference[is_known], bounded_exp(difference[is_known])
    sequences = bounded_exp(whole)
    sums = torch.stack(
        [
            is_known.sum().float(),
            -tokens.sum(),
            (ratios - tokens - 1).sum(),
            ratios.sum(),
            ratios.square().sum(),
            _outside(ratios),
            (lengths > 0).sum().float(),
            sequences.sum(),
            sequences.square().sum(),
            _outside(sequences),
            means.abs().sum(),
        ]
    )
    extremes = torch.stack([_largest(part) for part in (ratios, -ratios, sequences, -sequences)])
    count, k1, k3, total, squares, outside, rows, seq_total, seq_squares, seq_outside, distance = (
        gather(sums.unsqueeze(0)).sum(0).tolist()
    )
    largest, smallest, seq_largest, seq_smallest = gather(extremes.unsqueeze(0)).amax(0).tolist()
    if not count:
        return {}
    values = {
        "kl": k1 / count,
        "k3_kl": k3 / count,
        "ratio_mean": total / count,
        "ratio_max": largest,
        "ratio_min": -smallest,
        "ratio_fraction_outside": outside / count,
        "chi2_token": squares / count - 1,
        "seq_ratio_mean": seq_total / rows,
        "seq_ratio_max": seq_largest,
        "seq_ratio_min": -seq_smallest,
        "seq_ratio_fraction_outside": seq_outside / rows,
        "chi2_seq": seq_squares / rows - 1,
        "log_ppl_abs_diff": distance / rows,
    }
    return {PREFIX + name: value for name, value in values.items()}


def _outside(ratios: Tensor) -> Tensor:
    return ((ratios < OUTSIDE[0]) | (ratios > OUTSIDE[1])).sum().float()


def _largest(values: Tensor) -> Tensor:
    return values.max() if values.numel() else values.new_tensor(-torch.inf)
