"""Imitation."""

from rlllm.algorithms.methods.base import Method

SFT = Method(
    "sft", "sft", "imitate completions (cross-entropy on completion tokens)", "Ouyang et al. 2022, arXiv 2203.02155"
)
