"""One completion of each group is a worked solution from the data, with its probabilities shaped."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="luffy",
    stages=("reason",),
    trainer="rl",
    summary="one completion of each group is a worked solution from the data, with its probabilities shaped",
    formula="A_i = r_i - mean r over the group, in which one completion is the solution from the data\n"
    "loss = -sum_i sum_t w A_i / (completions * max_new_tokens)\n"
    "w = pi(y_t) / pi_old(y_t) on sampled tokens, pi(y_t) / (pi(y_t) + gamma) on the solution's",
    page="docs/methods/grpo.md",
    paper="Yan et al. 2025, arXiv 2504.14945",
    settings={"scale_rewards": "none", "beta": 0.0},
    components={"loss": "luffy", "off_policy": "demonstrations"},
    notes="rows need a column with the solution; nothing is clipped, as in the authors' training script. Their entropy bonus "
    "(0.001) is absent.",
)
