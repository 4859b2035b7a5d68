"""DPO on log-ratios per token, so that length earns nothing."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="sigmoid-norm",
    stages=("align",),
    trainer="dpo",
    summary="DPO on log-ratios per token, so that length earns nothing",
    formula="loss = -log sigmoid(beta (r(w) / |w| - r(l) / |l|)), r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="Lambert et al. 2024, arXiv 2411.15124",
    settings={"loss_type": ["sigmoid_norm"], "beta": 5.0},
)
