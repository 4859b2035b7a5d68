"""A judge that writes a critique and a verdict, trained by the loop to name the preferred answer."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="generative",
    stages=("train-rm",),
    trainer="generative",
    summary="a judge that writes a critique and a verdict, trained by the loop to name the preferred answer",
    formula="r_i = 1 if the verdict names the preferred answer, else 0, plus weighted format rewards;\n"
    "A_i = (r_i - mean r) / (std r + 1e-4) over the group\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(y_t) / pi_old(y_t)",
    page="docs/guides/judges.md",
    paper="Mahan et al. 2024, arXiv 2410.12832; with reinforcement learning: Whitehouse et al. 2025, arXiv 2505.10320",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    defaults={"rollout": {"max_new_tokens": 128}},
    notes="Either order of a pair is rewarded by itself; the second paper also rewards being right in both. "
    "The model must write a verdict now and then to begin with: "
    "an instruct model does, nano learns it from `rlllm sft --data verdicts`.",
)
