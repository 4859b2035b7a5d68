"""Methods of the six-slot loop that differ in the loss: ratio, clipping, and over what its tokens are averaged.

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
DAPO = Method(
    "dapo",
    "reason",
    "clips higher than lower, averages over all tokens, and samples on until every group is mixed",
    "Yu et al. 2025, arXiv 2503.14476",
    {"loss_type": "dapo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2, "epsilon_high": 0.28},
    {**_SLOTS, "sampler": "dynamic"},
    notes="the paper's punishment of overlong completions is a reward: add {name: overlong, limit: MAX_NEW_TOKENS}.",
    family="loop",
    also=_ALSO,
)
BNPO = Method(
    "bnpo",
    "reason",
    "GRPO whose loss is the mean over the tokens of each batch",
    "Xiao et al. 2025, arXiv 2506.02864",
    {"loss_type": "bnpo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    _SLOTS,
    notes="TRL's loss of that name; the paper's beta normaliser of binary rewards is not part of it.",
    family="loop",
    also=_ALSO,
)
SAPO = Method(
    "sapo",
    "reason",
    "a soft gate on the ratio, steeper for negative advantages, in place of clipping",
    "Gao et al. 2025, arXiv 2511.20347",
    {
        "loss_type": "sapo",
        "scale_rewards": "group",
        "beta": 0.0,
        "sapo_temperature_pos": 1.0,
        "sapo_temperature_neg": 1.05,
    },
    _SLOTS,
    family="loop",
    also=_ALSO,
)
LUSPO = Method(
    "luspo",
    "reason",
    "GSPO with each completion's loss scaled by its length",
    "Liu et al. 2026, arXiv 2602.05261",
    {
        "loss_type": "luspo",
        "importance_sampling_level": "sequence",
        "scale_rewards": "group",
        "beta": 0.0,
        "epsilon": 2e-3,
        "epsilon_high": 2.5e-3,
    },
    _SLOTS,
    family="loop",
    also=_ALSO,
)
VESPO = Method(
    "vespo",
    "reason",
    "weighs each completion by a smooth, asymmetric function of its whole importance ratio",
    "Shen et al. 2026, arXiv 2602.10693",
    {
        "loss_type": "vespo",
        "scale_rewards": "group",
        "beta": 0.0,
        "vespo_k_pos": 2.0,
        "vespo_lambda_pos": 3.0,
        "vespo_k_neg": 3.0,
        "vespo_lambda_neg": 2.0,
    },
    _SLOTS,
    family="loop",
    also=_ALSO,
)
GMPO = Method(
    "gmpo",
    "reason",
    "geometric mean of token ratios, each clipped in log space",
    "Zhao et al. 2025, arXiv 2507.20673",
    {
        "loss_type": "grpo",
        "importance_sampling_level": "sequence",
        "scale_rewards": "group",
        "beta": 0.0,
        "epsilon": 1.0,
        "epsilon_high": 1000.0,
    },
    {**_SLOTS, "surrogate": "gmpo"},
    notes="clips in the surrogate, surrogate={name: gmpo, width: 0.4}; TRL's clipping of the mean is open.",
    family="loop",
    also=_ALSO,
)
