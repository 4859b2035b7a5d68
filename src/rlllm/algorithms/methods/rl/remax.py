"""REINFORCE whose baseline is the reward of the greedy completion."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="remax",
    stages=("align", "reason"),
    trainer="rl",
    summary="REINFORCE whose baseline is the reward of the greedy completion",
    formula="A_i = r_i - r(greedy completion of the prompt)\n"
    "loss = -sum_i sum_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i) / (completions * max_new_tokens),\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/remax.md",
    paper="Li et al. 2023, arXiv 2310.10505",
    settings={"scale_rewards": "none", "beta": 0.0},
    components={"loss": "dr_grpo", "advantage": "remax"},
    defaults={"rollout": {"group_size": 1}},
    notes="sums over tokens as in the paper, divided by the length limit; each prompt is also decoded greedily.",
    example="--reward gold",
)
