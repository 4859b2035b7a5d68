"""Clips the importance weight, not the update: every token keeps a gradient."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="cispo",
    stages=("reason", "align"),
    trainer="rl",
    summary="clips the importance weight, not the update: every token keeps a gradient",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group\n"
    "loss = -mean over all tokens of stop_gradient(min(w, epsilon_high)) A_i log pi(y_t),\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="MiniMax 2025, arXiv 2506.13585",
    settings={"epsilon_high": 5.0, "scale_rewards": "group", "beta": 0.0},
    components={"loss": "cispo"},
    updates=4,
    notes="epsilon_high is the bound itself. 5 is ScaleRL's (Khatri et al. 2025, arXiv 2510.13786) and TRL's advice; the paper "
    "of MiniMax gives no number. There is no lower bound, as in the paper.",
)
