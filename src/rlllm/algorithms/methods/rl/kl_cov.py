"""Holds back by a KL term the few tokens whose log-probability and advantage covary most."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="kl-cov",
    stages=("reason", "align"),
    trainer="rl",
    summary="holds back by a KL term the few tokens whose log-probability and advantage covary most",
    formula="c_t = (log pi(y_t) - its mean) (A_t - its mean); K = the fraction of tokens with the largest c_t\n"
    "loss = mean over all tokens of -w A_i, plus beta |log w| for the tokens of K, w = pi(y_t) / pi_old(y_t),\n"
    "beta: that of the loss; A_i as in grpo",
    page="docs/methods/grpo.md",
    paper="Cui et al. 2025, arXiv 2505.22617",
    settings={"beta": 0.0, "scale_rewards": "group"},
    components={"loss": "kl-cov"},
    updates=4,
    notes="acts from the second update on a rollout on. Tokens are ranked within a micro-batch, so its size matters.",
)
