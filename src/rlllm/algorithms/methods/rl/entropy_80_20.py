"""DAPO in which only the fifth of the tokens with the highest entropy learns."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="entropy-80-20",
    stages=("reason", "align"),
    trainer="rl",
    summary="DAPO in which only the fifth of the tokens with the highest entropy learns",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group;\n"
    "h_t = 1 for the 20 % of tokens of highest entropy, else 0\n"
    "loss = -mean over all tokens of h_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon_high) A_i),\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Wang et al. 2025, arXiv 2506.01939",
    settings={"beta": 0.0, "epsilon": 0.2, "scale_rewards": "group", "epsilon_high": 0.28},
    components={"loss": "dapo", "sampler": "dynamic", "mask": "entropy-top20"},
    updates=4,
    notes="mask={name: entropy, fraction: 0.1} changes the share; mask={name: random, fraction: 0.2} is the control. "
    "Tokens are ranked within a micro-batch, so its size matters.",
)
