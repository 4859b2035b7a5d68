"""Proximal policy optimisation with a critic: the loop with GAE in the credit slot."""

from rlllm.algorithms.methods.base import Method

PPO = Method(
    "ppo",
    "align",
    "clipped ratio, advantages of single tokens from a learned critic, KL in the reward",
    "Schulman et al. 2017, arXiv 1707.06347; for language models: Ouyang et al. 2022, arXiv 2203.02155",
    {"loss_type": "bnpo", "scale_rewards": "none", "beta": 0.05, "epsilon": 0.2},
    {"sampler": "shuffle", "credit": "gae", "mask": "all"},
    notes="one completion a prompt; critic.* holds the value model's settings, credit={name: gae, lam: 0.95} those of GAE.",
    family="loop",
    also=("reason",),
    sections={"rollout": {"group_size": 1}, "kl": {"where": "reward"}},
    example="--reward gold",
)
