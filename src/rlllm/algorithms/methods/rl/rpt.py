"""Think, then predict the next tokens of a text: 1 for the first tokens of what follows, else 0."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="rpt",
    stages=("pretrain",),
    trainer="pretrain",
    summary="think, then predict the next tokens of a text: 1 for the first tokens of what follows, else 0",
    formula="r_i = 1 if the prediction of y_i is, byte for byte, the first l >= 1 tokens of the true continuation, else 0\n"
    "A_i = (r_i - mean r) / (std r + 1e-4) over the group\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(y_t) / pi_old(y_t)",
    page="docs/guides/pretrain.md",
    paper="Dong et al. 2025, arXiv 2506.08007",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    reward="next-token",
    notes="Positions are those that a proxy model is uncertain of (positions.min_entropy). The paper's temperature is 0.8, and "
    "it samples dynamically from step 500 on: rollout.temperature=0.8 sampler=dynamic.",
)
