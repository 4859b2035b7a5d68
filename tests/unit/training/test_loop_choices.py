"""Choices of the loop that cannot work, and functions of a user's own: all known when a run is planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlllm.algorithms.components import SlotSpec, component
from rlllm.core.errors import ConfigError
from rlllm.stages.catalog import plan, resolve_settings

SMALL = {"name": "arithmetic", "rows": 40, "holdout": 4}
VOTE = [{"name": "exact", "weight": 0}, "majority"]


def planned(**settings: Any) -> Any:
    return plan(resolve_settings("reason", {"data": SMALL}, settings.items()))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss_type": "grop"}, "unknown loss: grop\nhint: did you mean grpo?"),
        ({"scale_rewards": "groups"}, "unknown scale_rewards: groups"),
        ({"importance_sampling_level": "word"}, "exists: sequence, token"),
        ({"multi_objective_aggregation": "sum"}, "unknown multi_objective_aggregation: sum"),
        ({"mask": "entropi"}, "unknown mask: entropi\nhint: did you mean entropy?"),
        (
            {"sampler": "dynamic", "sampler.max_rounds": "x"},
            "max_rounds of sampler dynamic: input should be a valid integer",
        ),
        ({"sampler": "dynamic", "sampler.max_rounds": 2.5}, "given: max_rounds: 2.5"),
        ({"sampler.max_rounds": 2}, "name a component that does: sampler=NAME"),
        ({"mask": "random", "mask.fraction": 1.5}, "mask random: fraction is a share of the tokens"),
        ({"loss": "luffy"}, "hint: off_policy=demonstrations, or method=luffy"),
        ({"loss": "gmpo", "epsilon": 0.2}, "loss=gmpo does not read epsilon"),
        ({"loss": "cispo", "epsilon": 0.2}, "epsilon is read by the losses grpo"),
        ({"loss": "gmpo", "loss_type": "dapo"}, "the loss is given twice"),
        ({"loss": {"name": "dual-clip", "aggregation": "mean"}}, "unknown aggregation of loss=dual-clip: mean"),
        ({"off_policy.count": 2}, "which off_policy?"),
        ({"method": "ttrl"}, "hint: --reward exact=0 --reward majority"),
        ({"method": "ttrl", "rewards": ["exact", {"name": "majority", "weight": 0}]}, "given: exact x 1, majority x 0"),
    ],
)
def test_a_choice_that_cannot_work_says_what_to_type(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(**settings)
    assert words in str(caught.value)


def test_a_method_of_one_reward_may_be_compared_with_controls_that_pay_otherwise() -> None:
    made = planned(method="ttrl", rewards=["majority", {"name": "exact", "weight": 0}], controls="random,flipped")
    assert made.runs == ("true-0", "random-0", "flipped-0")
    assert planned(method="ttrl", rewards=VOTE).settings["reward_weights"] == [0.0, 1.0]


def test_a_function_is_a_component_itself_and_a_class_makes_one(tmp_path: Path) -> None:
    path = tmp_path / "parts.py"
    path.write_text(
        "def backwards(rows, seed, epoch, every=1):\n    return list(range(rows))[::-every]\n"
        "import rlllm.plugins\n"
        "class Forwards(rlllm.plugins.Sampler):\n    def __call__(self, rows, seed, epoch):\n        return list(range(rows))\n"
        "number = 3\n"
    )
    orders = {
        name: component("sampler", SlotSpec.model_validate({"name": f"{path}:{name}", **fields}))(4, 0, 0)
        for name, fields in {"backwards": {"every": 2}, "Forwards": {}}.items()
    }
    assert orders == {"backwards": [3, 1], "Forwards": [0, 1, 2, 3]}
    with pytest.raises(ConfigError, match="got an unexpected keyword argument 'step'"):
        component("sampler", SlotSpec.model_validate({"name": f"{path}:backwards", "step": 2}))
    with pytest.raises(ConfigError, match="cannot be called"):
        component("sampler", SlotSpec(name=f"{path}:number"))
    assert planned(sampler=f"{path}:backwards").slots["sampler"].name.endswith("backwards")


def test_the_sandbox_is_that_of_rewards_that_run_programs_and_say_nothing_else() -> None:
    rewards = ["exact", "code", {"name": "code", "isolation": "full", "weight": 0.5}]
    made = planned(rewards=rewards, sandbox="none").rewards
    assert made is not None
    isolated = [getattr(reward.target, "isolation", None) for reward in made.rewards]
    assert isolated == [None, "none", "full"]
