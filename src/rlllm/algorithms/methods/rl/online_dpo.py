"""DPO on pairs the model has just written, the better one by the reward."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="online-dpo",
    stages=("align", "reason"),
    trainer="rl",
    summary="DPO on pairs the model has just written, the better one by the reward",
    formula="loss = -log sigmoid(beta * h), h = log(pi(best) / ref(best)) - log(pi(worst) / ref(worst))\n"
    "best and worst of each group by the reward; beta is the advantage's",
    page="docs/methods/online-dpo.md",
    paper="Guo et al. 2024, arXiv 2402.04792",
    settings={"importance_sampling_level": "token", "scale_rewards": "none", "beta": 0.1},
    components={"loss": "luspo", "advantage": "pairwise"},
    defaults={"rollout": {"group_size": 2}, "kl": {"where": "nowhere"}},
    notes="DPO's beta is the advantage's: advantage={name: pairwise, beta: 0.1, loss: ipo}; "
    "trainer beta only keeps a reference.",
    example="--reward gold",
)
