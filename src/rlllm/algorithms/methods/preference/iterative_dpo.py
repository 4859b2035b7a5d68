"""Iterations of DPO on the best and worst of the model's own completions, by the rewards."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="iterative-dpo",
    stages=("align",),
    trainer="iterative-dpo",
    summary="iterations of DPO on the best and worst of the model's own completions, by the rewards",
    formula="each iteration: w, l = best and worst of group_size own completions by the reward;\n"
    "loss = -log sigmoid(beta * d)\n"
    "d = r(w) - r(l), r(y) = log pi(y | x) - log pi_start(y | x),\n"
    "pi_start = the model that the iteration starts from",
    page="docs/methods/iterative-dpo.md",
    paper="Yuan et al. 2024, arXiv 2401.10020; Xu et al. 2023, arXiv 2312.16682",
    settings={"loss_type": ["sigmoid"], "beta": 0.1},
    notes="each iteration's reference is the model it starts from; iterations and rollout.group_size set its size.",
    example="--reward gold",
)
