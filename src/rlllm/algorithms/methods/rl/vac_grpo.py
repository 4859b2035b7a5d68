"""GRPO with a curriculum of four tiers, rewards of two channels that agree, and a second answer (VAC-GRPO, reconstructed)."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="vac-grpo",
    stages=("reason",),
    trainer="rl",
    summary="GRPO with a curriculum of four tiers, rewards of two channels that agree, and a second answer (VAC-GRPO, "
    "reconstructed)",
    formula="R = r_acc + .1 r_fmt + .5 k g r_vac + .3 k g r_proc + .3 r_ref, g = r_acc, k = clip(c - 1, 0, 1)\n"
    "tier j by the start model's pass rate u and the relation: u >= .75, >= .4 or less, and one more where they clash\n"
    "p(tier j) in proportion to exp(-(j - c)^2 / (2 (1/2)^2)) + .05; m_j = .9 m_j + .1 mean r_acc of tier j\n"
    "c += 1/4 where m at the nearest tier > .7, c -= 1/4 where it is < .35, in [1, 4]\n"
    "A_i = (R_i - mean R) / (std R + 1e-4) over the group\n"
    "loss = -mean_i mean_t min(w A_i, clip(w, 1 - epsilon, 1 + epsilon) A_i), w = pi(y_t) / pi_old(y_t)",
    page="docs/methods/vac-grpo.md",
    paper="2026, arXiv 2606.18988",
    settings={"scale_rewards": "group", "beta": 0.0, "epsilon": 0.2},
    components={"sampler": "curriculum"},
    notes="only the abstract was at hand: four tiers, a dynamic scheduler, a process-aware reward and reflection are the "
    "paper's, every number and formula is ours. The rewards are named in the recipe vac-grpo; reflect=second-answer asks "
    "again. Synthetic data only: no such cues tell whether a person lies.",
)
