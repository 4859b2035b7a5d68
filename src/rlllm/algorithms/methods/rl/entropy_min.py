"""No labels: completions of lower entropy are better."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="entropy-min",
    stages=("reason", "align"),
    trainer="rl",
    summary="no labels: completions of lower entropy are better",
    paper="Agarwal et al. 2025, arXiv 2505.15134",
    settings={"loss_type": "grpo", "scale_rewards": "group", "beta": 0.001, "epsilon": 0.2},
    components={"advantage": "low-entropy"},
    notes="rewards only measure; it spends the policy's entropy, so stop early. Group-normalised, where the paper uses RLOO.",
)
