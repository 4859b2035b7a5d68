"""Supervised fine-tuning on the best of each group of completions."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="raft",
    stages=("align", "reason"),
    trainer="rl",
    summary="supervised fine-tuning on the best of each group of completions",
    formula="loss = -mean over the tokens of s of log pi(s_t | x, s_<t),\n"
    "s = the completion of each group with the highest reward",
    page="docs/methods/raft.md",
    paper="Dong et al. 2023, arXiv 2304.06767",
    settings={"scale_rewards": "none", "beta": 0.0},
    components={"loss": "dapo", "advantage": "best-of"},
    notes="one step on each rollout's winners, where the paper fine-tunes for a while between rollouts.",
    example="--reward gold",
)
