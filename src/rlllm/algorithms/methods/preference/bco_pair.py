"""Binary classification of chosen against rejected by the implicit reward."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="bco-pair",
    stages=("align",),
    trainer="dpo",
    summary="binary classification of chosen against rejected by the implicit reward",
    formula="loss = -log sigmoid(beta r(w)) - log sigmoid(-beta r(l)), r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="Jung et al. 2024, arXiv 2404.04656",
    settings={"loss_type": ["bco_pair"], "beta": 0.01},
    notes="Without the paper's reward shift, which TRL's paired loss leaves out.",
)
