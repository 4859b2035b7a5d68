"""Rounds of DPO of the data's completion over the model's own (self-play)."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="spin",
    stages=("align",),
    trainer="spin",
    summary="rounds of DPO of the data's completion over the model's own (self-play)",
    paper="Chen et al. 2024, arXiv 2401.01335",
    settings={"loss_type": ["sigmoid"], "beta": 0.1},
    defaults={"rollout": {"group_size": 1}},
    notes="each round's reference is the model it starts from; needs no reward and no preference labels.",
)
