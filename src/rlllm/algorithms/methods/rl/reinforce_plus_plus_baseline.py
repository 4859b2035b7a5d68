"""Reward minus group mean, normalised over the rollout's tokens."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="reinforce++-baseline",
    stages=("reason", "align"),
    trainer="rl",
    summary="reward minus group mean, normalised over the rollout's tokens",
    formula="A_i = r_i - mean r of the group, scaled to mean 0 and std 1 over the rollout's tokens\n"
    "loss = -mean over all tokens of min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i),\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Hu 2025, arXiv 2501.03262",
    settings={"beta": 0.0, "epsilon": 0.2, "scale_rewards": "none"},
    components={"loss": "dapo", "advantage": "reinforce++-baseline"},
    notes="the paper adds a small KL to the loss, by the k2 estimator; beta=0.001 adds TRL's, which is k3.",
)
