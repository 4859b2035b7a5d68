"""Log-probability per token as reward, with a target margin, without a reference model."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="simpo",
    stages=("align",),
    trainer="cpo",
    summary="log-probability per token as reward, with a target margin, without a reference model",
    formula="loss = -log sigmoid(beta (log pi(w | x) / |w| - log pi(l | x) / |l|) - simpo_gamma)\n"
    "     - cpo_alpha * mean of log pi over the tokens of w",
    page="docs/methods/preference.md",
    paper="Meng et al. 2024, arXiv 2405.14734",
    settings={"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 1.0, "cpo_alpha": 0.0},
    notes="With cpo_alpha above 0 chosen is imitated as well (CPO-SimPO).",
)
