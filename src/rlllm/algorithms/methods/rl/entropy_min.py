"""No labels: completions of lower entropy are better."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="entropy-min",
    stages=("reason", "align"),
    trainer="rl",
    summary="no labels: completions of lower entropy are better",
    formula="u_i = -mean_t entropy of pi_old(. | y_<t); A_i = (u_i - mean u) / (std u + 1e-4) over the group\n"
    "loss = -mean_i mean_t (min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i) - beta KL(pi || ref)),\n"
    "w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Agarwal et al. 2025, arXiv 2505.15134",
    settings={"scale_rewards": "group", "beta": 0.001, "epsilon": 0.2},
    components={"advantage": "low-entropy"},
    notes="rewards only measure; it spends the policy's entropy, so stop early. Group-normalised, where the paper uses RLOO.",
)
