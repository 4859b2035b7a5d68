"""Earlier groups with mixed rewards stand in for groups whose rewards are all equal."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="replay",
    stages=("reason", "align"),
    trainer="rl",
    summary="earlier groups with mixed rewards stand in for groups whose rewards are all equal",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group;\n"
    "groups in which the verifier does not differ give their place to stored groups\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(y_t) / pi_old(y_t),\n"
    "pi_old = the policy that sampled the group",
    page="docs/methods/grpo.md",
    paper="Li et al. 2025, arXiv 2506.09340",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"sampler": "replay"},
    notes="replayed groups take the place of flat ones; the paper adds them beside the fresh ones of every prompt.",
)
