"""One importance ratio for the whole completion."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="gspo",
    stages=("reason", "align"),
    trainer="rl",
    summary="one importance ratio for the whole completion",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group\n"
    "loss = -mean_i min(w_i A_i, clip(w_i, 1 - epsilon, 1 + epsilon_high) A_i),\n"
    "w_i = exp(mean_t log(pi(y_t) / pi_old(y_t)))",
    page="docs/methods/grpo.md",
    paper="Zheng et al. 2025, arXiv 2507.18071",
    settings={
        "importance_sampling_level": "sequence",
        "scale_rewards": "group",
        "beta": 0.0,
        "epsilon": 0.0003,
        "epsilon_high": 0.0004,
    },
    updates=4,
)
