"""Both down, rejected further; for a model better than chosen."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="apo-down",
    stages=("align",),
    trainer="dpo",
    summary="both down, rejected further; for a model better than chosen",
    formula="loss = sigmoid(beta r(w)) + 1 - sigmoid(beta (r(w) - r(l))), r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="D'Oosterlinck et al. 2024, arXiv 2408.06266",
    settings={"loss_type": ["apo_down"], "beta": 0.1},
)
