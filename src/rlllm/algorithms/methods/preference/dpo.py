"""Raise chosen over rejected, relative to the starting model."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="dpo",
    stages=("align",),
    trainer="dpo",
    summary="raise chosen over rejected, relative to the starting model",
    formula="loss = -log sigmoid(beta * d), d = r(w) - r(l), r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/dpo.md",
    paper="Rafailov et al. 2023, arXiv 2305.18290",
    settings={"loss_type": ["sigmoid"], "beta": 0.1},
)
