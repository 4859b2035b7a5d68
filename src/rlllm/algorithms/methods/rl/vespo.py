"""Weighs each completion by a smooth, asymmetric function of its whole importance ratio."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="vespo",
    stages=("reason", "align"),
    trainer="rl",
    summary="weighs each completion by a smooth, asymmetric function of its whole importance ratio",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group; phi(W) = exp(lambda) W^k exp(-lambda W),\n"
    "k and lambda by the sign of A_i\n"
    "loss = -mean over all tokens of stop_gradient(phi(W_i)) A_i log pi(y_t),\n"
    "W_i = product over t of pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Shen et al. 2026, arXiv 2602.10693",
    settings={
        "scale_rewards": "group",
        "beta": 0.0,
        "vespo_k_pos": 2.0,
        "vespo_lambda_pos": 3.0,
        "vespo_k_neg": 3.0,
        "vespo_lambda_neg": 2.0,
    },
    components={"loss": "vespo"},
    updates=4,
    notes="k, lambda and no KL term are those of the authors' scripts (FloyedShen/VESPO). The paper trains with 4 to 64 "
    "updates on a rollout; 4 is the fewest of these.",
)
