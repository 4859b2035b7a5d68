"""A soft gate on the ratio, steeper for negative advantages, in place of clipping."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="sapo",
    stages=("reason", "align"),
    trainer="rl",
    summary="a soft gate on the ratio, steeper for negative advantages, in place of clipping",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group; tau = sapo_temperature_pos if A_i > 0,\n"
    "else sapo_temperature_neg\n"
    "loss = -mean_i mean_t (4 / tau) sigmoid(tau (w - 1)) A_i, w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Gao et al. 2025, arXiv 2511.20347",
    settings={
        "scale_rewards": "group",
        "beta": 0.0,
        "sapo_temperature_pos": 1.0,
        "sapo_temperature_neg": 1.05,
    },
    components={"loss": "sapo"},
    updates=4,
)
