"""Each monitor of training dynamics: a series that it names, and one like it that it lets pass."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError, PluginError, UnknownNameError
from rlllm.evals.monitors.dynamics.base import Finding, LoggedStep, Monitor, TrainingFacts
from rlllm.evals.monitors.dynamics.registry import MONITORS, ask, check_allowed, own_monitors

STEPS = 40
WEIGHTS = {"exact": 1.0, "format": 0.1}
Series = Callable[[int], Mapping[str, Any]]
"""Step (from 1) -> the numbers of its row."""


def noise(step: int) -> float:
    return random.Random(step).uniform(-1, 1)


def learning(step: int) -> dict[str, float]:
    """A healthy step of GRPO."""
    return {
        "loss": 1e-6 * noise(step),
        "grad_norm": 0.25 + 0.05 * noise(step),
        "learning_rate": 2e-4,
        "reward": 0.4 + 0.008 * step + 0.05 * noise(step),
        "reward_std": 0.5 + 0.02 * noise(step),
        "rewards/exact/mean": 0.3 + 0.008 * step + 0.05 * noise(step),
        "rewards/exact/std": 0.48,
        "frac_reward_zero_std": 0.1,
        "entropy": 0.12 - 0.001 * step,
        "kl": 0.0005 * step,
        "clip_ratio/region_mean": 0.01,
        "completions/mean_length": 30 + 2 * noise(step),
        "completions/clipped_ratio": 0.02,
    }


def imitating(step: int) -> dict[str, float]:
    """A healthy step of SFT."""
    return {
        "loss": 2.0 * 0.97**step,
        "grad_norm": 0.5,
        "learning_rate": 1e-4,
        "entropy": 1.0 * 0.9**step,
        "epoch": 0.02 * step,
    }


def preferring(step: int) -> dict[str, float]:
    """A healthy step of a reward model."""
    return {"loss": 0.69 - 0.005 * step, "grad_norm": 1.0, "learning_rate": 1e-4, "accuracy": 0.5 + 0.008 * step}


def evaluation(step: int, low: float, high: float) -> dict[str, Any]:
    ends = {"estimate": (low + high) / 2, "low": low, "high": high}
    measure = {"name": "pass@1", "higher_is_better": True, "value": ends, "difference": ends}
    return {"step": step, "measures": [measure]}


def written(text: str, *, reward: Callable[[int], float] = lambda tokens: 0.5) -> list[dict[str, Any]]:
    """A rollout: two prompts, four completions of different length each."""
    lengths = (10, 20, 30, 40)
    return [
        {"prompt": prompt, "completion": (text * 40)[:64], "tokens": n, "reward": reward(n)}
        for prompt in "ab"
        for n in lengths
    ]


def watched(
    name: str, series: Series, *, weights: Mapping[str, float] = WEIGHTS, vocabulary: int = 100, **settings: Any
) -> tuple[int, Finding] | None:
    """What a monitor says of a series of 40 steps, and at which of them."""
    facts = TrainingFacts(STEPS, vocabulary, {"per_device_train_batch_size": 32, **settings}, dict(weights))
    monitor = MONITORS.load(name)(facts)
    for step in range(1, STEPS + 1):
        row = dict(series(step))
        parts = row.pop("completions", ()), row.pop("evaluations", ())
        finding = monitor.observe(LoggedStep(step, row, *parts))
        if finding is not None:
            return step, finding
    return None


def rl(**changed: Callable[[int], Any]) -> Series:
    names = {name.replace("__", "/"): series for name, series in changed.items()}
    return lambda step: {**learning(step), **{name: series(step) for name, series in names.items()}}


def supervised(base: Series, **changed: Callable[[int], Any]) -> Series:
    return lambda step: {**base(step), **{name: series(step) for name, series in changed.items()}}


SICK: dict[str, tuple[str, Series, dict[str, Any], int]] = {
    "all groups alike from step 11 on": (
        "zero_variance_groups",
        rl(frac_reward_zero_std=lambda s: 0.1 if s < 11 else 1.0),
        {},
        18,
    ),
    "one group in forty differs": ("zero_variance_groups", rl(frac_reward_zero_std=lambda s: 0.975), {}, 8),
    "the sampler throws nearly all groups away": (
        "zero_variance_groups",
        rl(sampling__kept_share=lambda s: 0.04, frac_reward_zero_std=lambda s: 0.0),
        {},
        8,
    ),
    "nothing is earned after step 1": (
        "policy_collapse",
        rl(reward=lambda s: 0.4 if s == 1 else 0.0, reward_std=lambda s: 0.5 if s == 1 else 0.0),
        {},
        6,
    ),
    "cut from the start": ("truncation", rl(completions__clipped_ratio=lambda s: 0.95), {}, 5),
    "no end any more": ("missing_eos", rl(completions__clipped_ratio=lambda s: 0.02 if s < 10 else 0.97), {}, 14),
    "deterministic": ("entropy_collapse", rl(entropy=lambda s: 0.12 if s < 10 else 0.001), {}, 14),
    "noise": ("entropy_explosion", rl(entropy=lambda s: 0.12 * 1.2**s), {}, 10),
    "noise that costs reward": (
        "entropy_explosion",
        rl(entropy=lambda s: 0.12 * 1.08**s, reward=lambda s: max(0.01, 0.4 - 0.03 * s)),
        {},
        13,
    ),
    "longer is better": ("length_bias", rl(completions=lambda s: written("ab", reward=lambda n: n / 40)), {}, 5),
    "shorter is better": ("length_bias", rl(completions=lambda s: written("ab", reward=lambda n: -n / 40)), {}, 5),
    "it grows and earns no more": (
        "length_explosion",
        rl(completions__mean_length=lambda s: 30 + 2 * s, rewards__exact__mean=lambda s: 0.3 - 0.001 * s),
        {},
        20,
    ),
    "it shrinks and earns no more": (
        "length_collapse",
        rl(completions__mean_length=lambda s: max(2, 30 - 2 * s), rewards__exact__mean=lambda s: 0.3 - 0.001 * s),
        {},
        11,
    ),
    "the same sign over and over": (
        "repetition",
        rl(completions=lambda s: written("".join(random.Random(s).choices("abcdefgh", k=40)) if s < 9 else "7" * 40)),
        {},
        13,
    ),
    "far from the reference": ("kl_blowup", rl(kl=lambda s: 0.01 * 1.3**s), {"beta": 0.01}, 20),
    "a KL coefficient of a million": ("kl_dominates", rl(kl=lambda s: 0.001), {"beta": 1e6}, 3),
    "half of the tokens are clipped": ("clip_saturation", rl(clip_ratio__region_mean=lambda s: 0.5), {}, 5),
    "three spikes": ("gradient_spikes", rl(grad_norm=lambda s: 300.0 if s in (20, 24, 28) else 0.25), {}, 28),
    "the loss of imitation explodes": (
        "diverging_loss",
        supervised(imitating, loss=lambda s: 0.2 if s < 3 else 30.0),
        {},
        7,
    ),
    "the input drowns": ("diverging_loss", supervised(imitating, loss=lambda s: 6.8 - 0.001 * s), {}, 10),
    "the loss of pairs explodes": (
        "diverging_loss",
        supervised(preferring, loss=lambda s: 0.69 if s < 3 else 9.0),
        {},
        7,
    ),
    "a learning rate of 1e-9": ("no_movement", rl(learning_rate=lambda s: 1e-9), {}, 10),
    "a warm-up of a million steps": (
        "no_movement",
        supervised(imitating, learning_rate=lambda s: 1e-3 * s / 1e6),
        {},
        10,
    ),
    "labels by chance": ("no_signal", supervised(preferring, accuracy=lambda s: 0.5 + 0.05 * noise(s)), {}, 24),
    "by heart": ("memorisation", supervised(imitating, epoch=lambda s: float(s), loss=lambda s: 2.0 * 0.7**s), {}, 10),
    "the reward stands": ("plateau", rl(reward=lambda s: 0.4 + 0.02 * noise(s)), {}, 30),
    "held-out rows got worse": (
        "measure_regression",
        rl(evaluations=lambda s: [evaluation(s, -0.3, -0.1)] if s % 10 == 0 else []),
        {},
        20,
    ),
    "the form alone": (
        "reward_composition",
        rl(reward=lambda s: 0.06 + 0.001 * s, rewards__exact__mean=lambda s: 0.0),
        {},
        10,
    ),
    "the wrong sign": (
        "reward_regression",
        rl(rewards__exact__mean=lambda s: max(0.0, 0.4 - 0.02 * s) + 0.01 * noise(s)),
        {},
        15,
    ),
}
"""What is wrong -> monitor, series, TRL's settings, and the step by which it has to be said."""


@pytest.mark.parametrize("wrong", SICK)
def test_a_monitor_names_its_pathology(wrong: str) -> None:
    name, series, settings, by = SICK[wrong]
    weights = WEIGHTS if "reward" in series(1) else {}
    said = watched(name, series, weights=weights, vocabulary=0 if "accuracy" in series(1) else 100, **settings)
    assert said is not None
    step, finding = said
    assert step <= by
    assert 1 <= finding.onset <= step
    assert all((finding.evidence, finding.cause, finding.hint))


def test_every_monitor_has_a_pathology() -> None:
    assert {name for name, *_ in SICK.values()} == MONITORS.builtins.keys()


PASSES: dict[str, tuple[str, Series, dict[str, Any]]] = {
    "solved: the reward is at its best": (
        "policy_collapse",
        rl(reward=lambda s: min(1.0, 0.4 + 0.1 * s), reward_std=lambda s: 0.0 if s > 6 else 0.5),
        {},
    ),
    "longer and better": ("length_explosion", rl(completions__mean_length=lambda s: 30 + 2 * s), {}),
    "ratios of whole completions": (
        "clip_saturation",
        rl(clip_ratio__region_mean=lambda s: 0.5),
        {"importance_sampling_level": "sequence"},
    ),
    "exploration that gains reward": ("entropy_explosion", rl(entropy=lambda s: 0.12 * min(2.5, 1.08**s)), {}),
    "a fifth of the tokens are clipped": ("clip_saturation", rl(clip_ratio__region_mean=lambda s: 0.2), {}),
    "labels by chance, whose loss is that of guessing": (
        "diverging_loss",
        supervised(preferring, loss=lambda s: 0.8 + 0.02 * noise(s)),
        {},
    ),
    "an untrained model that learns": ("diverging_loss", supervised(imitating, loss=lambda s: 4.7 * 0.99**s), {}),
    "a format that the model has to learn": ("diverging_loss", supervised(imitating, loss=lambda s: 11 * 0.96**s), {}),
    "two spikes": ("gradient_spikes", rl(grad_norm=lambda s: 300.0 if s in (20, 24) else 0.25), {}),
    "a warm-up of half of the run": ("no_movement", supervised(imitating, learning_rate=lambda s: 1e-6 * s / 20), {}),
    "SGD, whose steps are not bounded": ("no_movement", rl(learning_rate=lambda s: 1e-9), {"optim": "sgd"}),
    "one bad evaluation": (
        "measure_regression",
        rl(evaluations=lambda s: [evaluation(s, -0.3, -0.1 if s == 10 else 0.1)] if s % 10 == 0 else []),
        {},
    ),
    "both rewards grow": ("reward_composition", rl(), {}),
    "completions of one length": ("length_bias", rl(completions=lambda s: written("a")[:1] * 4), {}),
}


@pytest.mark.parametrize("case", PASSES)
def test_a_monitor_lets_pass_what_only_looks_like_it(case: str) -> None:
    name, series, settings = PASSES[case]
    assert watched(name, series, weights=WEIGHTS if "reward" in series(1) else {}, **settings) is None


@pytest.mark.parametrize("name", MONITORS.builtins)
@pytest.mark.parametrize(("series", "weights"), [(learning, WEIGHTS), (imitating, {}), (preferring, {})])
def test_a_healthy_run_is_let_pass(name: str, series: Series, weights: dict[str, float]) -> None:
    assert watched(name, series, weights=weights, vocabulary=0 if series is preferring else 100) is None


@pytest.mark.parametrize("name", MONITORS.builtins)
@given(st.lists(st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e30, -1e30]), min_size=1, max_size=12))
def test_no_finite_number_breaks_a_monitor(name: str, values: list[float]) -> None:
    monitor = MONITORS.load(name)(TrainingFacts(len(values), 100, {"beta": 1.0}, WEIGHTS))
    keys = [*learning(1), "accuracy", "epoch"]
    for step, value in enumerate(values, 1):
        rows = [{"prompt": "a", "completion": "x", "tokens": 3, "reward": value}] * 2
        if monitor.observe(LoggedStep(step, dict.fromkeys(keys, value), rows)) is not None:
            break


@pytest.mark.parametrize("name", MONITORS.builtins)
def test_a_monitor_is_listed_under_its_own_name(name: str) -> None:
    kind = MONITORS.load(name)
    assert issubclass(kind, Monitor)
    assert kind.name == name
    assert kind.summary


OWN = """
from rlllm.plugins import Finding, Monitor


class Third(Monitor):
    name = "third"
    summary = "the third step"
    ends = True

    def observe(self, step):
        if step.step == 3:
            return Finding(3, "three steps are enough", "a rule of the house", "think again")


class Broken(Third):
    def observe(self, step):
        return step.values["nowhere"]


class Chatty(Third):
    def observe(self, step):
        return "hello"


def no_class(step):
    return None
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_a_monitor_of_a_user_is_a_class_of_a_file(own: Path) -> None:
    (kind,) = own_monitors([f"{own}:Third"])
    monitor = kind(TrainingFacts(5))
    said = [ask(monitor, LoggedStep(step, {})) for step in (1, 2, 3)]
    assert [finding is None for finding in said] == [True, True, False]
    check_allowed(["third", "plateau", "all"], [kind])


def test_what_is_no_monitor_is_refused(own: Path) -> None:
    with pytest.raises(ConfigError, match="is no monitor"):
        own_monitors([f"{own}:no_class"])
    with pytest.raises(UnknownNameError, match="plato"):
        check_allowed(["plato"], [])


@pytest.mark.parametrize(("name", "says"), [("Broken", "KeyError.*own.py, line"), ("Chatty", "returned a str")])
def test_a_monitor_that_fails_is_named_with_its_file(own: Path, name: str, says: str) -> None:
    (kind,) = own_monitors([f"{own}:{name}"])
    with pytest.raises(PluginError, match=says):
        ask(kind(TrainingFacts(5)), LoggedStep(1, {}))
