"""Iterations of DPO of the data's completion over the model's own (self-play)."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="spin",
    stages=("align",),
    trainer="spin",
    summary="iterations of DPO of the data's completion over the model's own (self-play)",
    formula="each iteration: w = the data's completion, l = the model's own; loss = -log sigmoid(beta * d)\n"
    "d = r(w) - r(l), r(y) = log pi(y | x) - log pi_start(y | x),\n"
    "pi_start = the model that the iteration starts from",
    page="docs/methods/spin.md",
    paper="Chen et al. 2024, arXiv 2401.01335",
    settings={"loss_type": ["sigmoid"], "beta": 0.1},
    defaults={"rollout": {"group_size": 1}},
    notes="each iteration's reference is the model it starts from; needs no reward and no preference labels.",
)
