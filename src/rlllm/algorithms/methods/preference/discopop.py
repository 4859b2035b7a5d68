"""A blend of logistic and exponential loss that was found by a language model."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="discopop",
    stages=("align",),
    trainer="dpo",
    summary="a blend of logistic and exponential loss that was found by a language model",
    paper="Lu et al. 2024, arXiv 2406.08414",
    settings={"loss_type": ["discopop"], "beta": 0.05, "discopop_tau": 0.05},
)
