"""REINFORCE whose baseline is the reward of the greedy completion."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="remax",
    stages=("align", "reason"),
    trainer="rl",
    summary="REINFORCE whose baseline is the reward of the greedy completion",
    paper="Li et al. 2023, arXiv 2310.10505",
    settings={"loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.0},
    components={"advantage": "remax"},
    defaults={"rollout": {"group_size": 1}},
    notes="sums over tokens as in the paper, divided by the length limit; each prompt is also decoded greedily.",
    example="--reward gold",
)
