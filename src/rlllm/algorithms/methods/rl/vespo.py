"""Weighs each completion by a smooth, asymmetric function of its whole importance ratio."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="vespo",
    stages=("reason", "align"),
    trainer="rl",
    summary="weighs each completion by a smooth, asymmetric function of its whole importance ratio",
    paper="Shen et al. 2026, arXiv 2602.10693",
    settings={
        "loss_type": "vespo",
        "scale_rewards": "group",
        "beta": 0.0,
        "vespo_k_pos": 2.0,
        "vespo_lambda_pos": 3.0,
        "vespo_k_neg": 3.0,
        "vespo_lambda_neg": 2.0,
    },
)
