"""An entropy bonus that grows while entropy is under its start and is off above it."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="adaptive-entropy",
    stages=("reason", "align"),
    trainer="rl",
    summary="an entropy bonus that grows while entropy is under its start and is off above it",
    formula="loss = -mean over all tokens of min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i) - c H,\n"
    "w = pi(y_t) / pi_old(y_t), A_i as in grpo, H = mean entropy\n"
    "after each step c rises by entropy_coef_delta if H <= entropy_target, else it falls by as much;\n"
    "c is at most entropy_coef_max, and counts as 0 while H is above",
    page="docs/methods/grpo.md",
    paper="He et al. 2025, arXiv 2505.22312",
    settings={
        "beta": 0.0,
        "epsilon": 0.2,
        "scale_rewards": "group",
        "use_adaptive_entropy": True,
        "entropy_coef_delta": 0.0001,
        "entropy_coef_max": 0.005,
    },
    components={"loss": "dapo"},
    notes="entropy_target (nats a token) is the policy's own entropy on its first rollout unless it is given; the authors' 0.2 "
    "suits their models. The steps and the bound of c are those of the authors' training scripts.",
)
