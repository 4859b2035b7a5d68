"""The `environment` reward: the value of the environment's `get_reward`."""

from __future__ import annotations

from dataclasses import dataclass

from rlllm.core.records import Sample, Score


@dataclass(frozen=True)
class EnvironmentReward:
    """The value of the environment's `get_reward`; None for samples without one. Its exception is an error of this reward."""

    verifies = True

    def __call__(self, sample: Sample) -> Score:
        if "environment_error" in sample.meta:
            raise ValueError(f"get_reward of the environment: {sample.meta['environment_error']}")
        if "environment_reward" not in sample.meta:
            return Score(None, note="the run has no environment with a get_reward")
        return Score(sample.meta["environment_reward"])
