"""Methods of the six-slot loop that differ in how advantages are normalised, or in what keeps the policy's entropy up.

Settings are the papers', except the learning rate, which belongs to the model and stays in the recipe. Where a method
replaces the loss's clipping, TRL's is opened: an epsilon of 1 below, and far above.
"""

from rlllm.algorithms.methods.base import Method

_SLOTS = {"sampler": "shuffle", "credit": "group", "mask": "all"}
_ALSO = ("align",)
_TOKEN_MEAN = {"loss_type": "dapo", "beta": 0.0, "epsilon": 0.2}

REINFORCE_PLUS_PLUS = Method(
    "reinforce++",
    "reason",
    "no critic and no group: rewards to go with the KL in them, normalised over the rollout's tokens",
    "Hu 2025, arXiv 2501.03262",
    {**_TOKEN_MEAN, "scale_rewards": "none", "beta": 0.01},
    {**_SLOTS, "credit": "reinforce++"},
    notes="one completion a prompt; beta is the weight of the KL, which the paper sets by task.",
    family="loop",
    also=_ALSO,
    sections={"rollout": {"group_size": 1}, "kl": {"where": "reward"}},
)
REINFORCE_PLUS_PLUS_BASELINE = Method(
    "reinforce++-baseline",
    "reason",
    "reward minus group mean, normalised over the rollout",
    "Hu 2025, arXiv 2501.03262",
    {**_TOKEN_MEAN, "scale_rewards": "none"},
    {**_SLOTS, "credit": "reinforce++-baseline"},
    notes="the paper adds a small KL to the loss, by the k2 estimator; beta=0.001 adds TRL's, which is k3.",
    family="loop",
    also=_ALSO,
)
LITE_PPO = Method(
    "lite-ppo",
    "reason",
    "reward minus group mean over the rollout's deviation; loss averaged over all tokens",
    "Liu et al. 2025, arXiv 2508.08221",
    {**_TOKEN_MEAN, "scale_rewards": "batch"},
    {**_SLOTS, "credit": "lite"},
    family="loop",
    also=_ALSO,
)
CLIP_COV = Method(
    "clip-cov",
    "reason",
    "detaches a few tokens whose log-probability and advantage covary strongly, which keeps entropy up",
    "Cui et al. 2025, arXiv 2505.22617",
    {**_TOKEN_MEAN, "scale_rewards": "group", "epsilon": 1.0, "epsilon_high": 1.0},
    {**_SLOTS, "mask": "clip-cov"},
    notes="mask={name: clip-cov, fraction: 2e-4, low: 1, high: 5}; drawn once a rollout, not once a minibatch.",
    family="loop",
    also=_ALSO,
)
KL_COV = Method(
    "kl-cov",
    "reason",
    "holds back by a KL term the few tokens whose log-probability and advantage covary most",
    "Cui et al. 2025, arXiv 2505.22617",
    {**_TOKEN_MEAN, "scale_rewards": "group", "epsilon": 1.0, "epsilon_high": 1000.0},
    {**_SLOTS, "surrogate": "kl-cov"},
    notes="acts from the second update on a rollout on, so raise num_iterations or steps_per_generation.",
    family="loop",
    also=_ALSO,
)
ENTROPY_80_20 = Method(
    "entropy-80-20",
    "reason",
    "DAPO in which only the fifth of the tokens with the highest entropy learns",
    "Wang et al. 2025, arXiv 2506.01939",
    {**_TOKEN_MEAN, "scale_rewards": "group", "epsilon_high": 0.28},
    {**_SLOTS, "sampler": "dynamic", "mask": "entropy-top20"},
    notes="mask={name: entropy, fraction: 0.1} changes the share; mask={name: random, fraction: 0.2} is the control.",
    family="loop",
    also=_ALSO,
)
ADAPTIVE_ENTROPY = Method(
    "adaptive-entropy",
    "reason",
    "an entropy bonus that grows while entropy is under a target and is off above it",
    "He et al. 2025, arXiv 2505.22312",
    {
        **_TOKEN_MEAN,
        "scale_rewards": "group",
        "use_adaptive_entropy": True,
        "entropy_target": 0.2,
        "entropy_coef_delta": 0.005,
    },
    _SLOTS,
    notes="entropy_target is in nats a token: set it near the entropy at the start of the run.",
    family="loop",
    also=_ALSO,
)
