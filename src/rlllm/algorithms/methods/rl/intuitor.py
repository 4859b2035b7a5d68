"""No labels: how far from uniform the policy's own predictions are."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="intuitor",
    stages=("reason", "align"),
    trainer="rl",
    summary="no labels: how far from uniform the policy's own predictions are",
    formula="u_i = mean_t KL(uniform || pi_old(. | y_<t)); A_i = (u_i - mean u) / (std u + 1e-4) over the group\n"
    "loss = -mean_i mean_t (min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i) - beta KL(pi || ref)),\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Zhao et al. 2025, arXiv 2505.19590",
    settings={"scale_rewards": "group", "beta": 0.005, "epsilon": 0.2},
    components={"advantage": "self-certainty"},
    notes="rewards only measure; watch them, as confidence can grow while they fall.",
)
