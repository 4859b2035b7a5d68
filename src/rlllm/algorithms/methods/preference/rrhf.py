"""Rank completions by their log-probability per token, and imitate the better one."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="rrhf",
    stages=("align",),
    trainer="rrhf",
    summary="rank completions by their log-probability per token, and imitate the better one",
    paper="Yuan et al. 2023, arXiv 2304.05302",
    settings={"loss_type": "simpo", "cpo_alpha": 1.0},
    notes="Ranks the two completions of each pair. The likelihood term is a mean over tokens, where the paper sums them.",
)
