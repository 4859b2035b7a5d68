"""Reward models learned from preferences."""

from rlllm.algorithms.methods.base import Method

BRADLEY_TERRY = Method(
    "bt",
    "train-rm",
    "scalar reward model: -log sigmoid(r(chosen) - r(rejected) - margin)",
    "Ouyang et al. 2022, arXiv 2203.02155; margin: Touvron et al. 2023, arXiv 2307.09288",
    notes="The margin term is used when the pairs carry a margin; centring with center_rewards_coefficient.",
)
ENSEMBLE = Method(
    "ensemble",
    "train-rm",
    "several Bradley-Terry models that differ by seed; scored as mean, worst case, or mean less uncertainty",
    "Coste et al. 2023, arXiv 2310.02743",
    notes="`members` models, each a whole run. The paper's penalty multiplies the variance, ours the standard deviation.",
    family="ensemble",
)
PROCESS = Method(
    "process",
    "train-rm",
    "process reward model: -log p(label) at the token that ends each step",
    "Lightman et al. 2023, arXiv 2305.20050; labels by rollouts: Wang et al. 2023, arXiv 2312.08935",
    notes="Rows are prompt, steps and labels: true up to the first wrong step, false from it on.",
    family="process",
)
GENERATIVE = Method(
    "generative",
    "train-rm",
    "a judge that writes a critique and a verdict, trained by the loop to name the preferred answer",
    "Mahan et al. 2024, arXiv 2410.12832; with reinforcement learning: Whitehouse et al. 2025, arXiv 2505.10320",
    {"loss_type": "grpo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    {"sampler": "shuffle", "credit": "group", "mask": "all"},
    notes="Either order of a pair is rewarded by itself; the second paper also rewards being right in both. The model must "
    "write a verdict now and then to begin with: an instruct model does, nano learns it from `rlllm sft --data verdicts`.",
    family="generative",
    sections={"rollout": {"max_new_tokens": 128}},
)
