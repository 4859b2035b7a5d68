"""Imitate chosen and raise its odds over rejected, without a reference model."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="orpo",
    stages=("align",),
    trainer="orpo",
    summary="imitate chosen and raise its odds over rejected, without a reference model",
    paper="Hong et al. 2024, arXiv 2403.07691",
    settings={"beta": 0.1},
    notes="beta is the paper's lambda.",
)
