"""One importance ratio for the whole completion."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="gspo",
    stages=("reason", "align"),
    trainer="rl",
    summary="one importance ratio for the whole completion",
    paper="Zheng et al. 2025, arXiv 2507.18071",
    settings={
        "loss_type": "grpo",
        "importance_sampling_level": "sequence",
        "scale_rewards": "group",
        "beta": 0.0,
        "epsilon": 0.0003,
        "epsilon_high": 0.0004,
    },
)
