"""Think before the next tokens of a text, paid by how much more likely the thought makes them."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="rlp",
    stages=("pretrain",),
    trainer="pretrain",
    summary="think before the next tokens of a text, paid by how much more likely the thought makes them",
    formula="r_i = mean over the tokens of the continuation of log pi(x_t | x_<t, c_i) - log pi(x_t | x_<t), c_i the thought\n"
    "A_i = r_i - mean of the other r of the group, at the tokens of c_i\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(c_it) / pi_old(c_it)",
    page="docs/guides/pretrain.md",
    paper="Hatamizadeh et al. 2025, arXiv 2510.01265",
    settings={"scale_rewards": "none", "beta": 0.0, "epsilon": 0.2},
    components={"advantage": "information-gain"},
    defaults={"positions": {"template": "{prefix}<think>"}},
    notes="The paper's baseline without a thought is a moving average of the policy. It is one number for all thoughts of a "
    "position and cancels in the advantage; here the policy itself gives it. A thought that is cut at the length limit ends "
    "there. Rewards are only monitored.",
)
