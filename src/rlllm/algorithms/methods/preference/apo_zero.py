"""Chosen up and rejected down, each for itself; for a model worse than chosen."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="apo-zero",
    stages=("align",),
    trainer="dpo",
    summary="chosen up and rejected down, each for itself; for a model worse than chosen",
    formula="loss = 1 - sigmoid(beta r(w)) + sigmoid(beta r(l)), r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="D'Oosterlinck et al. 2024, arXiv 2408.06266",
    settings={"loss_type": ["apo_zero"], "beta": 0.1},
)
