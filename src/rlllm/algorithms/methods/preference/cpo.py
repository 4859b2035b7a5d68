"""DPO without the reference model, and chosen is imitated as well."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="cpo",
    stages=("align",),
    trainer="cpo",
    summary="DPO without the reference model, and chosen is imitated as well",
    formula="loss = -log sigmoid(beta (log pi(w | x) - log pi(l | x)))\n"
    "     - cpo_alpha * mean of log pi over the tokens of w",
    page="docs/methods/preference.md",
    paper="Xu et al. 2024, arXiv 2401.08417",
    settings={"loss_type": "sigmoid", "beta": 0.1, "cpo_alpha": 1.0},
)
