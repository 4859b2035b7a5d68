"""Does not sample prompts whose pass rate so far is near 0 or 1."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="pass-band",
    stages=("reason", "align"),
    trainer="rl",
    summary="does not sample prompts whose pass rate so far is near 0 or 1",
    formula="A_i = (r_i - mean r) / (std r + 1e-4) over the group;\n"
    "prompts whose running pass rate is outside of the band give way to others\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/grpo.md",
    paper="Bae et al. 2025, arXiv 2504.03380",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"sampler": "pass-band"},
    notes="the paper samples every prompt and fills the batch with the groups whose own pass rate is in the band; here earlier "
    "rollouts decide which prompts are sampled, so that none are wasted and a batch can hold groups outside of the band.",
)
