"""Imitate a gold completion and raise chosen over rejected, in one step without a reference model."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="tpo",
    stages=("align",),
    trainer="tpo",
    summary="imitate a gold completion and raise chosen over rejected, in one step without a reference model",
    formula="loss = -log sigmoid(beta (log pi(w | x) - log pi(l | x)))\n"
    "     - tpo_alpha * mean of log pi over the tokens of g\n"
    "g = the gold completion of the pair",
    page="docs/methods/preference.md",
    paper="Saeidi et al. 2024, arXiv 2405.16681",
    settings={"loss_type": "sigmoid", "beta": 0.01, "tpo_alpha": 1.0},
    notes="The pairs need a third column, reference: the gold completion.",
    example="data.params.reference=true",
)
