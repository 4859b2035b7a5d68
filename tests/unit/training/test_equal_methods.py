"""A run that equals a simpler method says so in its plan, and is right; a method's own settings make it differ."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import rlllm
from rlllm.stages.catalog import plan, resolve_settings

QUICK: dict[str, Any] = {
    "model": "nano",
    "data": {"name": "arithmetic", "level": 2, "rows": 64, "holdout": 4},
    "rewards": ["exact", {"name": "format", "weight": 0.1}],
    "rollout": {"max_new_tokens": 40, "group_size": 4},
    "eval": {"rows": 0},
    "per_device_train_batch_size": 16,
    "max_steps": 2,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "save_strategy": "no",
}


def planned(**settings: Any) -> Any:
    return plan(resolve_settings("reason", {}, [*{**QUICK, **settings}.items()]))


RATIO = "with one update a rollout every importance ratio is 1 and no clip acts"
ONE = {"num_iterations": 1}
EQUAL = [
    ({"method": "gspo", **ONE}, "equals grpo up to rounding: " + RATIO),
    ({"method": "gmpo", **ONE}, "equals grpo up to rounding: " + RATIO),
    ({"method": "sapo", **ONE}, "equals grpo up to rounding: " + RATIO),
    ({"method": "cispo", **ONE}, "equals grpo with loss=dapo up to rounding: " + RATIO),
    ({"method": "vespo", **ONE}, "equals grpo with loss=dapo up to rounding: " + RATIO),
    ({"method": "kl-cov", **ONE}, "equals grpo with loss=dapo up to rounding: " + RATIO),
    ({"method": "luspo", **ONE}, "equals grpo with loss=luspo up to rounding: " + RATIO),
    ({"loss": "dual-clip"}, "equals grpo with loss=dapo up to rounding: " + RATIO),
    ({"method": "bnpo"}, "equals grpo with loss=dapo up to rounding: one micro-batch is the whole rollout"),
    ({"loss": "dr_grpo", "scale_rewards": "none"}, "equals dr-grpo: the same components and settings"),
    (
        {"method": "gspo", **ONE, "beta": 0.01, "use_bias_correction_kl": False},
        "equals grpo with beta=0.01 up to rounding: " + RATIO,
    ),
    ({"advantage": "self-certainty", "beta": 0.005}, "equals intuitor: the same components and settings"),
    ({"method": "ict"}, "equals grpo: mask=ict changes nothing"),  # the warm-up of 20 steps outlasts the run
    ({"method": "ict", "mask.fraction": 1.0, "mask.warmup_steps": 0}, "equals grpo: mask=ict changes nothing"),
    (
        {"mask": {"name": "random-per-completion", "fraction": 1.0}},
        "equals grpo: mask=random-per-completion changes nothing",
    ),
]
NOT_EQUAL: list[dict[str, Any]] = [
    {"method": "grpo"},
    {"method": "gspo"},
    {"method": "cispo"},
    {"method": "gspo", "num_iterations": 2},
    {"method": "gspo", "gradient_accumulation_steps": 2, "steps_per_generation": 4},
    {"method": "cispo", "epsilon_high": 0.5, **ONE},
    {"method": "gspo", "beta": 0.01, "use_bias_correction_kl": True, **ONE},
    {"method": "gspo", "sampler": "replay", **ONE},
    {"method": "entropy-80-20", **ONE},
    {"method": "bnpo", "gradient_accumulation_steps": 2},
    {"method": "rloo"},
    {"method": "clip-cov", **ONE},
    {"advantage": "self-certainty", "beta": 0.005, "use_bias_correction_kl": True},
    {"method": "intuitor", "kl.where": "nowhere"},
    {"method": "ict", "mask.warmup_steps": 1},
]


@pytest.mark.parametrize(("settings", "text"), EQUAL, ids=str)
def test_a_run_that_equals_a_simpler_method_names_it(settings: dict[str, Any], text: str) -> None:
    made = planned(**settings)
    assert str(made.equals).startswith(text)
    assert ("note", str(made.equals)) in made.lines()
    assert made.to_json()["equals"]["method"] == made.equals.method


@pytest.mark.parametrize("settings", NOT_EQUAL, ids=str)
def test_a_run_that_may_differ_names_none(settings: dict[str, Any]) -> None:
    made = planned(**settings)
    assert made.equals is None
    assert "equals" not in made.to_json()


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        ({"method": "dapo", **ONE}, ("epsilon", "epsilon_high")),
        ({"method": "grpo", "epsilon": 0.3}, ("epsilon",)),
        ({"method": "grpo"}, ()),
        ({"method": "dapo"}, ()),
        ({"method": "grpo", "sampler": "replay"}, ()),
    ],
)
def test_settings_that_do_nothing_are_named(settings: dict[str, Any], idle: tuple[str, ...]) -> None:
    made = planned(**settings)
    assert made.idle == idle


RATIO_METHODS = ("gspo", "gmpo", "sapo", "cispo", "vespo", "kl-cov", "luspo", "dapo", "entropy-80-20", "clip-cov")


@pytest.mark.parametrize("method", RATIO_METHODS)
def test_methods_about_ratios_make_four_updates_a_rollout(method: str) -> None:
    made = planned(method=method, max_steps=8)
    assert (made.batches.steps_per_rollout, made.batches.completions_per_step) == (4, 16)
    assert made.settings["steps_per_generation"] == 4
    assert planned(method=method, max_steps=8, gradient_accumulation_steps=2).settings["steps_per_generation"] == 8
    assert planned(method=method, max_steps=8, steps_per_generation=2).batches.steps_per_rollout == 2


@pytest.mark.parametrize(
    ("settings", "updates"),
    [
        ({"max_steps": 3}, 3),
        ({"data": {**QUICK["data"], "rows": 8}}, 2),
        ({"save_strategy": "steps", "save_steps": 6}, 3),
        ({"save_strategy": "steps", "save_steps": 5}, 1),
        ({"generation_batch_size": 16}, 1),
    ],
    ids=str,
)
def test_fewer_updates_are_made_where_four_do_not_fit(settings: dict[str, Any], updates: int) -> None:
    made = planned(method="gspo", **{"max_steps": 8, **settings})
    assert made.batches.steps_per_rollout == updates
    assert (made.equals is not None) == (updates == 1)


CHANGED = [
    ({"loss_type": "dr_grpo", "scale_rewards": "none"}, "grpo, changed: loss_type=dr_grpo, scale_rewards=none"),
    ({"method": "gspo", "advantage": "rloo", "max_steps": 8}, "gspo, changed: advantage=rloo"),
    ({"mask": {"name": "random", "fraction": 0.2}}, "grpo, changed: mask={name: random, fraction: 0.2}"),
    ({"method": "gspo", **ONE}, "gspo, changed: num_iterations=1"),
    ({"beta": 0.04, "kl": {"where": "nowhere"}}, "grpo, changed: beta=0.04, kl.where=nowhere"),
    ({"method": "grpo", "epsilon": 0.2, "loss": "grpo"}, "grpo: reward minus group mean"),
]


@pytest.mark.parametrize(("settings", "headline"), CHANGED, ids=str)
def test_the_headline_says_what_was_changed_of_the_preset(settings: dict[str, Any], headline: str) -> None:
    made = planned(**settings)
    rows = dict(reversed(made.lines()))
    assert rows["stage"].startswith(f"reason with {headline}")
    assert ("preset" in rows) == ("changed" in headline) == bool(made.to_json()["changed"])


def test_json_holds_the_presets_value_beside_the_given_one() -> None:
    changed = planned(loss_type="dr_grpo", scale_rewards="none").to_json()["changed"]
    assert changed == {
        "loss_type": {"preset": "grpo", "value": "dr_grpo"},
        "scale_rewards": {"preset": "group", "value": "none"},
    }


Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Weights]:
    """The weights after a short run with these settings; equal settings are trained once."""
    from safetensors.torch import load_file

    folder = tmp_path_factory.mktemp("equal")

    @cache
    def train(*settings: tuple[str, Any]) -> Weights:
        run = rlllm.reason(output_dir=folder / str(len(list(folder.iterdir()))), **{**QUICK, **dict(settings)})
        return load_file(next(Path(run.path / "model").glob("*.safetensors")))

    return lambda **settings: train(*sorted(settings.items()))


def distance(first: Weights, second: Weights) -> float:
    return sum(float((first[name].double() - second[name].double()).square().sum()) for name in first) ** 0.5


def slow(*cases: Any) -> list[Any]:
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases]


SGD = {"optim": "sgd", "learning_rate": 0.1}
"""Plain steps: Adam's first ones bring every rounding of a gradient near 0 to full size."""


@pytest.mark.parametrize(
    ("settings", "equal"),
    [
        ({"method": "gspo", **ONE}, {}),
        ({"method": "cispo", **ONE}, {"loss": "dapo"}),
        *slow(
            ({"method": "gmpo", **ONE}, {}),
            ({"method": "sapo", **ONE}, {}),
            ({"method": "vespo", **ONE}, {"loss": "dapo"}),
            ({"method": "kl-cov", **ONE}, {"loss": "dapo"}),
            ({"method": "luspo", **ONE}, {"loss": "luspo"}),
            ({"loss": "dual-clip"}, {"loss": "dapo"}),
            ({"method": "bnpo"}, {"loss": "dapo"}),
        ),
    ],
)
def test_it_ends_with_the_weights_of_the_method_it_equals_up_to_rounding(
    trained: Callable[..., Weights], settings: dict[str, Any], equal: dict[str, Any]
) -> None:
    equality = planned(**settings).equals
    assert (equality.method, equality.changes, equality.to_rounding) == ("grpo", equal, True)
    own, other = trained(**settings, **SGD), trained(**equal, **SGD)
    moved = distance(other, trained(max_steps=1, **SGD))
    assert distance(own, other) < 1e-4 * moved


def test_the_same_components_under_another_name_give_the_same_bytes(trained: Callable[..., Weights]) -> None:
    settings = {"loss": "dr_grpo", "scale_rewards": "none"}
    assert not planned(**settings).equals.to_rounding
    own, other = trained(**settings), trained(method="dr-grpo")
    assert [name for name in own if not torch.equal(own[name], other[name])] == []


LIVELY = {"max_steps": 4, "learning_rate": 5e-3}


@pytest.mark.parametrize(
    ("method", "equal"),
    [
        ("gspo", {}),
        ("cispo", {"loss": "dapo"}),
        *slow(
            ("gmpo", {}),
            ("sapo", {}),
            ("vespo", {"loss": "dapo"}),
            ("kl-cov", {"loss": "dapo"}),
            ("luspo", {"loss": "luspo"}),
            ("clip-cov", {"loss": "dapo"}),
            ("dapo", {"loss": "dapo", "sampler": "dynamic"}),
        ),
    ],
)
def test_by_its_own_settings_a_method_about_ratios_ends_elsewhere(
    trained: Callable[..., Weights], method: str, equal: dict[str, Any]
) -> None:
    """Beside the method that it equals with one update, at as many updates."""
    own, other = trained(method=method, **LIVELY), trained(**equal, **LIVELY, steps_per_generation=4)
    assert distance(own, other) > 1e-3 * distance(other, trained(**QUICK_START))


QUICK_START = {"max_steps": 1}
