"""No critic and no group: rewards to go with the KL in them, normalised over the rollout's tokens."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="reinforce++",
    stages=("reason", "align"),
    trainer="rl",
    summary="no critic and no group: rewards to go with the KL in them, normalised over the rollout's tokens",
    formula="A_t = r - beta * sum over u >= t of log(pi_old(y_u) / ref(y_u)),\n"
    "scaled to mean 0 and std 1 over the rollout's tokens\n"
    "loss = -mean over all tokens of min(w A_t, clip(w, 1 - epsilon, 1 + epsilon) A_t),\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Hu 2025, arXiv 2501.03262",
    settings={"beta": 0.01, "epsilon": 0.2, "scale_rewards": "none"},
    components={"loss": "dapo", "advantage": "reinforce++"},
    defaults={"rollout": {"group_size": 1}, "kl": {"where": "reward"}},
    notes="one completion a prompt; beta is the weight of the KL, which the paper sets by task.",
)
