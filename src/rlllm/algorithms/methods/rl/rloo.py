"""REINFORCE on whole completions; the baseline is the mean reward of the group's other completions."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="rloo",
    stages=("reason", "align"),
    trainer="rl",
    summary="REINFORCE on whole completions; the baseline is the mean reward of the group's other completions",
    formula="R_i = r_i - beta sum_t log(pi_old(y_t) / ref(y_t)); A_i = R_i - mean R of the group's other completions\n"
    "loss = -mean_i min(w_i A_i, clip(w_i, 1 - epsilon, 1 + epsilon) A_i),\n"
    "w_i = exp(sum_t log(pi(y_t) / pi_old(y_t)))",
    page="docs/methods/grpo.md",
    paper="Ahmadian et al. 2024, arXiv 2402.14740",
    settings={"scale_rewards": "none", "beta": 0.05, "epsilon": 0.2},
    components={"advantage": "rloo", "loss": "rloo"},
    defaults={"kl": {"where": "reward"}},
    notes="equals TRL's RLOOTrainer, whose clip the paper does not have and whose default group is 2; beta=0 leaves out "
    "the KL term and the reference model. The gradient sums over tokens, so it is larger than grpo's.",
)
