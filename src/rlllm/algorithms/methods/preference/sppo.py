"""Self-play: drives the log-ratio of chosen to 1 / (2 beta) and of rejected to its opposite."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="sppo",
    stages=("align",),
    trainer="dpo",
    summary="self-play: drives the log-ratio of chosen to 1 / (2 beta) and of rejected to its opposite",
    formula="loss = (r(w) - 1 / (2 beta))^2 + (r(l) + 1 / (2 beta))^2, r(y) = log pi(y | x) - log ref(y | x)",
    page="docs/methods/preference.md",
    paper="Wu et al. 2024, arXiv 2405.00675",
    settings={"loss_type": ["sppo_hard"], "beta": 0.001},
    notes="One round on recorded pairs with hard win probabilities; the paper samples anew and estimates them.",
)
