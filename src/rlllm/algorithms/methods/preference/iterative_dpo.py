"""Rounds of DPO on the best and worst of the model's own completions, by the rewards."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="iterative-dpo",
    stages=("align",),
    trainer="iterative-dpo",
    summary="rounds of DPO on the best and worst of the model's own completions, by the rewards",
    formula="each round: w, l = best and worst of group_size own completions by the reward;\n"
    "loss = -log sigmoid(beta * d)\n"
    "d = r(w) - r(l), r(y) = log pi(y | x) - log pi_round(y | x),\n"
    "pi_round = the model that the round starts from",
    page="docs/methods/iterative-dpo.md",
    paper="Yuan et al. 2024, arXiv 2401.10020; Xu et al. 2023, arXiv 2312.16682",
    settings={"loss_type": ["sigmoid"], "beta": 0.1},
    notes="each round's reference is the model it starts from; rounds and rollout.group_size set its size.",
    example="--reward gold",
)
