"""Imitate chosen and raise its odds over rejected, without a reference model."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="orpo",
    stages=("align",),
    trainer="orpo",
    summary="imitate chosen and raise its odds over rejected, without a reference model",
    formula="loss = -mean of log pi over the tokens of prompt and w - beta log sigmoid(log odds(w) - log odds(l))\n"
    "odds(y) = p / (1 - p), p = exp(log pi(y | x) / |y|)",
    page="docs/methods/preference.md",
    paper="Hong et al. 2024, arXiv 2403.07691",
    settings={"beta": 0.1},
    notes="beta is the paper's lambda. The prompt is imitated as well, as in TRL and the authors' code; "
    "the paper's likelihood is that of the completion.",
)
