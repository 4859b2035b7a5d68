"""Imitate completions (cross-entropy on completion tokens)."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="sft",
    stages=("sft",),
    trainer="sft",
    summary="imitate completions (cross-entropy on completion tokens)",
    paper="Ouyang et al. 2022, arXiv 2203.02155",
)
