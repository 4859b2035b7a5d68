"""Methods of the six-slot loop that differ in where the signal comes from: no labels, chosen prompts, or worked solutions.

Settings are the papers', except the learning rate, which belongs to the model and stays in the recipe.
"""

from rlllm.algorithms.methods.base import Method

_SLOTS = {"sampler": "shuffle", "credit": "group", "mask": "all"}
_ALSO = ("align",)
_GRPO = {"loss_type": "grpo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2}

TTRL = Method(
    "ttrl",
    "reason",
    "no labels: the answer most completions of a prompt agree on counts as right",
    "Zuo et al. 2025, arXiv 2504.16084",
    _GRPO,
    _SLOTS,
    notes="the signal is the reward majority; a labelled reward of weight 0, named first, only measures.",
    family="loop",
    reward="majority",
    example="--reward exact=0 --reward majority",
)
INTUITOR = Method(
    "intuitor",
    "reason",
    "no labels: how far from uniform the policy's own predictions are",
    "Zhao et al. 2025, arXiv 2505.19590",
    {**_GRPO, "beta": 0.005},
    {**_SLOTS, "credit": "confidence"},
    notes="rewards only measure; watch them, as confidence can grow while they fall.",
    family="loop",
    also=_ALSO,
)
ENTROPY_MIN = Method(
    "entropy-min",
    "reason",
    "no labels: completions of lower entropy are better",
    "Agarwal et al. 2025, arXiv 2505.15134",
    {**_GRPO, "beta": 0.001},
    {**_SLOTS, "credit": "low-entropy"},
    notes="rewards only measure; it spends the policy's entropy, so stop early. Group-normalised, where the paper uses RLOO.",
    family="loop",
    also=_ALSO,
)
HINTS = Method(
    "hints",
    "reason",
    "shows a share of the worked solution in prompts that are too hard, less as they are solved",
    "Li et al. 2025, arXiv 2509.06923",
    _GRPO,
    {**_SLOTS, "sampler": "hints"},
    notes="rows need a column with the solution; the share follows a running pass rate, where the paper fits a model of it.",
    family="loop",
)
LUFFY = Method(
    "luffy",
    "reason",
    "one completion of each group is a worked solution from the data, with its probabilities shaped",
    "Yan et al. 2025, arXiv 2504.14945",
    {"loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.0, "epsilon": 1.0, "epsilon_high": 1000.0},
    {**_SLOTS, "surrogate": "traces"},
    notes="rows need a column with the solution; nothing is clipped, as in the paper.",
    family="loop",
    sections={"rollout": {"mix": "traces"}},
)
REPLAY = Method(
    "replay",
    "reason",
    "earlier groups with mixed rewards stand in for groups whose rewards are all equal",
    "Li et al. 2025, arXiv 2506.09340",
    _GRPO,
    {**_SLOTS, "sampler": "replay"},
    notes="replayed groups take the place of flat ones; the paper adds them beside the fresh ones of every prompt.",
    family="loop",
    also=_ALSO,
)
PASS_BAND = Method(
    "pass-band",
    "reason",
    "leaves out prompts whose pass rate so far is near 0 or 1",
    "Bae et al. 2025, arXiv 2504.03380",
    _GRPO,
    {**_SLOTS, "sampler": "band"},
    family="loop",
    also=_ALSO,
)
