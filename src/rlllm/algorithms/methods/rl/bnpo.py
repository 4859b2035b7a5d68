"""GRPO whose loss is the mean over the tokens of each batch."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="bnpo",
    stages=("reason", "align"),
    trainer="rl",
    summary="GRPO whose loss is the mean over the tokens of each batch",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group\n"
    "loss = -mean over the micro-batch's tokens of min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i),\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Xiao et al. 2025, arXiv 2506.02864",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"loss": "bnpo"},
    notes="TRL's loss of that name; the paper's beta normaliser of binary rewards is not part of it.",
)
