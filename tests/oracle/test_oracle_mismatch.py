"""The mismatch of sampler and trainer and its correction: NumPy, TRL's own correction, and a gradient with a known answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fed_trainers import GROUP, TASKS, StockFed, Twins, fed_loop, learning, rollout, save_llama, twins, written
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from rlllm.algorithms.mismatch.correction import RolloutCorrection
from rlllm.algorithms.mismatch.measures import alone, log_ratio, mismatch
from rlllm.rollouts.engines.base import Engine

SHAPE = (4, 5)
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
TRAINER = torch.log(
    torch.tensor([[0.5, 0.2, 0.9, 0.1, 0.3], [0.8, 0.01, 0.4, 1, 1], [0.6, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
)
SAMPLER = torch.log(
    torch.tensor([[0.4, 0.2, 0.3, 0.3, 0.3], [0.8, 0.2, 0.5, 1, 1], [0.6, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
)
"""Nine tokens. Ratios: 1.25, 1, 3, 1/3, 1 (product 1.25); 1, 0.05, 0.8 (product 0.04); 1."""
log_ratios = arrays(np.float64, SHAPE, elements=st.floats(-6, 6))


def test_the_measures_of_nine_tokens_are_those_of_numpy() -> None:
    found = mismatch(TRAINER, SAMPLER, MASK)
    ratios = np.array([1.25, 1, 3, 1 / 3, 1, 1, 0.05, 0.8, 1])
    products = np.array([1.25, 0.04, 1])
    means = np.log(products) / np.array([5, 3, 1])
    wanted = {
        "kl": -np.log(ratios).mean(),
        "k3_kl": (ratios - 1 - np.log(ratios)).mean(),
        "ratio_mean": ratios.mean(),
        "ratio_max": 3,
        "ratio_min": 0.05,
        "ratio_fraction_outside": 3 / 9,
        "chi2_token": (ratios**2).mean() - 1,
        "seq_ratio_mean": products.mean(),
        "seq_ratio_max": 1.25,
        "seq_ratio_min": 0.04,
        "seq_ratio_fraction_outside": 1 / 3,
        "chi2_seq": (products**2).mean() - 1,
        "log_ppl_abs_diff": np.abs(means).mean(),
    }
    assert found == pytest.approx({f"rollout_corr/{name}": value for name, value in wanted.items()}, rel=1e-5)


def test_tokens_without_a_known_probability_are_left_out_of_the_measures() -> None:
    unknown = SAMPLER.clone()
    unknown[0, 2] = unknown[1, 1] = torch.nan
    found = mismatch(TRAINER, unknown, MASK)
    assert found["rollout_corr/ratio_max"] == pytest.approx(1.25)
    assert found["rollout_corr/ratio_fraction_outside"] == pytest.approx(1 / 7)
    assert mismatch(TRAINER, torch.full_like(SAMPLER, torch.nan), MASK) == {}


def test_the_measures_of_two_processes_are_those_of_all_their_tokens() -> None:
    halves = [(TRAINER[rows], SAMPLER[rows], MASK[rows]) for rows in (slice(0, 1), slice(1, 4))]
    seen: list[list[Tensor]] = [[], []]
    for part in halves:  # what every process gives into its two gathers
        mismatch(*part, gather=lambda values, sent=iter(seen): (next(sent).append(values), values)[1])
    sums, extremes = (torch.cat(both) for both in seen)
    answers = iter((sums, extremes))
    assert mismatch(*halves[0], gather=lambda _: next(answers)) == pytest.approx(mismatch(TRAINER, SAMPLER, MASK))


@given(log_ratios)
def test_without_a_difference_every_measure_is_at_its_ideal_and_divergences_are_never_negative(values: Any) -> None:
    logps = -torch.from_numpy(np.abs(values)).float()
    ideal = mismatch(logps, logps, MASK)
    zero = {"kl", "k3_kl", "ratio_fraction_outside", "chi2_token", "seq_ratio_fraction_outside", "chi2_seq"}
    zero |= {"log_ppl_abs_diff"}
    assert {name.removeprefix("rollout_corr/"): value for name, value in ideal.items()} == {
        name.removeprefix("rollout_corr/"): float(name.removeprefix("rollout_corr/") not in zero) for name in ideal
    }
    off = mismatch(logps, logps - torch.from_numpy(values).float(), MASK)
    assert off["rollout_corr/k3_kl"] >= -1e-6
    least, mean, most = (off[f"rollout_corr/ratio_{name}"] for name in ("min", "mean", "max"))
    assert least * (1 - 1e-5) <= mean <= most * (1 + 1e-5)


def numpy_weights(values: np.ndarray, level: str, lower: float | None, upper: float) -> np.ndarray:
    mask = MASK.numpy()
    whole = np.repeat((values * mask).sum(1, keepdims=True), SHAPE[1], 1)
    raw = np.exp(np.clip(values if level == "token" else whole, -20, 20)) * mask
    return np.minimum(raw, upper) if lower is None else np.where((raw < lower) | (raw > upper), 0, raw)


@pytest.mark.parametrize(("threshold", "bounds"), [(2.0, (None, 2.0)), ("0.5_5", (0.5, 5.0)), ("3", (None, 3.0))])
@pytest.mark.parametrize("level", ["token", "sequence"])
@given(log_ratios)
def test_weights_are_those_of_numpy(
    level: str, threshold: Any, bounds: tuple[float | None, float], values: Any
) -> None:
    correction = RolloutCorrection(rollout_is=level, rollout_is_threshold=threshold)
    found, noted = correction.weights(torch.from_numpy(values), MASK, alone)
    wanted = numpy_weights(values, level, *bounds)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)
    kept = wanted[MASK.bool().numpy()]
    assert noted["rollout_is_mean"] == pytest.approx(kept.mean(), rel=1e-4)
    assert 0 <= noted["rollout_is_eff_sample_size"] <= 1 + 1e-5
    normal, also = replace(correction, rollout_is_batch_normalize=True).weights(torch.from_numpy(values), MASK, alone)
    rows = wanted[:3, 0] if level == "sequence" else kept
    if rows.mean():
        np.testing.assert_allclose(normal.numpy(), wanted / rows.mean(), rtol=1e-5)
        assert also["rollout_is_batch_norm_factor"] == pytest.approx(rows.mean(), rel=1e-5)


def numpy_statistic(name: str, values: np.ndarray) -> np.ndarray:
    level, _, kind = name.rpartition("_")
    mask = MASK.numpy()
    tokens = {"k1": -values, "k2": values**2 / 2, "k3": np.exp(values) - 1 - values}[kind]
    if level == "token":
        return tokens
    rows = {
        "seq_sum": (tokens * mask).sum(1),
        "seq_mean": (tokens * mask).sum(1) / np.maximum(mask.sum(1), 1),
        "seq_max": (tokens * mask).max(1),
    }[level]
    return np.repeat(rows[:, None], SHAPE[1], 1)


CRITERIA = [(f"{level}_k{kind}") for level in ("token", "seq_sum", "seq_mean") for kind in (1, 2, 3)]


@pytest.mark.parametrize("name", [*CRITERIA, "seq_max_k2", "seq_max_k3"])
@given(log_ratios)
def test_rejection_is_that_of_numpy(name: str, values: Any) -> None:
    correction = RolloutCorrection(rollout_rs=name, rollout_rs_threshold="0.5_4" if name.endswith("k1") else 1.5)
    kept, noted = correction.keeps(torch.from_numpy(values), MASK, alone)
    statistic, mask = numpy_statistic(name, values), MASK.bool().numpy()
    lower, upper = (np.log(0.5), np.log(4)) if name.endswith("k1") else (-np.inf, 1.5)
    wanted = (statistic >= lower) & (statistic <= upper)
    assert (kept.numpy()[mask] == wanted[mask]).all()
    assert noted["rollout_rs_masked_fraction"] == pytest.approx((~wanted)[mask].mean(), abs=1e-6)
    assert noted["rollout_rs_seq_masked_fraction"] == pytest.approx(((~wanted) & mask).any(1)[:3].mean(), abs=1e-6)


def test_every_criterion_has_to_hold_and_one_number_bounds_a_ratio_on_both_sides() -> None:
    values = torch.log(torch.tensor([[1.0, 1.9, 2.1, 0.6, 0.4]] * 4))
    both = RolloutCorrection(rollout_rs="token_k1,token_k2", rollout_rs_threshold="2,0.2")
    kept, _ = both.keeps(values, torch.ones(SHAPE, dtype=torch.long), alone)
    assert kept[0].tolist() == [True, False, False, True, False]  # k2 of 1.9 is 0.206


# TRL ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"))


def reported(count: int) -> list[list[float]]:
    """Log-probabilities that a sampler might report: around those of a uniform choice, a nat apart; one is not known."""
    draw = torch.Generator().manual_seed(5)
    rows = [(-5.5 + torch.randn(len(ids), generator=draw)).tolist() for ids in written()[:count]]
    rows[2][1] = float("nan")
    return rows


class Reporting(Engine):
    """An engine that answers with written completions and says how likely they were."""

    reports_logps = True

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Any) -> list[list[int]]:
        self.logps = reported(len(prompts))
        return written()[: len(prompts)]

    def stop_ids(self) -> set[int]:
        return {self.tokenizer.eos_token_id}


class StockReporting(StockFed):
    """TRL's trainer, which believes that vLLM has sampled the written completions."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        return written()[: len(prompt_ids)], reported(len(prompt_ids))


MODES: dict[str, tuple[dict[str, Any], RolloutCorrection]] = {
    "token_truncate": ({"clip_min": None, "clip_max": 1.3}, RolloutCorrection("token", 1.3)),
    "token_mask": ({"clip_min": 0.5, "clip_max": 1.6}, RolloutCorrection("token", "0.5_1.6")),
    "sequence_truncate": ({"clip_min": None, "clip_max": 2.0}, RolloutCorrection("sequence", 2.0)),
    "sequence_mask": ({"clip_min": 0.01, "clip_max": 20.0}, RolloutCorrection("sequence", "0.01_20")),
}
"""TRL's mode -> its bounds, and the same under verl's names."""


@pytest.mark.parametrize("mode", MODES)
def test_the_weights_are_those_of_trl(llama: str, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds, correction = MODES[mode]
    monkeypatch.setattr("fed_trainers.StockFed", StockReporting)
    stock = twins(llama, tmp_path, {}).stock
    stock.use_vllm, stock.vllm_importance_sampling_correction = True, True
    stock.vllm_importance_sampling_mode = mode
    stock.vllm_importance_sampling_clip_min = bounds["clip_min"]
    stock.vllm_importance_sampling_clip_max = bounds["clip_max"]
    loop = fed_loop(llama, tmp_path, {}, engine=Reporting, correction=correction)
    outputs = []
    for trainer in (stock, loop):
        trainer.model.train()
        inputs = [trainer.train_dataset[index // GROUP] for index in range(GROUP * len(TASKS))]
        outputs.append(trainer._generate_and_score_completions(inputs))
    mask = outputs[0]["completion_mask"]
    theirs, ours = (output["importance_sampling_ratio"].expand(mask.shape) * mask for output in outputs)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert len(set(theirs[mask.bool()].tolist())) > 5
    assert bool((theirs[mask.bool()] == (0 if "mask" in mode else bounds["clip_max"])).any())


def test_on_a_gpu_the_trainers_probabilities_come_from_the_fused_head(
    llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for path in ("fast", None):
        loop = fed_loop(llama, tmp_path, {}, engine=Reporting, correction=RolloutCorrection("token", 2.0))
        if path is None:
            monkeypatch.setattr(loop, "fast_path", None)
            monkeypatch.setattr(loop, "_passes_over", lambda *_, **__: pytest.fail("logits of the whole vocabulary"))
        loop.model.train()
        inputs = [loop.train_dataset[index // GROUP] for index in range(GROUP * len(TASKS))]
        found.append(loop._generate_and_score_completions(inputs)["importance_sampling_ratio"])
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("loss", ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"])
def test_weighted_losses_have_the_gradients_of_trl(llama: str, tmp_path: Path, loss: str) -> None:
    pair: Twins = twins(llama, tmp_path, {"loss_type": loss, "beta": 0.04})
    pair.stock.use_vllm, pair.stock.vllm_importance_sampling_correction = True, True
    inputs = rollout()
    draw = torch.Generator().manual_seed(2)
    shape = inputs["completion_ids"].shape
    inputs["importance_sampling_ratio"] = 0.1 + 2 * torch.rand(shape, generator=draw)
    inputs["ref_per_token_logps"] = -5.5 + 0.1 * torch.randn(shape, generator=draw)
    found = []
    for trainer in pair.both:
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        trainer.compute_loss(trainer.model, dict(inputs)).backward()
        found.append({name: weights.grad.clone() for name, weights in learning(trainer.model).items()})
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-5)
    assert pair.loop.use_vllm is False
    plain = dict(inputs)
    del plain["importance_sampling_ratio"]
    pair.loop.model.zero_grad()
    pair.loop.compute_loss(pair.loop.model, plain).backward()
    unweighted = {name: weights.grad for name, weights in learning(pair.loop.model).items()}
    assert max(float((unweighted[name] - found[1][name]).abs().max()) for name in unweighted) > 1e-4


# a known answer -------------------------------------------------------------------------------------------------------
REWARDS = torch.tensor([1.0, -0.5, 2.0, 0.25])
SHIFT = torch.tensor([0.9, -0.7, -0.4, 0.3])
"""What the sampler's logits have more than the trainer's."""


def expected_gradient(correction: RolloutCorrection | None, shift: Tensor) -> Tensor:
    """The policy gradient in expectation over completions of two tokens that a shifted sampler draws, all 16 enumerated."""
    theta = torch.tensor([0.2, -0.1, 0.4, 0.0], requires_grad=True)
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    logps = theta.log_softmax(0)[pairs]
    sampling = (theta.detach() + shift).log_softmax(0)[pairs]
    chances = sampling.sum(1).exp()
    difference = log_ratio(logps.detach(), sampling, torch.ones_like(pairs))
    weights = torch.ones(pairs.shape)
    if correction is not None:
        weights, _ = correction.weights(difference, torch.ones_like(pairs), alone)
    value = REWARDS[pairs].sum(1, keepdim=True)
    objective = (chances.unsqueeze(1) * weights * value * logps).sum()
    return torch.autograd.grad(objective, theta)[0]


def test_weights_of_sequences_remove_the_bias_and_bounded_or_token_weights_a_part_of_it() -> None:
    truth = expected_gradient(None, torch.zeros(4))
    bias = {
        name: float((expected_gradient(correction, SHIFT) - truth).norm())
        for name, correction in {
            "none": None,
            "token": RolloutCorrection("token", 1e6),
            "token, truncated": RolloutCorrection("token", 2.0),
            "sequence": RolloutCorrection("sequence", 1e6),
            "sequence, truncated": RolloutCorrection("sequence", 3.0),
        }.items()
    }
    assert bias["none"] > 0.5
    assert bias["sequence"] < 1e-5
    assert bias["sequence, truncated"] < 0.5 * bias["none"]
    assert bias["token"] < bias["none"]
    assert bias["token, truncated"] < bias["none"]


def test_one_token_is_corrected_exactly_by_its_own_weight() -> None:
    theta = torch.tensor([0.2, -0.1, 0.4, 0.0], requires_grad=True)
    logps, sampling = theta.log_softmax(0), (theta.detach() + SHIFT).log_softmax(0)
    weights, _ = RolloutCorrection("token", 1e6).weights(
        (logps.detach() - sampling).unsqueeze(1), torch.ones(4, 1), alone
    )
    objective = (sampling.exp() * weights.squeeze(1) * REWARDS * logps).sum()
    truth = torch.autograd.grad((logps.exp() * REWARDS).sum(), theta, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(objective, theta)[0], truth)
