"""A judge that writes a critique and a verdict, trained by the loop to name the preferred answer."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="generative",
    stages=("train-rm",),
    trainer="generative",
    summary="a judge that writes a critique and a verdict, trained by the loop to name the preferred answer",
    paper="Mahan et al. 2024, arXiv 2410.12832; with reinforcement learning: Whitehouse et al. 2025, arXiv 2505.10320",
    settings={"loss_type": "grpo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    defaults={"rollout": {"max_new_tokens": 128}},
    notes="Either order of a pair is rewarded by itself; the second paper also rewards being right in both. "
    "The model must write a verdict now and then to begin with: "
    "an instruct model does, nano learns it from `rlllm sft --data verdicts`.",
)
