"""What FSDP2 and ZeRO-3 refuse when a run is planned, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest

from rlllm.core.errors import ConfigError
from rlllm.stages.catalog import plan, resolve_settings

ZERO3 = {"name": "slurm", "engine": "deepspeed-zero3", "processes": 2}
ARITHMETIC = {"name": "arithmetic", "rows": 32, "holdout": 8}


def planned(verb: str, launch: Any, **settings: Any) -> Any:
    given = {"data": ARITHMETIC, "launch": launch, **settings}
    return plan(resolve_settings(verb, given, [("model", "nano")]))


@pytest.mark.parametrize(
    ("verb", "settings"),
    [
        ("align", {"method": "ppo", "reward": "gold"}),
        ("align", {"method": "kto"}),
        ("reason", {"beta": 0.1, "lora": {"r": 4}, "eval": {"every": 5}}),
    ],
)
def test_fsdp_takes_a_critic_a_reference_adapters_and_evaluations(verb: str, settings: dict[str, Any]) -> None:
    planned(verb, "fsdp", **settings)


@pytest.mark.parametrize(
    ("verb", "settings", "why"),
    [
        ("align", {"method": "ppo", "reward": "gold"}, "its critic is a second model"),
        ("align", {"method": "kto"}, "its trainer was never run"),
        ("reason", {"beta": 0.1}, "its reference is a second model"),
        ("reason", {"lora": {"r": 4}}, "its adapters were never trained"),
        ("reason", {"eval": {"every": 5}}, "evaluations during training"),
    ],
)
def test_zero3_refuses_them(verb: str, settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        planned(verb, ZERO3, **settings)
    assert why in f"{raised.value} {raised.value.given}"
