"""Reward minus group mean over group deviation; clipped ratio; mean over each completion's tokens."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="grpo",
    stages=("reason", "align"),
    trainer="rl",
    summary="reward minus group mean over group deviation; clipped ratio; mean over each completion's tokens",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Shao et al. 2024, arXiv 2402.03300",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    notes="beta 0 leaves out the KL term and the reference model; beta=0.04 is the paper's, with its estimator k3. "
    "use_bias_correction_kl=true multiplies k3 by the importance ratio (DeepSeek-V3.2, arXiv 2512.02556).",
)
