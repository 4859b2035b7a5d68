"""REINFORCE whose baseline is the mean reward of the group's other completions."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="rloo",
    stages=("reason", "align"),
    trainer="rl",
    summary="REINFORCE whose baseline is the mean reward of the group's other completions",
    formula="A_i = r_i - mean r of the group's other completions\n"
    "loss = -mean_i min(w_i A_i, clip(w_i, 1 - epsilon, 1 + epsilon) A_i),\n"
    "w_i = exp(mean_t log(pi(y_t) / pi_old(y_t)))",
    page="docs/methods/grpo.md",
    paper="Ahmadian et al. 2024, arXiv 2402.14740",
    settings={"importance_sampling_level": "sequence", "scale_rewards": "none", "beta": 0.0},
    components={"advantage": "rloo"},
    notes="kl.where=reward beta=0.05 takes the KL term into the reward, as in the paper.",
)
