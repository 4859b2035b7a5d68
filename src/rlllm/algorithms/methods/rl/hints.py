"""Shows a share of the worked solution in prompts that are too hard, less as they are solved."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="hints",
    stages=("reason",),
    trainer="rl",
    summary="shows a share of the worked solution in prompts that are too hard, less as they are solved",
    formula="x' = x and the first most * (1 - pass rate of x) of its solution's words; y_i sampled from pi(. | x')\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(y_t) / pi_old(y_t),\n"
    "A_i as in grpo",
    page="docs/methods/grpo.md",
    paper="Li et al. 2025, arXiv 2509.06923",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"sampler": "hints"},
    notes="rows need a column with the solution; the share follows a running pass rate, where the paper fits a model of it.",
)
