"""GRPO with a bonus for completions whose steps move smoothly and directly through hidden-state space."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="starpo",
    stages=("reason", "align"),
    trainer="rl",
    summary="GRPO with a bonus for completions whose steps move smoothly and directly through hidden-state space",
    formula="h_k the mean hidden state of step k, v_k = h_k - h_{k-1}\n"
    "acf = mean_k cos(v_k, v_{k-1}); pe = |h_K - h_1| / sum_k |v_k|\n"
    "r'_i = r_i + acf_weight acf_i + pe_weight pe_i; A_i = (r'_i - mean r') / (std r' + 1e-4) over the group\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/starpo.md",
    paper="Zhang et al. 2026, arXiv 2604.08905",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"advantage": "starpo"},
    notes="the weights are not published, and 0.1 is ours. advantage.control=shuffled and advantage.control=shorter, "
    "advantage.window=16 and advantage.gate=REWARD are controls. The paper's runs also have beta=0.04 and num_iterations=2.",
)
