"""Self-distillation alone: towards itself with the solution at every token, whatever the reward."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="opsd",
    stages=("reason",),
    trainer="rl",
    summary="self-distillation alone: towards itself with the solution at every token, whatever the reward",
    formula="p the policy, q the policy shown the row's solution; d_t = log q(y_t) - log p(y_t);\n"
    "A_t = d_t, at most 5 nats\n"
    "loss = -mean_i mean_t min(w A_t, clip(w, 1 - epsilon, 1 + epsilon) A_t), w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/dasd.md",
    paper="Zhao et al. 2026, arXiv 2601.18734",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"advantage": "opsd"},
    notes="rewards only measure. The paper sums the divergence over the vocabulary, here the sampled token stands for it; "
    "its teacher is the policy at its start, here the policy as it is. A control of dasd.",
)
