"""A soft gate on the ratio, steeper for negative advantages, in place of clipping."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="sapo",
    stages=("reason", "align"),
    trainer="rl",
    summary="a soft gate on the ratio, steeper for negative advantages, in place of clipping",
    paper="Gao et al. 2025, arXiv 2511.20347",
    settings={
        "loss_type": "sapo",
        "scale_rewards": "group",
        "beta": 0.0,
        "sapo_temperature_pos": 1.0,
        "sapo_temperature_neg": 1.05,
    },
)
