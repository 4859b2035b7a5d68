"""Process reward model: -log p(label) at the token that ends each step."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="process",
    stages=("train-rm",),
    trainer="process",
    summary="process reward model: -log p(label) at the token that ends each step",
    formula="loss = -mean over steps of log p(label of the step), at the token that ends the step",
    page="docs/methods/process-reward-model.md",
    paper="Lightman et al. 2023, arXiv 2305.20050; labels by rollouts: Wang et al. 2023, arXiv 2312.08935",
    notes="Rows are prompt, steps and labels: true up to the first wrong step, false from it on.",
)
