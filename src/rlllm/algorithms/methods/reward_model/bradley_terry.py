"""Scalar reward model: -log sigmoid(r(chosen) - r(rejected) - margin)."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="bt",
    stages=("train-rm",),
    trainer="bt",
    summary="scalar reward model: -log sigmoid(r(chosen) - r(rejected) - margin)",
    formula="loss = -mean over pairs of log sigmoid(r(chosen) - r(rejected) - margin)\n"
    "     + center_rewards_coefficient * mean of (r(chosen) + r(rejected))^2",
    page="docs/methods/reward-model.md",
    paper="Ouyang et al. 2022, arXiv 2203.02155; margin: Touvron et al. 2023, arXiv 2307.09288",
    notes="The margin term is used when the pairs carry a margin; centring with center_rewards_coefficient.",
)
