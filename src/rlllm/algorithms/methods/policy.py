"""Methods of the six-slot loop: reinforcement learning from verifiable or learned rewards.

Settings are the papers', except the learning rate, which belongs to the model and stays in the recipe.
"""

from rlllm.algorithms.methods.base import Method

_SLOTS = {"sampler": "shuffle", "credit": "group", "mask": "all"}
_ALSO = ("align",)

GRPO = Method(
    "grpo",
    "reason",
    "reward minus group mean over group deviation; clipped ratio; mean over each completion's tokens",
    "Shao et al. 2024, arXiv 2402.03300",
    {"loss_type": "grpo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    _SLOTS,
    notes="beta 0 leaves out the KL term and the reference model; set beta=0.04 for the paper's.",
    family="loop",
    also=_ALSO,
)
DR_GRPO = Method(
    "dr-grpo",
    "reason",
    "GRPO without the length and the deviation normaliser",
    "Liu et al. 2025, arXiv 2503.20783",
    {"loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.0},
    _SLOTS,
    family="loop",
    also=_ALSO,
)
GSPO = Method(
    "gspo",
    "reason",
    "one importance ratio for the whole completion",
    "Zheng et al. 2025, arXiv 2507.18071",
    {
        "loss_type": "grpo",
        "importance_sampling_level": "sequence",
        "scale_rewards": "group",
        "beta": 0.0,
        "epsilon": 3e-4,
        "epsilon_high": 4e-4,
    },
    _SLOTS,
    family="loop",
    also=_ALSO,
)
CISPO = Method(
    "cispo",
    "reason",
    "clips the importance weight, not the update: every token keeps a gradient",
    "MiniMax 2025, arXiv 2506.13585",
    {"loss_type": "cispo", "epsilon_high": 5.0, "scale_rewards": "group", "beta": 0.0},
    _SLOTS,
    family="loop",
    also=_ALSO,
)
RLOO = Method(
    "rloo",
    "reason",
    "REINFORCE whose baseline is the mean reward of the group's other completions",
    "Ahmadian et al. 2024, arXiv 2402.14740",
    {"loss_type": "grpo", "importance_sampling_level": "sequence", "scale_rewards": "none", "beta": 0.0},
    {**_SLOTS, "credit": "rloo"},
    notes="kl.where=reward beta=0.05 takes the KL term into the reward, as in the paper.",
    family="loop",
    also=_ALSO,
)
