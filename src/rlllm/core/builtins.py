"""What ships with rlllm, by name: static tables, so that listing costs nothing. One registry for each kind of part."""

from __future__ import annotations

from rlllm.core.registry import Builtin, Registry

REWARDS = Registry(
    "reward",
    "rlllm.rewards",
    {
        "exact": Builtin("rlllm.rewards.verifiers:Exact", "1 if the final answer equals the reference, as text"),
        "numeric": Builtin(
            "rlllm.rewards.verifiers:Numeric", "1 if the final answer is the reference number, within a tolerance"
        ),
        "regex": Builtin("rlllm.rewards.verifiers:Regex", "1 if the completion matches a pattern"),
        "format": Builtin(
            "rlllm.rewards.verifiers:Format", "1 if there is exactly one marked final answer, at the end"
        ),
        "length": Builtin("rlllm.rewards.verifiers:Length", "0 within the budget, falling to -1 above it"),
        "math": Builtin("rlllm.rewards.math:Math", "1 if math-verify finds the final answer equal to the reference"),
        "countdown": Builtin(
            "rlllm.rewards.tasks:Countdown", "1 if the expression uses the numbers and reaches the target"
        ),
        "gym": Builtin("rlllm.rewards.tasks:Gym", "the reasoning-gym scorer of the row's task"),
        "gold": Builtin(
            "rlllm.rewards.gold:Gold", "the simulated annotator's true utility: correct, well formed, concise"
        ),
        "model": Builtin("rlllm.rewards.model:RewardModel", "score of a trained reward model (run, folder or Hub id)"),
    },
    "rlllm rewards ls",
)

DATASETS = Registry(
    "dataset",
    "rlllm.datasets",
    {
        "arithmetic": Builtin("rlllm.data.procedural.arithmetic:arithmetic", "sums with worked steps, levels 1 to 5"),
        "countdown": Builtin(
            "rlllm.data.procedural.countdown:countdown", "reach a target with given numbers, levels 1 to 4"
        ),
        "lists": Builtin("rlllm.data.procedural.lists:lists", "transform a list of letters or digits, levels 1 to 4"),
        "gym": Builtin("rlllm.data.gym:gym", "any reasoning-gym task, as gym:NAME"),
        "world": Builtin("rlllm.data.procedural.world:world", "a mixture of the three tasks, by params.weights"),
    },
    "rlllm data ls",
)

METHODS = Registry(
    "method",
    "rlllm.methods",
    {
        "sft": Builtin("rlllm.algorithms.methods.supervised:SFT", "imitate completions (cross-entropy)"),
        "bt": Builtin(
            "rlllm.algorithms.methods.reward_model:BRADLEY_TERRY", "scalar reward model from pairs (Bradley-Terry)"
        ),
        "dpo": Builtin("rlllm.algorithms.methods.preference:DPO", "preference pairs without a reward model"),
        "ipo": Builtin("rlllm.algorithms.methods.preference:IPO", "DPO with a squared loss that bounds the margin"),
        "grpo": Builtin("rlllm.algorithms.methods.policy:GRPO", "group-normalised advantages, clipped ratio"),
        "dr-grpo": Builtin("rlllm.algorithms.methods.policy:DR_GRPO", "GRPO without length and deviation bias"),
        "gspo": Builtin("rlllm.algorithms.methods.policy:GSPO", "GRPO with a sequence-level ratio"),
        "cispo": Builtin("rlllm.algorithms.methods.policy:CISPO", "clipped importance weight on the log-likelihood"),
        "rloo": Builtin("rlllm.algorithms.methods.policy:RLOO", "REINFORCE with a leave-one-out baseline"),
    },
    "rlllm methods ls",
)

SLOTS = Registry(
    "slot component",
    "rlllm.slots",
    {
        "sampler.shuffle": Builtin(
            "rlllm.algorithms.slots.samplers:Shuffle", "every prompt once an epoch, order seeded by epoch"
        ),
        "sampler.in-order": Builtin(
            "rlllm.algorithms.slots.samplers:InOrder", "every prompt once an epoch, in the order of the data"
        ),
        "credit.group": Builtin("rlllm.algorithms.slots.credit:Group", "reward minus group mean, over group deviation"),
        "credit.rloo": Builtin("rlllm.algorithms.slots.credit:LeaveOneOut", "reward minus the mean of the others"),
        "mask.all": Builtin("rlllm.algorithms.slots.masks:All", "every completion token learns"),
        "mask.random": Builtin(
            "rlllm.algorithms.slots.masks:RandomTokens", "a random share of tokens learns (a control)"
        ),
    },
    "rlllm methods ls --slots",
)

ENGINES = Registry(
    "engine",
    "rlllm.engines",
    {"hf": Builtin("rlllm.rollouts.hf:HFEngine", "transformers' generate, in this process")},
)

EVALS = Registry(
    "eval task",
    "rlllm.evals",
    {
        "pass": Builtin("rlllm.evals.generative:evaluate_pass", "sampled pass@1, avg@k and unbiased pass@k on prompts"),
        "rm": Builtin("rlllm.evals.reward_model:evaluate_rm", "pair accuracy of a reward model"),
        "gold": Builtin("rlllm.evals.generative:evaluate_gold", "gold win rate against a baseline model"),
    },
)
