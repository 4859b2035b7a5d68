"""Reward minus group mean over the rollout's deviation; loss averaged over all tokens."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="lite-ppo",
    stages=("reason", "align"),
    trainer="rl",
    summary="reward minus group mean over the rollout's deviation; loss averaged over all tokens",
    formula="A_i = (r_i - mean r of the group) / (std r of the rollout + 1e-4)\n"
    "loss = -mean over all tokens of min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i),\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Liu et al. 2025, arXiv 2508.08221",
    settings={"beta": 0.0, "epsilon": 0.2, "scale_rewards": "batch"},
    components={"loss": "dapo", "advantage": "lite"},
)
