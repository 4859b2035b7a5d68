"""Maximise the reward while a mean cost stays under a bound (Lagrange multiplier)."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="constrained",
    stages=("align", "reason"),
    trainer="rl",
    summary="maximise the reward while a mean cost stays under a bound (Lagrange multiplier)",
    formula="A_i = (A_reward - lambda A_cost) / (1 + lambda), both leave-one-out;\n"
    "log lambda += rate * (mean cost - bound)\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/constrained.md",
    paper="Dai et al. 2023, arXiv 2310.12773",
    settings={"scale_rewards": "none", "beta": 0.0, "epsilon": 0.2},
    components={"advantage": "lagrange"},
    notes="needs advantage={name: lagrange, cost: REWARD, bound: NUMBER} and that reward with weight 0.",
    example="--reward gold --reward '{name: regex, pattern: x, weight: 0}' "
    "'advantage={name: lagrange, cost: regex, bound: 0.5}'",
)
