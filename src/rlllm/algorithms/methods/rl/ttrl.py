"""No labels: the answer most completions of a prompt agree on counts as right."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="ttrl",
    stages=("reason",),
    trainer="rl",
    summary="no labels: the answer most completions of a prompt agree on counts as right",
    paper="Zuo et al. 2025, arXiv 2504.16084",
    settings={"loss_type": "grpo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    reward="majority",
    notes="the signal is the reward majority; a labelled reward of weight 0, named first, only measures.",
    example="--reward exact=0 --reward majority",
)
