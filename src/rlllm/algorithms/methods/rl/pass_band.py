"""Leaves out prompts whose pass rate so far is near 0 or 1."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="pass-band",
    stages=("reason", "align"),
    trainer="rl",
    summary="leaves out prompts whose pass rate so far is near 0 or 1",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group;\n"
    "prompts whose pass rate is outside of the band are left out\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Bae et al. 2025, arXiv 2504.03380",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"sampler": "pass-band"},
)
