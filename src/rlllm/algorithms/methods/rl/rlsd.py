"""GRPO whose tokens count more where the policy with the solution agrees with the reward."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="rlsd",
    stages=("reason",),
    trainer="rl",
    summary="GRPO whose tokens count more where the policy with the solution agrees with the reward",
    formula="p the policy, q the policy shown the row's solution; d_t = log q(y_t) - log p(y_t);\n"
    "A_t = A_i (1 - mix + mix clip(exp(sign(A_i) d_t), 0.8, 1.2)), A_i as in grpo\n"
    "loss = -mean_i mean_t min(w A_t, clip(w, 1 - epsilon, 1 + epsilon) A_t), w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/dasd.md",
    paper="Yang et al. 2026, arXiv 2604.03128",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"advantage": "rlsd"},
    notes="mix 0.5 and the bound 0.2 are ms-swift's defaults (advantage_reweight=rlsd); advantage.decay_steps=50 lets mix "
    "fall to 0. The teacher is the policy as it is; the authors' is a copy that is brought up to date every few "
    "steps.",
)
