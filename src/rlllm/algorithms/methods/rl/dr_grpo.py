"""GRPO without the length and the deviation normaliser."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="dr-grpo",
    stages=("reason", "align"),
    trainer="rl",
    summary="GRPO without the length and the deviation normaliser",
    formula="A_i = r_i - mean r over the group\n"
    "loss = -sum_i sum_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i) / (completions * max_new_tokens),\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Liu et al. 2025, arXiv 2503.20783",
    settings={"scale_rewards": "none", "beta": 0.0},
    components={"loss": "dr_grpo"},
)
