"""Geometric mean of token ratios, each clipped in log space."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="gmpo",
    stages=("reason", "align"),
    trainer="rl",
    summary="geometric mean of token ratios, each clipped in log space",
    paper="Zhao et al. 2025, arXiv 2507.20673",
    settings={
        "loss_type": "grpo",
        "importance_sampling_level": "sequence",
        "scale_rewards": "group",
        "beta": 0.0,
        "epsilon": 1.0,
        "epsilon_high": 1000.0,
    },
    components={"surrogate": "gmpo"},
    notes="clips in the surrogate, surrogate={name: gmpo, width: 0.4}; TRL's clipping of the mean is open.",
)
