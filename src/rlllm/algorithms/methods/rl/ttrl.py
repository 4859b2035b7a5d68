"""No labels: the answer most completions of a prompt agree on counts as right."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="ttrl",
    stages=("reason",),
    trainer="rl",
    summary="no labels: the answer most completions of a prompt agree on counts as right",
    formula="r_i = 1 if the answer of y_i is the most frequent one of its group, else 0;\n"
    "A_i = (r_i - mean r) / (std r + 1e-4) over the group\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Zuo et al. 2025, arXiv 2504.16084",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    reward="majority",
    notes="the signal is the reward majority; a labelled reward of weight 0, named first, only measures.",
    example="--reward exact=0 --reward majority",
)
