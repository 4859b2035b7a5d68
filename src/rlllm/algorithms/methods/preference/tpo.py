"""Imitate a gold completion and raise chosen over rejected, in one step without a reference model."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="tpo",
    stages=("align",),
    trainer="tpo",
    summary="imitate a gold completion and raise chosen over rejected, in one step without a reference model",
    paper="Saeidi et al. 2024, arXiv 2405.16681",
    settings={"loss_type": "sigmoid", "beta": 0.01, "tpo_alpha": 1.0},
    notes="The pairs need a third column, reference: the gold completion.",
    example="data.params.reference=true",
)
