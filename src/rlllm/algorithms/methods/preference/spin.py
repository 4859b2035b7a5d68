"""Rounds of DPO of the data's completion over the model's own (self-play)."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="spin",
    stages=("align",),
    trainer="spin",
    summary="rounds of DPO of the data's completion over the model's own (self-play)",
    formula="each round: w = the data's completion, l = the model's own; loss = -log sigmoid(beta * d)\n"
    "d = r(w) - r(l), r(y) = log pi(y | x) - log pi_round(y | x),\n"
    "pi_round = the model that the round starts from",
    page="docs/methods/spin.md",
    paper="Chen et al. 2024, arXiv 2401.01335",
    settings={"loss_type": ["sigmoid"], "beta": 0.1},
    defaults={"rollout": {"group_size": 1}},
    notes="each round's reference is the model it starts from; needs no reward and no preference labels.",
)
