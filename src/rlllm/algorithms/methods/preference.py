"""Learning from preference pairs without a reward model."""

from rlllm.algorithms.methods.base import Method

DPO = Method(
    "dpo",
    "align",
    "raise chosen over rejected, relative to the starting model",
    "Rafailov et al. 2023, arXiv 2305.18290",
    {"loss_type": ["sigmoid"], "beta": 0.1},
)
IPO = Method(
    "ipo",
    "align",
    "squared loss towards a fixed margin, so that the policy is not driven away without bound",
    "Azar et al. 2023, arXiv 2310.12036",
    {"loss_type": ["ipo"], "beta": 0.1},
)
