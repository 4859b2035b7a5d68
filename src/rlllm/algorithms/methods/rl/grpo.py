"""Reward minus group mean over group deviation; clipped ratio; mean over each completion's tokens."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="grpo",
    stages=("reason", "align"),
    trainer="rl",
    summary="reward minus group mean over group deviation; clipped ratio; mean over each completion's tokens",
    paper="Shao et al. 2024, arXiv 2402.03300",
    settings={"loss_type": "grpo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    notes="beta 0 leaves out the KL term and the reference model; set beta=0.04 for the paper's.",
)
