"""Reverse instead of forward KL to the smoothed preference."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="exo",
    stages=("align",),
    trainer="dpo",
    summary="reverse instead of forward KL to the smoothed preference",
    formula="loss = KL((s, 1 - s) || (1 - e, e)), s = sigmoid(beta * d), e = label_smoothing\n"
    "d = r(w) - r(l), r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="Ji et al. 2024, arXiv 2402.00856",
    settings={"loss_type": ["exo_pair"], "beta": 0.1, "label_smoothing": 0.001},
    notes="label_smoothing has to be above 0.",
)
