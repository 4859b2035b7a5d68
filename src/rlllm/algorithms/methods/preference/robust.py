"""DPO whose expected loss is that of clean labels, for a known rate of flipped ones."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="robust",
    stages=("align",),
    trainer="dpo",
    summary="DPO whose expected loss is that of clean labels, for a known rate of flipped ones",
    paper="Chowdhury et al. 2024, arXiv 2403.00409",
    settings={"loss_type": ["robust"], "beta": 0.01, "label_smoothing": 0.1},
    notes="label_smoothing is the rate of flipped labels, below 0.5.",
)
