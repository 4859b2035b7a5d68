"""A blend of logistic and exponential loss that was found by a language model."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="discopop",
    stages=("align",),
    trainer="dpo",
    summary="a blend of logistic and exponential loss that was found by a language model",
    formula="loss = -(1 - m) log sigmoid(beta * d) + m exp(-beta * d), m = sigmoid(beta * d / discopop_tau)\n"
    "d = r(w) - r(l), r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="Lu et al. 2024, arXiv 2406.08414",
    settings={"loss_type": ["discopop"], "beta": 0.05, "discopop_tau": 0.05},
)
