"""The rewards of all chosen have to dominate those of all rejected, whatever the pairing."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="aot-unpaired",
    stages=("align",),
    trainer="dpo",
    summary="the rewards of all chosen have to dominate those of all rejected, whatever the pairing",
    formula="loss = -log sigmoid(beta * D), D = k-th smallest r(w) of the batch minus its k-th smallest r(l)\n"
    "r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="Melnyk et al. 2024, arXiv 2406.05882",
    settings={"loss_type": ["aot_unpaired"], "beta": 0.1},
    notes="Compares sorted rewards within a micro-batch: a batch of 1 is plain DPO.",
)
