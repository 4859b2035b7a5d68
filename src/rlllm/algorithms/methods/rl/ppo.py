"""Clipped ratio, advantages of single tokens from a learned critic, KL in the reward."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="ppo",
    stages=("align", "reason"),
    trainer="rl",
    summary="clipped ratio, advantages of single tokens from a learned critic, KL in the reward",
    formula="A_t = sum over k of (gamma lam)^k delta_(t+k), delta_t = r_t + gamma V_(t+1) - V_t,\n"
    "r_t = -beta log(pi_old / ref), plus r at the end\n"
    "loss = -mean over tokens of min(w A_t, clip(w, 1 - epsilon, 1 + epsilon) A_t),\n"
    "w = pi(y_t) / pi_old(y_t); A scaled to mean 0 and std 1",
    page="docs/methods/ppo.md",
    paper="Schulman et al. 2017, arXiv 1707.06347; for language models: Ouyang et al. 2022, arXiv 2203.02155",
    settings={"scale_rewards": "none", "beta": 0.05, "epsilon": 0.2},
    components={"loss": "dapo", "advantage": "gae"},
    defaults={"rollout": {"group_size": 1}, "kl": {"where": "reward"}},
    updates=4,
    notes="one completion a prompt; critic.* holds the value model's settings, advantage={name: gae, lam: 0.95} those of GAE.",
    example="--reward gold",
)
