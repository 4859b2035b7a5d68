"""Clips higher than lower, averages over all tokens, and samples on until every group is mixed."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="dapo",
    stages=("reason", "align"),
    trainer="rl",
    summary="clips higher than lower, averages over all tokens, and samples on until every group is mixed",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group;\n"
    "groups in which the verifier does not differ are sampled again\n"
    "loss = -mean over all tokens of min(w A_i, clip(w, 1 - epsilon, 1 + epsilon_high) A_i),\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Yu et al. 2025, arXiv 2503.14476",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2, "epsilon_high": 0.28},
    components={"loss": "dapo", "sampler": "dynamic"},
    updates=4,
    notes="sampler.reward names the reward that has to differ, by default the first that verifies. "
    "The paper's punishment of overlong completions is a reward: add {name: overlong, limit: MAX_NEW_TOKENS}.",
)
