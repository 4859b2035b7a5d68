"""Losses, advantages and estimators of rlllm itself, against the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlllm.algorithms.advantages.best_of import best_of
from rlllm.algorithms.advantages.confidence import LowEntropy, SelfCertainty
from rlllm.algorithms.advantages.consistency import GroupConsistency
from rlllm.algorithms.advantages.gae import gae
from rlllm.algorithms.advantages.group import leave_one_out
from rlllm.algorithms.advantages.information_gain import InformationGain
from rlllm.algorithms.advantages.lagrange import constrained
from rlllm.algorithms.advantages.pairwise import pairwise
from rlllm.algorithms.advantages.reinforce_plus_plus import LitePPO, ReinforcePlusPlus, ReinforcePlusPlusBaseline
from rlllm.algorithms.advantages.remax import over_greedy
from rlllm.algorithms.advantages.segments import SegmentShares
from rlllm.algorithms.advantages.self_distillation import DASD, OPSD, RLRT, RLSD
from rlllm.algorithms.advantages.stability import StaRPO
from rlllm.algorithms.batch import RolloutBatch
from rlllm.algorithms.covariance import covariance
from rlllm.algorithms.losses.base import AGGREGATIONS, LossInputs, aggregate, k3, sequence_ratio
from rlllm.algorithms.losses.dual_clip import DualClip
from rlllm.algorithms.losses.gmpo import GMPO
from rlllm.algorithms.losses.kl_cov import KLCov
from rlllm.algorithms.losses.luffy import LUFFY
from rlllm.algorithms.losses.rloo import RLOO
from rlllm.algorithms.masks.clip_cov import ClipCov
from rlllm.algorithms.masks.top_share import ICT, EntropyPerCompletion
from rlllm.algorithms.ppo.critic import value_loss
from rlllm.algorithms.preference.contrastive import completion_logps, contrastive_loss, negative_log_likelihood
from rlllm.algorithms.preference.cpo import alpha_reward
from rlllm.algorithms.preference.orpo import log_odds_ratio
from rlllm.algorithms.preference.rrhf import rrhf_loss
from rlllm.algorithms.preference.settings import CONTRASTIVE
from rlllm.algorithms.prm_trainer import IGNORED, step_loss
from rlllm.algorithms.protocols import Advantage, Loss
from rlllm.algorithms.samplers.curriculum import TIERS, Curriculum
from rlllm.algorithms.signals.sibling_distributions import divergence_from_mean
from rlllm.core.records import PromptTask, Sample
from rlllm.evals.statistics.pass_estimators import pass_at_k
from rlllm.parsing.tagged_reasoning import TaggedReasoning, write_tagged
from rlllm.rewards.verifiers.tagged.reward import CueProcess
from rlllm.rollouts.dialogue.play import PROPOSER, Protocol, State, Turn
from rlllm.rollouts.dialogue.regret import RegretTable, counted
from rlllm.rollouts.dialogue.replay import Audit, outcomes
from rlllm.rollouts.dialogue.stopping import StopValues, attempts, visits_of
from rlllm.tools.selftest import formulas
from rlllm.tools.selftest.check import Batch, Check, difference, over_batches, with_gradient
from rlllm.tools.selftest.formulas import Array

AGAINST = "formula"
LONGEST = 12
"""Length limit by which sums over tokens are divided."""


def checks() -> list[Check]:
    """One check for each part."""
    return [*_losses(), *_aggregations(), *_estimators(), *_advantages(), *_preference_losses()]


def inputs_of(batch: Batch) -> LossInputs:
    """A batch as losses read it."""
    old, mask, advantages = map(torch.tensor, (batch.old, batch.mask, batch.advantages))
    return LossInputs(old, advantages, mask, off_policy=torch.tensor(batch.off_policy > 0))


def rollout_of(batch: Batch, penalties: Array | None = None) -> RolloutBatch:
    """A batch as advantages read it, with one reward."""
    empty = torch.zeros(batch.mask.shape, dtype=torch.long)
    rows = len(batch.mask)
    return RolloutBatch(
        prompt_ids=empty,
        prompt_mask=empty,
        completion_ids=empty,
        loss_mask=torch.tensor(batch.mask).long(),
        group_size=batch.rewards.shape[1],
        rewards=torch.tensor(batch.rewards).view(-1, 1),
        weights=torch.ones(1, dtype=torch.float64),
        trl_advantages=torch.zeros(rows),
        extra_fields=[{} for _ in range(rows)],
        kl_penalty=None if penalties is None else torch.tensor(penalties),
    )


def _losses() -> list[Check]:
    """Value and gradient of every loss of ours, summed over the tokens that learn."""

    def check(name: str, loss: Loss, formula: Callable[[Array, Batch], Array]) -> Check:
        def compare(batch: Batch) -> float:
            given = inputs_of(batch)
            return with_gradient(
                lambda new: (loss(new, given) * given.mask).sum(),
                lambda new: float((formula(new, batch) * batch.mask).sum()),
                batch,
            )

        return Check(f"loss {name}", AGAINST, over_batches(compare))

    def ratio(new: Array, b: Batch) -> Array:
        return np.exp(new - b.old)

    return [
        check(
            "dual-clip",
            DualClip(0.2, 0.3, 1.5),
            lambda new, b: formulas.dual_clip(ratio(new, b), b.advantages, 0.2, 0.3, 1.5),
        ),
        check(
            "rloo",
            RLOO(),
            lambda new, b: formulas.clipped(formulas.product_ratio(new, b.old, b.mask), b.advantages, 0.2, 0.2),
        ),
        check("gmpo", GMPO(0.3), lambda new, b: formulas.gmpo(new, b.old, b.mask, b.advantages, 0.3)),
        check(
            "kl-cov",
            KLCov(beta=0.7, fraction=0.2),
            lambda new, b: formulas.kl_cov(new, b.old, b.advantages, b.mask, 0.7, 0.2),
        ),
        check("luffy", LUFFY(0.1), lambda new, b: formulas.luffy(new, b.old, b.off_policy, b.advantages, 0.1)),
        Check("loss of a process reward model", AGAINST, over_batches(_step_loss)),
        Check("loss of a critic", AGAINST, over_batches(lambda b: max(_value_loss(b, clip) for clip in (None, 0.2)))),
    ]


def _step_loss(batch: Batch) -> float:
    """Logits of two labels; tokens outside of the mask have none."""
    labels = np.where(batch.mask > 0, batch.off_policy, IGNORED)
    outputs = SimpleNamespace(logits=torch.tensor(np.stack([batch.new, batch.values], axis=2)))
    chances = formulas.sigmoid((batch.values - batch.new) * np.where(labels == 1, 1, -1))
    expected = -(np.log(chances) * batch.mask).sum() / batch.mask.sum()
    return difference(step_loss(outputs, torch.tensor(labels).long()), expected)


def _value_loss(batch: Batch, clip: float | None) -> float:
    parts = (batch.values, batch.values + 0.3 * batch.new, batch.ref)
    expected = formulas.value_loss(*parts, batch.mask, clip)
    values, old, returns, mask = map(torch.tensor, (*parts, batch.mask))
    return difference(value_loss(values, old, returns, mask, clip), expected)


def _aggregations() -> list[Check]:
    def check(how: str) -> Check:
        def compare(batch: Batch) -> float:
            losses, mask = torch.tensor(batch.new), torch.tensor(batch.mask)
            computed = aggregate(losses, mask, how, tokens=40.0, longest=LONGEST)
            return difference(computed, formulas.aggregated(batch.new, batch.mask, how, 40.0, LONGEST))

        return Check(f"aggregation {how}", AGAINST, over_batches(compare))

    return [check(how) for how in AGGREGATIONS]


def _estimators() -> list[Check]:
    def of(function: Callable[..., Any], formula: Callable[..., Any], names: str) -> Callable[[], float]:
        def compare(batch: Batch) -> float:
            arrays = [getattr(batch, name) for name in names.split()]
            computed, mask = function(*map(torch.tensor, arrays)), torch.tensor(batch.mask)
            return difference(computed * mask, formula(*arrays) * batch.mask)

        return over_batches(compare)

    def ratio(new: Tensor, old: Tensor, mask: Tensor) -> Tensor:
        return sequence_ratio(new - old, mask)

    def passes() -> float:
        rows = [(n, right, k) for n in (1, 4, 9) for right in range(n + 1) for k in range(1, n + 1)]
        expected = [1 - math.comb(n - right, k) / math.comb(n, k) for n, right, k in rows]
        return difference([pass_at_k(*row) for row in rows], expected)

    return [
        Check("KL estimate k3", AGAINST, of(k3, formulas.k3, "new ref")),
        Check("ratio of a completion", AGAINST, of(ratio, formulas.sequence_ratio, "new old mask")),
        Check("covariance of tokens", AGAINST, of(covariance, formulas.covariance, "new advantages mask")),
        Check("mask clip-cov", AGAINST, over_batches(_clip_cov)),
        Check("mask ict", AGAINST, over_batches(_ict)),
        Check("mask entropy-per-completion", AGAINST, over_batches(_entropy_per_completion)),
        Check("pass@k", AGAINST, passes),
        Check("dialogue tracer", AGAINST, _regrets),
        Check("dialogue stopping", AGAINST, _stopping_values),
        Check("credit of a message by replays", AGAINST, _replay_credits),
        Check("sampler curriculum", AGAINST, _curriculum),
        Check("reward cues", AGAINST, _cue_f1),
    ]


def _curriculum() -> float:
    """Positions and weights along rollouts whose rewards rise, fall and leave tiers out."""
    generator = np.random.default_rng(2)
    means = np.clip(np.linspace(0.9, 0.1, 60)[:, None] + generator.normal(0, 0.3, (60, 4)), 0, 1)
    means[generator.random(means.shape) < 0.3] = np.nan
    sampler = Curriculum()
    sampler.begin(4, 0)
    sampler.measured([PromptTask(str(tier)) for tier in range(4)], [[1.0] * n + [0.0] * (4 - n) for n in (4, 2, 1, 0)])
    positions, weights = [], []
    for row in means:
        drawn = np.flatnonzero(~np.isnan(row)).tolist()
        sampler.observe(drawn, torch.tensor(row[drawn]).unsqueeze(1))
        positions.append(sampler.position)
        weights.append([sampler.weight(tier) for tier in TIERS])
    path, expected = formulas.curriculum(means)
    return max(difference(torch.tensor(positions), path), difference(torch.tensor(weights), expected))


def _cue_f1() -> float:
    """Cues of each channel, named or not and expected or not at random."""
    generator, words = np.random.default_rng(3), [f"cue{number}" for number in range(6)]
    computed, expected = [], []
    for _ in range(50):
        used, wanted = generator.integers(0, 2, (2, 12))
        seen, heard = (" ".join(np.array(words)[row > 0]) for row in (used[:6], used[6:]))
        text = "".join(write_tagged(TaggedReasoning(seen, heard, "agree", "", "lie")))
        meta = {"cues_v": list(np.array(words)[wanted[:6] > 0]), "cues_a": list(np.array(words)[wanted[6:] > 0])}
        computed.append(CueProcess(cap=12)(Sample("", text, "lie", meta)).value)
        expected.append(formulas.f1(used, wanted))
    return difference(computed, expected)


def _regrets() -> float:
    """The table after single visits."""
    values = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    table = RegretTable()
    for silent, spoken in values:
        table.update(counted([("key", silent, spoken)]))
    return difference(table.to_json()["key"]["regrets"], formulas.regret_matching(values))


def _stopping_values() -> float:
    """The values of all states of made-up attempts."""
    answers = np.random.default_rng(1).integers(0, 3, (60, 5))
    runs = [
        attempts([f"#### {answer}" for answer in row], {f"#### {answer}": answer == 0 for answer in row}, 0.05)
        for row in answers.tolist()
    ]
    fitted = StopValues(5)
    fitted.update(*visits_of(runs))
    names = {key: number for number, key in enumerate(sorted({key for run in runs for key in run.keys}))}
    states = np.array([[names[key] for key in run.keys] for run in runs])
    expected = formulas.stopping_values(np.array([run.utilities for run in runs]), states)
    return difference([[fitted.value(key) for key in run.keys] for run in runs], expected)


def _replay_credits() -> float:
    """First proposals of a dialogue whose last one is right or wrong by chance."""
    right = np.random.default_rng(2).integers(0, 2, (3, 4, 5))
    task, coins = PromptTask("2+2?", "4"), iter(right.flatten())
    turn = Turn(1, 0, PROPOSER, task.prompt, None, None, "", 1.0, 0.0, True)
    audits = [Audit(task, State(turns=[turn]), turn, ["#### 5"] * right.shape[1])] * len(right)
    found = outcomes(
        audits,
        Protocol(turns=3, controllers=False, reviewer=False),
        lambda asked, _="": [Sample(one.prompt, f"#### {5 - next(coins)}") for one in asked],
        probability=lambda key: 1.0,
        draw=lambda count: [0.0] * count,
        judge=lambda answers: [answer.completion == "#### 4" for answer in answers],
        replays=right.shape[2],
    )
    return difference(
        leave_one_out(torch.tensor(found, dtype=torch.float64)), formulas.replay_credits(right.astype(float))
    )


def _clip_cov(batch: Batch) -> float:
    """With a fraction of 1 every token of the band is dropped, so that nothing is drawn."""
    advantages = torch.tensor(batch.advantages[:, 0])
    rollout = replace(rollout_of(batch), signals={"logps": torch.tensor(batch.new)}, advantages=advantages)
    values = formulas.covariance(batch.new, batch.advantages, batch.mask)
    return difference(ClipCov(1.0, 0.1, 1.0)(rollout), formulas.outside_band(values, batch.mask, 0.1, 1.0))


def _ict(batch: Batch) -> float:
    """The divergence, and then the choice by it. Distributions of four words follow from the batch's numbers."""
    scores = np.stack([batch.new, batch.old, batch.ref, batch.values], axis=-1)
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    size = batch.rewards.shape[1]
    groups = zip(
        shares.reshape(-1, size, *shares.shape[1:]), batch.mask.reshape(-1, size, shares.shape[1]), strict=True
    )
    expected = np.concatenate([formulas.divergence_from_siblings(*group) for group in groups])
    mask, logps = torch.tensor(batch.mask), torch.tensor(shares).log()
    computed = divergence_from_mean(logps.unflatten(0, (-1, size)), mask.unflatten(0, (-1, size))).flatten(0, 1) * mask
    signals = {"sibling_divergence": computed, "logps": torch.tensor(batch.new), "purity": torch.tensor(batch.old)}
    chosen = ICT(0.3, warmup_steps=0)(replace(rollout_of(batch), signals=signals))
    wanted = formulas.highest_of_each(np.round(expected, 12) - 1e-9 * np.arange(expected.shape[1]), batch.mask, 0.3)
    return max(difference(computed, expected), difference(chosen, wanted))


def _entropy_per_completion(batch: Batch) -> float:
    rollout = replace(rollout_of(batch), signals={"entropies": torch.tensor(batch.values)})
    chosen = EntropyPerCompletion(0.3, warmup_steps=0)(rollout)
    return difference(chosen, formulas.highest_of_each(batch.values, batch.mask, 0.3))


def _advantages() -> list[Check]:
    def of_rewards(name: str, function: Callable[[Tensor], Tensor], formula: Callable[[Array], Array]) -> Check:
        def compare(batch: Batch) -> float:
            return difference(function(torch.tensor(batch.rewards)), formula(batch.rewards))

        return Check(f"advantage {name}", AGAINST, over_batches(compare))

    def check(name: str, compare: Callable[[Batch], float]) -> Check:
        return Check(f"advantage {name}", AGAINST, over_batches(compare))

    return [
        check(
            "self-certainty", lambda b: _confidence(b, SelfCertainty(), {"certainty": torch.tensor(b.values)}, b.values)
        ),
        check("low-entropy", lambda b: _confidence(b, LowEntropy(), {"entropies": torch.tensor(-b.values)}, b.values)),
        of_rewards("rloo", leave_one_out, formulas.leave_one_out),
        of_rewards("best-of", best_of, formulas.best_of),
        check("lite", lambda b: difference(LitePPO()(rollout_of(b)), formulas.lite_ppo(b.rewards).reshape(-1))),
        check("reinforce++", _reinforce_plus_plus),
        check("reinforce++-baseline", _reinforce_plus_plus_baseline),
        check("gae", _gae),
        check("pairwise", _pairwise),
        check("lagrange", _lagrange),
        check("remax", _remax),
        *(check(name, partial(_self_distilled, name)) for name in ("dasd", "opsd", "rlsd", "rlrt")),
        check("starpo", _starpo),
        check("e3rl", _segment_shares),
        check("vac-group", _group_consistency),
        check("information-gain", _information_gain),
    ]


def _group_consistency(batch: Batch) -> float:
    """Completions of a reward of at least 1/2 are right; the log-probability of an answer is made of the batch's numbers."""
    logps = batch.ref.sum(1).reshape(batch.rewards.shape)
    expected = formulas.group(batch.rewards + 0.3 * formulas.likelier_than_right_mean(logps, batch.rewards))
    rollout = replace(rollout_of(batch), names=["judged"], signals={"answer_logps": torch.tensor(logps.reshape(-1))})
    part = GroupConsistency(weight=0.3, correct="judged")
    return difference(part(rollout), expected.reshape(-1))


def _information_gain(batch: Batch) -> float:
    """Gains are the batch's rewards, and every token is of the thought."""
    gains = batch.rewards.reshape(-1, 1)
    signal = torch.tensor(np.broadcast_to(gains, batch.mask.shape).copy())
    found = InformationGain()(replace(rollout_of(batch), signals={"thought_gain": signal}))
    return difference(found, formulas.leave_one_out(batch.rewards).reshape(-1, 1) * batch.mask)


def _confidence(batch: Batch, advantage: Advantage, signals: Mapping[str, Tensor], values: Array) -> float:
    scores = (values * batch.mask).sum(1) / batch.lengths
    expected = formulas.group(scores.reshape(batch.rewards.shape)).reshape(-1)
    return difference(advantage(replace(rollout_of(batch), signals=signals)), expected)


def _starpo(batch: Batch) -> float:
    """Every token is a step, its state made of the batch's numbers. The bonus of what was not judged is unknown as well."""
    states = np.stack([batch.new, batch.old, batch.ref, batch.values], axis=-1)
    acf, efficiency = formulas.stability(states, batch.mask)
    expected = formulas.group(batch.rewards + (0.3 * acf + 0.2 * efficiency).reshape(batch.rewards.shape))
    hidden = torch.tensor(states).masked_fill(torch.tensor(batch.mask).unsqueeze(2) == 0, torch.nan)
    rollout = replace(rollout_of(batch), signals={"step_hidden_states": hidden})
    return difference(StaRPO(acf_weight=0.3, pe_weight=0.2)(rollout), expected.reshape(-1))


def _segment_shares(batch: Batch) -> float:
    """Segments of three tokens, whose shares are made of the batch's numbers."""
    shares = np.exp(batch.old) * batch.mask
    shares = shares / shares.sum(1, keepdims=True).clip(min=1e-9)
    rollout = replace(rollout_of(batch), signals={"attention_shares": torch.tensor(shares)})
    expected = formulas.segment_shares(batch.rewards, shares, batch.mask, 3)
    return difference(SegmentShares(3)(rollout), expected)


def _self_distilled(name: str, batch: Batch) -> float:
    """The teacher's log-probabilities are those of the reference."""
    gaps, group = batch.ref - batch.new, batch.advantages * np.ones_like(batch.new)
    judged = batch.mask * ~np.isnan(batch.rewards.reshape(-1, 1))
    part, expected = {
        "dasd": (DASD(dasd_beta=0.3), group + 0.3 * formulas.dasd(gaps, batch.values, judged)),
        "opsd": (OPSD(), gaps),
        "rlsd": (RLSD(), formulas.rlsd(group, gaps, 0.5, 0.2)),
        "rlrt": (RLRT(), formulas.rlrt(group, gaps, 0.5, 1.0)),
    }[name]
    signals = {"logps": batch.new, "teacher_logps": batch.ref, "entropies": batch.values}
    rollout = replace(
        rollout_of(batch),
        signals={signal: torch.tensor(values) for signal, values in signals.items()},
        trl_advantages=torch.tensor(batch.advantages[:, 0]),
    )
    return difference(part(rollout) * torch.tensor(batch.mask), expected * batch.mask)


def _reinforce_plus_plus(batch: Batch) -> float:
    penalties = 0.1 * (batch.new - batch.ref)
    expected = formulas.reinforce_plus_plus(batch.rewards.reshape(-1), penalties, batch.mask)
    return difference(ReinforcePlusPlus()(rollout_of(batch, penalties)), expected)


def _reinforce_plus_plus_baseline(batch: Batch) -> float:
    expected = formulas.reinforce_plus_plus_baseline(batch.rewards, batch.mask)
    return difference(ReinforcePlusPlusBaseline()(rollout_of(batch)), expected)


def _gae(batch: Batch) -> float:
    lam = torch.full((len(batch.mask),), 0.9, dtype=torch.float64)
    rewards, values, mask = map(torch.tensor, (batch.new, batch.values, batch.mask))
    return difference(
        gae(rewards, values, mask, 0.97, lam), formulas.gae(batch.new, batch.values, batch.mask, 0.97, 0.9)
    )


def _pairwise(batch: Batch) -> float:
    ratios = ((batch.new - batch.ref) * batch.mask).sum(1).reshape(batch.rewards.shape)
    computed = pairwise(torch.tensor(batch.rewards), torch.tensor(ratios), 0.5)
    return difference(computed, formulas.pairwise(batch.rewards, ratios, 0.5))


def _costs(batch: Batch) -> Array:
    return batch.values[:, 0].reshape(batch.rewards.shape)


def _lagrange(batch: Batch) -> float:
    computed = constrained(torch.tensor(batch.rewards), torch.tensor(_costs(batch)), math.log(2.5))
    return difference(computed, formulas.constrained(batch.rewards, _costs(batch), 2.5))


def _remax(batch: Batch) -> float:
    computed = over_greedy(torch.tensor(batch.rewards), torch.tensor(_costs(batch)))
    return difference(computed, formulas.remax(batch.rewards, _costs(batch)))


def sides(batch: Batch) -> tuple[Array, Array]:
    """Mean log-probabilities of three chosen and three rejected completions."""
    means = (batch.new * batch.mask).sum(1) / batch.lengths
    return means[::2], means[1::2]


def _preference_losses() -> list[Check]:
    def check(name: str, function: Callable[..., Any], formula: Callable[..., Any]) -> Check:
        def compare(batch: Batch) -> float:
            arrays = sides(batch)
            return difference(function(*map(torch.tensor, arrays)), formula(*arrays))

        return Check(f"preference {name}", AGAINST, over_batches(compare))

    def contrast(kind: str, margin: float = 0.0) -> tuple[Callable[..., Any], Callable[..., Any]]:
        return (
            lambda won, lost: contrastive_loss(won, lost, loss_type=kind, beta=0.7, label_smoothing=0.1, margin=margin),
            lambda won, lost: formulas.contrast(kind, won - lost, 0.7, 0.1, margin),
        )

    def token_means(batch: Batch) -> float:
        log_probs, mask = torch.tensor(batch.new * batch.mask), torch.tensor(batch.mask)
        rows = difference(
            completion_logps(log_probs, mask, per_token=True), (batch.new * batch.mask).sum(1) / batch.lengths
        )
        expected = -(batch.new * batch.mask).sum() / batch.mask.sum()
        return max(rows, difference(negative_log_likelihood(log_probs, mask), expected))

    return [
        *(check(kind, *contrast(kind)) for kind in CONTRASTIVE),
        check("simpo, tpo-l", *contrast("simpo", 0.4)),
        check("alphapo", lambda w, _: alpha_reward(w, 0.25), lambda w, _: formulas.alpha_reward(w, 0.25)),
        check("rrhf", rrhf_loss, formulas.rrhf),
        Check("preference imitation", AGAINST, over_batches(token_means)),
        Check("preference orpo", AGAINST, over_batches(_odds), tolerance=1e-5),
    ]


def _odds(batch: Batch) -> float:
    """ORPO computes in 32 bits, as TRL does."""
    chosen, rejected = sides(batch)
    return difference(
        log_odds_ratio(torch.tensor(chosen), torch.tensor(rejected)), formulas.log_odds_ratio(chosen, rejected)
    )
