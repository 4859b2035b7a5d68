"""GSPO with each completion's loss scaled by its length."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="luspo",
    stages=("reason", "align"),
    trainer="rl",
    summary="GSPO with each completion's loss scaled by its length",
    paper="Liu et al. 2026, arXiv 2602.05261",
    settings={
        "loss_type": "luspo",
        "importance_sampling_level": "sequence",
        "scale_rewards": "group",
        "beta": 0.0,
        "epsilon": 0.002,
        "epsilon_high": 0.0025,
    },
)
