"""Thumbs up and down instead of pairs; gains and losses weighed as people do."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="kto",
    stages=("align",),
    trainer="kto",
    summary="thumbs up and down instead of pairs; gains and losses weighed as people do",
    formula="loss of a good y = desirable_weight (1 - sigmoid(beta (r(y) - z))),\n"
    "of a bad y = undesirable_weight (1 - sigmoid(beta (z - r(y))))\n"
    "r(y) = log pi(y | x) - log ref(y | x), z = max(0, mean r of mismatched prompts and completions)",
    page="docs/methods/preference.md",
    paper="Ethayarajh et al. 2024, arXiv 2402.01306",
    settings={"loss_type": "kto", "beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0},
    notes="Batches hold at least 2 rows: the KL estimate pairs each prompt with its neighbour's completion. "
    "Rows are shuffled once, by the seed.",
)
