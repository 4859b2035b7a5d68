"""GRPO that follows itself with the solution where it is sure, and avoids it where it is not."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="dasd",
    stages=("reason",),
    trainer="rl",
    summary="GRPO that follows itself with the solution where it is sure, and avoids it where it is not",
    formula="p the policy, q the policy shown the row's solution; d_t = log q(y_t) - log p(y_t);\n"
    "D_t = d_t / median |d|, at most 5;\n"
    "z_t = tanh((tau - H_t) / s), tau the 20 % quantile and s the mean deviation of the entropies H\n"
    "A_t = A_i + dasd_beta z_t sigmoid(|D_t| - 1) D_t, A_i as in grpo\n"
    "loss = -mean_i mean_t min(w A_t, clip(w, 1 - epsilon, 1 + epsilon) A_t), w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/dasd.md",
    paper="Zhang et al. 2026, arXiv 2605.22263",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"advantage": "dasd"},
    notes="needs a column with the solution (advantage.column; answer shows the reference answer). dasd_beta is not "
    "published, and 0.1 is ours; advantage.gap_clip=null is the printed formula, without a bound. "
    "advantage.direction=attract or repel and advantage.shuffle_gaps=true are controls.",
)
