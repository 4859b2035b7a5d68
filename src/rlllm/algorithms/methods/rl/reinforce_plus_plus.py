"""No critic and no group: rewards to go with the KL in them, normalised over the rollout's tokens."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="reinforce++",
    stages=("reason", "align"),
    trainer="rl",
    summary="no critic and no group: rewards to go with the KL in them, normalised over the rollout's tokens",
    paper="Hu 2025, arXiv 2501.03262",
    settings={"loss_type": "dapo", "beta": 0.01, "epsilon": 0.2, "scale_rewards": "none"},
    components={"advantage": "reinforce++"},
    defaults={"rollout": {"group_size": 1}, "kl": {"where": "reward"}},
    notes="one completion a prompt; beta is the weight of the KL, which the paper sets by task.",
)
