"""Maximise the reward while a mean cost stays under a bound (Lagrange multiplier)."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="constrained",
    stages=("align", "reason"),
    trainer="rl",
    summary="maximise the reward while a mean cost stays under a bound (Lagrange multiplier)",
    paper="Dai et al. 2023, arXiv 2310.12773",
    settings={"loss_type": "grpo", "scale_rewards": "none", "beta": 0.0, "epsilon": 0.2},
    components={"advantage": "lagrange"},
    notes="needs advantage={name: lagrange, cost: REWARD, bound: NUMBER} and that reward with weight 0.",
    example="--reward gold --reward '{name: regex, pattern: x, weight: 0}' "
    "'advantage={name: lagrange, cost: regex, bound: 0.5}'",
)
