"""Leaves out prompts whose pass rate so far is near 0 or 1."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="pass-band",
    stages=("reason", "align"),
    trainer="rl",
    summary="leaves out prompts whose pass rate so far is near 0 or 1",
    paper="Bae et al. 2025, arXiv 2504.03380",
    settings={"loss_type": "grpo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"sampler": "band"},
)
