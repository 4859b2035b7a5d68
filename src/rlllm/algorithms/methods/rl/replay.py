"""Earlier groups with mixed rewards stand in for groups whose rewards are all equal."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="replay",
    stages=("reason", "align"),
    trainer="rl",
    summary="earlier groups with mixed rewards stand in for groups whose rewards are all equal",
    paper="Li et al. 2025, arXiv 2506.09340",
    settings={"loss_type": "grpo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"sampler": "replay"},
    notes="replayed groups take the place of flat ones; the paper adds them beside the fresh ones of every prompt.",
)
