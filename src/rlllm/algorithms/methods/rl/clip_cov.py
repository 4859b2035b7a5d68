"""Detaches a few tokens whose log-probability and advantage covary strongly, which keeps entropy up."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="clip-cov",
    stages=("reason", "align"),
    trainer="rl",
    summary="detaches a few tokens whose log-probability and advantage covary strongly, which keeps entropy up",
    formula="c_t = (log pi_old(y_t) - its mean) (A_t - its mean);\n"
    "a random few tokens with low < c_t < high leave the loss\n"
    "loss = -mean over the tokens left of min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i),\n"
    "w = pi(y_t) / pi_old(y_t), A_i as in grpo",
    page="docs/methods/grpo.md",
    paper="Cui et al. 2025, arXiv 2505.22617",
    settings={"beta": 0.0, "epsilon": 1.0, "scale_rewards": "group", "epsilon_high": 1.0},
    components={"loss": "dapo", "mask": "clip-cov"},
    updates=4,
    notes="mask={name: clip-cov, fraction: 2e-4, low: 1, high: 5}; drawn once a rollout, not once a minibatch.",
)
