"""Several Bradley-Terry models that differ by seed; scored as mean, worst case, or mean less uncertainty."""

from rlllm.algorithms.methods.base import Method

METHOD = Method(
    name="ensemble",
    stages=("train-rm",),
    trainer="ensemble",
    summary="several Bradley-Terry models that differ by seed; scored as mean, worst case, or mean less uncertainty",
    formula="loss of each member = -mean over pairs of log sigmoid(r(chosen) - r(rejected) - margin)\n"
    "score = mean, minimum, or mean - coefficient * standard deviation of the members' scores",
    page="docs/guides/reward-models.md",
    paper="Coste et al. 2023, arXiv 2310.02743",
    notes="`members` models, each a whole run. The paper's penalty multiplies the variance, ours the standard deviation.",
)
