"""Clipped ratio, advantages of single tokens from a learned critic, KL in the reward."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="ppo",
    stages=("align", "reason"),
    trainer="rl",
    summary="clipped ratio, advantages of single tokens from a learned critic, KL in the reward",
    paper="Schulman et al. 2017, arXiv 1707.06347; for language models: Ouyang et al. 2022, arXiv 2203.02155",
    settings={"loss_type": "bnpo", "scale_rewards": "none", "beta": 0.05, "epsilon": 0.2},
    components={"advantage": "gae"},
    defaults={"rollout": {"group_size": 1}, "kl": {"where": "reward"}},
    notes="one completion a prompt; critic.* holds the value model's settings, advantage={name: gae, lam: 0.95} those of GAE.",
    example="--reward gold",
)
