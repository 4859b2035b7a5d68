"""Noise contrastive: also keeps the likelihood of chosen from falling."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="nca",
    stages=("align",),
    trainer="dpo",
    summary="noise contrastive: also keeps the likelihood of chosen from falling",
    formula="loss = -log sigmoid(beta r(w)) - 1/2 log sigmoid(-beta r(w)) - 1/2 log sigmoid(-beta r(l))\n"
    "r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="Chen et al. 2024, arXiv 2402.05369",
    settings={"loss_type": ["nca_pair"], "beta": 0.01},
)
