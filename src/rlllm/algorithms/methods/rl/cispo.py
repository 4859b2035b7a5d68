"""Clips the importance weight, not the update: every token keeps a gradient."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="cispo",
    stages=("reason", "align"),
    trainer="rl",
    summary="clips the importance weight, not the update: every token keeps a gradient",
    paper="MiniMax 2025, arXiv 2506.13585",
    settings={"loss_type": "cispo", "epsilon_high": 5.0, "scale_rewards": "group", "beta": 0.0},
)
