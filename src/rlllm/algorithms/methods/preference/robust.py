"""DPO whose expected loss is that of clean labels, for a known rate of flipped ones."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="robust",
    stages=("align",),
    trainer="dpo",
    summary="DPO whose expected loss is that of clean labels, for a known rate of flipped ones",
    formula="loss = (-(1 - e) log sigmoid(beta * d) + e log sigmoid(-beta * d)) / (1 - 2 e), e = label_smoothing\n"
    "d = r(w) - r(l), r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="Chowdhury et al. 2024, arXiv 2403.00409",
    settings={"loss_type": ["robust"], "beta": 0.01, "label_smoothing": 0.1},
    notes="label_smoothing is the rate of flipped labels, below 0.5.",
)
