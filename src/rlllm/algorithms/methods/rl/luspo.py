"""GSPO with each completion's loss scaled by its length."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="luspo",
    stages=("reason", "align"),
    trainer="rl",
    summary="GSPO with each completion's loss scaled by its length",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group\n"
    "loss = -mean_i |y_i| min(w_i A_i, clip(w_i, 1 - epsilon, 1 + epsilon_high) A_i),\n"
    "w_i = exp(mean_t log(pi(y_t) / pi_old(y_t)))",
    page="docs/methods/grpo.md",
    paper="Liu et al. 2026, arXiv 2602.05261",
    settings={
        "importance_sampling_level": "sequence",
        "scale_rewards": "group",
        "beta": 0.0,
        "epsilon": 0.002,
        "epsilon_high": 0.0025,
    },
    components={"loss": "luspo"},
    updates=4,
    notes="The bounds are the paper's (section 5.1). How many updates it makes on a rollout is not in what we found of it: "
    "four, as GSPO makes, is a choice of ours.",
)
