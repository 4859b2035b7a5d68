"""The distribution of margins over the batch has to dominate the starting model's."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="aot",
    stages=("align",),
    trainer="dpo",
    summary="the distribution of margins over the batch has to dominate the starting model's",
    formula="loss = -log sigmoid(beta * D), D = k-th smallest log pi(w) - log pi(l) of the batch\n"
    "                                 minus its k-th smallest log ref(w) - log ref(l)",
    page="docs/methods/preference.md",
    paper="Melnyk et al. 2024, arXiv 2406.05882",
    settings={"loss_type": ["aot"], "beta": 0.1},
    notes="Compares sorted margins within a micro-batch: a batch of 1 is plain DPO.",
)
