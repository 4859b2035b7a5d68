"""Reward minus group mean over the rollout's deviation; loss averaged over all tokens."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="lite-ppo",
    stages=("reason", "align"),
    trainer="rl",
    summary="reward minus group mean over the rollout's deviation; loss averaged over all tokens",
    paper="Liu et al. 2025, arXiv 2508.08221",
    settings={"loss_type": "dapo", "beta": 0.0, "epsilon": 0.2, "scale_rewards": "batch"},
    components={"advantage": "lite"},
)
