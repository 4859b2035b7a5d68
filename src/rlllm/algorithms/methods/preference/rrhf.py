"""Rank completions by their log-probability per token, and imitate the better one."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="rrhf",
    stages=("align",),
    trainer="rrhf",
    summary="rank completions by their log-probability per token, and imitate the better one",
    formula="loss = max(0, log pi(l | x) / |l| - log pi(w | x) / |w|)\n"
    "     - cpo_alpha * mean of log pi over the tokens of w",
    page="docs/methods/preference.md",
    paper="Yuan et al. 2023, arXiv 2304.05302",
    settings={"cpo_alpha": 1.0},
    notes="Ranks the two completions of each pair. The likelihood term is a mean over tokens, where the paper sums them.",
)
