"""GSPO for a proposer and a reviewer, who speak where regret matching says so."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="tracer",
    stages=("reason",),
    trainer="rl",
    summary="GSPO for a proposer and a reviewer, who speak where regret matching says so",
    formula="dialogue of T turns: proposals at odd, reviews at even ones; the last proposal is the answer\n"
    "p_k(speak) in proportion to the positive regrets of key k = (agent, role, last chance or not, vote)\n"
    "v_silent = s(pending); v_speak = s(new proposal), or 1 for a true verdict, -1 for a false one, 0 for none\n"
    "R_k(a) += v_a - sum_b p_k(b) v_b\n"
    "what is said: one turn of each dialogue completed G times, A_i = (r_i - mean r) / (std r + 1e-4),\n"
    "loss = -mean_i min(w_i A_i, clip(w_i, 1 - epsilon, 1 + epsilon) A_i),\n"
    "w_i = exp(mean_t log(pi(y_t) / pi_old(y_t)))",
    page="docs/methods/tracer.md",
    paper="2026, arXiv 2605.28699",
    settings={
        "importance_sampling_level": "sequence",
        "scale_rewards": "group",
        "beta": 0.0,
        "epsilon": 0.1,
        "epsilon_high": 0.1,
    },
    components={"dialogue": "tracer"},
    notes="all roles have the same weights, and each its own prompts; one optimizer step on a rollout, so that every ratio is "
    "1. Evaluate the team with: rlllm eval TASK --model RUN dialogue=tracer",
)
