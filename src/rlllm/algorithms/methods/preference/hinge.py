"""No loss once chosen leads by a margin of 1 / beta."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="hinge",
    stages=("align",),
    trainer="dpo",
    summary="no loss once chosen leads by a margin of 1 / beta",
    formula="loss = max(0, 1 - beta * d), d = r(w) - r(l), r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="Zhao et al. 2023, arXiv 2305.10425",
    settings={"loss_type": ["hinge"], "beta": 0.1},
    notes="Relative to the starting model, where the paper compares likelihoods; its term on references is left out.",
)
