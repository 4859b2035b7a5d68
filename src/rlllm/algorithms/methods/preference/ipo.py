"""Squared loss towards a fixed margin, so that the policy is not driven away without bound."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="ipo",
    stages=("align",),
    trainer="dpo",
    summary="squared loss towards a fixed margin, so that the policy is not driven away without bound",
    formula="loss = (r(w) / |w| - r(l) / |l| - 1 / (2 beta))^2, r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="Azar et al. 2023, arXiv 2310.12036",
    settings={"loss_type": ["ipo"], "beta": 0.1},
)
