"""Reverse instead of forward KL to the smoothed preference."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="exo",
    stages=("align",),
    trainer="dpo",
    summary="reverse instead of forward KL to the smoothed preference",
    paper="Ji et al. 2024, arXiv 2402.00856",
    settings={"loss_type": ["exo_pair"], "beta": 0.1, "label_smoothing": 0.001},
    notes="label_smoothing has to be above 0.",
)
