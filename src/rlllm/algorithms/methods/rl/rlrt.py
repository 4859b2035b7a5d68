"""GRPO whose better completions learn most where they depart from the policy with the solution."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="rlrt",
    stages=("reason",),
    trainer="rl",
    summary="GRPO whose better completions learn most where they depart from the policy with the solution",
    formula="p the policy, q the policy shown the row's solution; d_t = log q(y_t) - log p(y_t);\n"
    "A_t = A_i (1 - mix + mix clip(exp(-d_t), 0, 2)) where A_i > 0, else A_i, as in grpo\n"
    "loss = -mean_i mean_t min(w A_t, clip(w, 1 - epsilon, 1 + epsilon) A_t), w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/dasd.md",
    paper="Kim et al. 2026, arXiv 2605.10781",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"advantage": "rlrt"},
    notes="the reverse of rlsd. The paper reweights right completions, which are those of positive advantage where "
    "rewards are 0 and 1. mix 0.5 and the bound 1 are those of a public re-implementation.",
)
