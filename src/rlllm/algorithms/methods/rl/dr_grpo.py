"""GRPO without the length and the deviation normaliser."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="dr-grpo",
    stages=("reason", "align"),
    trainer="rl",
    summary="GRPO without the length and the deviation normaliser",
    paper="Liu et al. 2025, arXiv 2503.20783",
    settings={"loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.0},
)
