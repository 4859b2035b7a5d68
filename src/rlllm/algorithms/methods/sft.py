"""Imitate completions (cross-entropy on completion tokens)."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="sft",
    stages=("sft",),
    trainer="sft",
    summary="imitate completions (cross-entropy on completion tokens)",
    formula="loss = -mean over completion tokens of log pi(y_t | x, y_<t)",
    page="docs/methods/sft.md",
    paper="Ouyang et al. 2022, arXiv 2203.02155",
)
