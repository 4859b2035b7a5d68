"""GRPO in which only the tokens learn at which a completion departs from its siblings."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="ict",
    stages=("reason", "align"),
    trainer="rl",
    summary="GRPO in which only the tokens learn at which a completion departs from its siblings",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group;\n"
    "u_it = JS(pi_it, mean of pi_jt over the siblings j that have a token t)\n"
    "h_it = 1 for the 10 % of completion i's tokens of highest u, else 0\n"
    "loss = -mean_i sum_t h_it min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i) / sum_t h_it,\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/ict.md",
    paper="Feng et al. 2026, arXiv 2606.19771",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"mask": "ict"},
    notes="the first 20 steps learn from all tokens; mask.warmup_steps=0 leaves that out, mask.fraction=0.375 takes another "
    "share. mask=random-per-completion and mask=entropy-per-completion are controls of the same size. The paper's runs also "
    "have beta=0.001, entropy_coef=0.001, num_iterations=2 and rollout.temperature=0.6.",
)
