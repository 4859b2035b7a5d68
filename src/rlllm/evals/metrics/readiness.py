"""`readiness`: whether reinforcement learning has something to build on: what a model reaches, and how often groups differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb

from pydantic import Field

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError
from rlllm.core.records import task_of
from rlllm.evals.items import sampled_row
from rlllm.evals.metrics.base import Metric
from rlllm.evals.request import EvalRequest, Evaluation
from rlllm.evals.reward_values import check_any_judged, first_reward
from rlllm.evals.statistics.intervals import Interval, mean_interval
from rlllm.evals.statistics.pass_estimators import sampled_metrics
from rlllm.evals.teacher_forcing import token_entropies
from rlllm.rewards.verifiers.format import Format

_NONE_MIXED = 0.02
"""Up to this share of mixed groups, at the upper end of the interval, a run does not learn."""
_FEW_MIXED = 0.1
_GROUP = 8
_FORM = 0.5
"""Below this share of completions in the form of an answer, the reward judges the form and not the answer."""
_SURE = 0.05
"""Entropy in nats a token, at the upper end of the interval, from which on down completions of a prompt are nearly one text."""


class _ReadinessSettings(Section):
    """What `params` of a task may hold."""

    group_size: int | None = Field(None, ge=2)
    """Completions of a group in the run that is to come. Default: 8, or as many as are sampled where these are fewer."""


def _measure(request: EvalRequest) -> Evaluation:
    """The curve of pass@k, the share of groups whose completions do not all pass or all fail, the share of completions with one
    marked answer at the end, and the entropy; `findings` in `extra` says what they mean."""
    size = _ReadinessSettings.checked(dict(request.params)).group_size or min(_GROUP, request.samples)
    if size > request.samples:
        raise ConfigError(
            f"groups of {size} are made of at least {size} samples",
            given=f"samples={request.samples} group_size={size}",
            hint=f"samples={size}",
        )
    completions, rewards = request.draw([task_of(record) for record in request.records]), request.required_rewards()
    judged = [
        (row, scores) for row, scores in zip(completions, first_reward(rewards, completions), strict=True) if scores
    ]
    check_any_judged(rewards, len(request.records), len(judged))
    rows = [row for row, _ in judged]
    passed = [[float(score >= 1.0) for score in scores] for _, scores in judged]
    form = Format()
    formed = [[float(form(sample).value or 0.0) for sample in row] for row in rows]
    seed = request.seed
    values = {
        **sampled_metrics(passed, request.ks or _doubled(min(map(len, passed))), seed=seed),
        _mixed_name(size): mean_interval([[mixed_share(row, size)] for row in passed], seed),
        "form": mean_interval(formed, seed),
        "entropy": mean_interval(token_entropies(*request.policy(), rows), seed, bounds=None),
    }
    items = [sampled_row(row, scores) for row, scores in zip(rows, passed, strict=True)]
    flat = [sample for row in rows for sample in row]
    extra = {
        "unjudged": len(completions) - len(rows),
        "truncated": sum(sample.truncated for sample in flat) / len(flat),
        "findings": findings(values, size),
    }
    return Evaluation(items, values, extra)


def mixed_share(passed: Sequence[float], size: int) -> float:
    """The share of the groups of `size` of these completions in which some pass and some fail; 0 of fewer completions."""
    count, right = len(passed), int(sum(passed))
    if count < size:
        return 0.0
    return 1.0 - (comb(right, size) + comb(count - right, size)) / comb(count, size)


def findings(values: Mapping[str, Interval], size: int) -> list[str]:
    """The verdict, and why: whether a run in groups of `size` has something to learn from."""
    mixed, form, entropy = values[_mixed_name(size)], values["form"], values["entropy"]
    ks = sorted(int(name.partition("@")[2]) for name in values if name.startswith("pass@"))
    first, most = values["pass@1"].estimate, values[f"pass@{ks[-1]}"].estimate
    none, few = _upper(mixed) <= _NONE_MIXED, mixed.estimate < _FEW_MIXED
    verdict = "not ready for RL" if none else "hardly ready for RL" if few else "ready for RL"
    said = [f"{verdict}: {mixed.estimate:.0%} of groups of {size} differ, and only these teach"]
    if few:
        side = "harder problems are needed" if first > 0.5 else "easier problems, or sft first"
        said.append(f"nearly all groups are all {'right' if first > 0.5 else 'wrong'}: {side}")
    if form.estimate < _FORM:
        said.append(
            f"{form.estimate:.0%} of completions have one marked answer at the end: teach the form first (rlllm sft)"
        )
    if _upper(entropy) <= _SURE:
        said.append(
            f"entropy {entropy.estimate:.3f} nats a token: the model writes nearly one text, and explores little"
        )
    if ks[-1] > 1:
        said.append(f"pass@{ks[-1]} is {most - first:.2f} above pass@1: what RL can bring to the first answer")
    return said


def _upper(interval: Interval) -> float:
    return interval.estimate if interval.high is None else interval.high


def _mixed_name(size: int) -> str:
    return f"mixed groups of {size}"


def _doubled(samples: int) -> list[int]:
    """1, 2, 4 and so on, up to the samples there are."""
    return [2**power for power in range(samples.bit_length())]


METRIC = Metric(
    name="readiness",
    summary="whether RL has something to build on: pass@k curve, mixed groups, form, entropy",
    measure=_measure,
    needs_reward=True,
    needs_model="policy",
    min_samples=2,
    reads=("ks",),
    settings=_ReadinessSettings,
)
