"""GRPO on completions whose uncertain segments were erased and sampled again."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="e3rl",
    stages=("reason", "align"),
    trainer="rl",
    summary="GRPO on completions whose uncertain segments were erased and sampled again",
    formula="H_n the mean entropy of segment n, smoothed over the segments before; dH_n its mean change from token to token\n"
    "U_n = H_n + change_weight dH_n + peak_weight sigmoid((max H - mean) / std)\n"
    "Theta_n = (mean U_n + kappa std U_n over the group) exp(erase_penalty e) phi_n, e erasures of the segment so far\n"
    "while U_n > Theta_n and e < max_erasures: sample segment n again from the same prefix\n"
    "A_i = (r_i - mean r) / (std r + 1e-4) over the group, for every token that is left",
    page="docs/methods/e3rl.md",
    paper="Wang et al. 2026, arXiv 2606.17735",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"erase": "e3rl"},
    notes="erase.segment_length=1024 is the paper's, for 8 segments; shorter completions need shorter ones. Every other "
    "constant is ours. Erased tokens count in num_tokens and max_tokens. erase.control=random erases as many at random. "
    "The paper shares the reward out among segments by attention, which is advantage=e3rl; here all get the completion's.",
)
