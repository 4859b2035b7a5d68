"""Geometric mean of token ratios, each clipped in log space."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="gmpo",
    stages=("reason", "align"),
    trainer="rl",
    summary="geometric mean of token ratios, each clipped in log space",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group\n"
    "loss = -mean_i w_i A_i, w_i = exp(mean_t q_t), q = log(pi / pi_old), at most width if A_i > 0,\n"
    "at least -width otherwise",
    page="docs/methods/grpo.md",
    paper="Zhao et al. 2025, arXiv 2507.20673",
    settings={"scale_rewards": "group", "beta": 0.0},
    components={"loss": "gmpo"},
    updates=4,
    notes="loss={name: gmpo, width: 0.4} sets the clip of the log-ratios.",
)
