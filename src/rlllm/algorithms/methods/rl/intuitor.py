"""No labels: how far from uniform the policy's own predictions are."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="intuitor",
    stages=("reason", "align"),
    trainer="rl",
    summary="no labels: how far from uniform the policy's own predictions are",
    paper="Zhao et al. 2025, arXiv 2505.19590",
    settings={"loss_type": "grpo", "scale_rewards": "group", "beta": 0.005, "epsilon": 0.2},
    components={"advantage": "confidence"},
    notes="rewards only measure; watch them, as confidence can grow while they fall.",
)
