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
        "eos": Builtin("rlllm.rewards.verifiers:Ended", "0 if the completion ended by itself, -1 at the length limit"),
        "math": Builtin("rlllm.rewards.math:Math", "1 if math-verify finds the final answer equal to the reference"),
        "countdown": Builtin(
            "rlllm.rewards.tasks:Countdown", "1 if the expression uses the numbers and reaches the target"
        ),
        "gym": Builtin("rlllm.rewards.tasks:Gym", "the reasoning-gym scorer of the row's task"),
        "gold": Builtin(
            "rlllm.rewards.gold:Gold", "the simulated annotator's true utility: correct, well formed, concise"
        ),
        "model": Builtin("rlllm.rewards.model:RewardModel", "score of a trained reward model (run, folder or Hub id)"),
        "process": Builtin(
            "rlllm.rewards.process:ProcessModel", "chance that every step is right, by a trained process reward model"
        ),
        "judge": Builtin(
            "rlllm.rewards.judge:Judge", "what a judge model or endpoint says: rated, or against a reference"
        ),
        "verdict": Builtin(
            "rlllm.rewards.judge:Verdict", "1 if the verdict (A or B) is the row's answer: trains judges"
        ),
        "verdict-form": Builtin("rlllm.rewards.judge:VerdictForm", "1 if a critique stands before one final verdict"),
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
        "verdicts": Builtin("rlllm.stages.verdict_data:verdicts", "judgements of simulated pairs, as verdicts:NAME"),
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
        "ensemble": Builtin(
            "rlllm.algorithms.methods.reward_model:ENSEMBLE", "Bradley-Terry models that differ by seed, as one"
        ),
        "process": Builtin(
            "rlllm.algorithms.methods.reward_model:PROCESS", "process reward model from step labels (right or wrong)"
        ),
        "generative": Builtin(
            "rlllm.algorithms.methods.reward_model:GENERATIVE", "a judge that writes a critique and a verdict (loop)"
        ),
        "dpo": Builtin("rlllm.algorithms.methods.preference:DPO", "preference pairs without a reward model"),
        "ipo": Builtin("rlllm.algorithms.methods.preference:IPO", "DPO with a squared loss that bounds the margin"),
        "hinge": Builtin("rlllm.algorithms.methods.preference:HINGE", "DPO with a hinge loss on the margin (SLiC)"),
        "robust": Builtin(
            "rlllm.algorithms.methods.preference:ROBUST", "DPO corrected for a known rate of flipped labels"
        ),
        "exo": Builtin("rlllm.algorithms.methods.preference:EXO", "DPO with the reverse KL to the smoothed preference"),
        "nca": Builtin(
            "rlllm.algorithms.methods.preference:NCA", "noise contrastive pairs: chosen keeps its likelihood"
        ),
        "apo-zero": Builtin("rlllm.algorithms.methods.preference:APO_ZERO", "anchored: chosen up, rejected down"),
        "apo-down": Builtin("rlllm.algorithms.methods.preference:APO_DOWN", "anchored: both down, rejected further"),
        "aot": Builtin("rlllm.algorithms.methods.preference:AOT", "optimal transport: sorted margins of a batch"),
        "aot-unpaired": Builtin(
            "rlllm.algorithms.methods.preference:AOT_UNPAIRED", "optimal transport: sorted rewards of a batch"
        ),
        "sppo": Builtin("rlllm.algorithms.methods.preference:SPPO", "self-play losses with hard win probabilities"),
        "bco-pair": Builtin(
            "rlllm.algorithms.methods.preference:BCO_PAIR", "binary classifier of chosen against rejected"
        ),
        "discopop": Builtin(
            "rlllm.algorithms.methods.preference:DISCOPOP", "discovered blend of logistic and exponential loss"
        ),
        "sigmoid-norm": Builtin("rlllm.algorithms.methods.preference:SIGMOID_NORM", "DPO on log-ratios per token"),
        "kto": Builtin("rlllm.algorithms.methods.preference:KTO", "thumbs up and down instead of pairs"),
        "orpo": Builtin("rlllm.algorithms.methods.preference:ORPO", "imitation plus odds ratio, no reference model"),
        "simpo": Builtin("rlllm.algorithms.methods.preference:SIMPO", "log-probability per token with a target margin"),
        "cpo": Builtin("rlllm.algorithms.methods.preference:CPO", "DPO without a reference model, plus imitation"),
        "tpo": Builtin("rlllm.algorithms.methods.preference:TPO", "pairs plus a gold completion to imitate"),
        "rrhf": Builtin(
            "rlllm.algorithms.methods.preference:RRHF", "ranking of log-probabilities per token, plus imitation"
        ),
        "grpo": Builtin("rlllm.algorithms.methods.policy:GRPO", "group-normalised advantages, clipped ratio"),
        "dr-grpo": Builtin("rlllm.algorithms.methods.policy:DR_GRPO", "GRPO without length and deviation bias"),
        "gspo": Builtin("rlllm.algorithms.methods.policy:GSPO", "GRPO with a sequence-level ratio"),
        "cispo": Builtin("rlllm.algorithms.methods.policy:CISPO", "clipped importance weight on the log-likelihood"),
        "rloo": Builtin("rlllm.algorithms.methods.policy:RLOO", "REINFORCE with a leave-one-out baseline"),
        "ppo": Builtin("rlllm.algorithms.methods.ppo:PPO", "clipped ratio, critic and GAE, KL in the reward"),
        "raft": Builtin("rlllm.algorithms.methods.alignment:RAFT", "imitate the best of each group"),
        "online-dpo": Builtin("rlllm.algorithms.methods.alignment:ONLINE_DPO", "DPO on the model's own fresh pairs"),
        "remax": Builtin("rlllm.algorithms.methods.alignment:REMAX", "REINFORCE with a greedy baseline"),
        "constrained": Builtin("rlllm.algorithms.methods.alignment:CONSTRAINED", "reward under a bound on a cost"),
        "iterative-dpo": Builtin("rlllm.algorithms.methods.alignment:ITERATIVE_DPO", "rounds of DPO on own pairs"),
        "spin": Builtin("rlllm.algorithms.methods.alignment:SPIN", "rounds of self-play against the data"),
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
        "credit.gae": Builtin(
            "rlllm.algorithms.slots.gae:GAE", "a critic's temporal differences, token by token (PPO)"
        ),
        "credit.rloo": Builtin("rlllm.algorithms.slots.credit:LeaveOneOut", "reward minus the mean of the others"),
        "credit.best-of": Builtin("rlllm.algorithms.slots.best_of:BestOf", "the best of each group, nothing else"),
        "credit.pairwise": Builtin("rlllm.algorithms.slots.pairwise:Pairwise", "best over worst, as DPO weighs them"),
        "credit.remax": Builtin("rlllm.algorithms.slots.remax:ReMax", "reward minus that of the greedy completion"),
        "credit.lagrange": Builtin(
            "rlllm.algorithms.slots.lagrange:Lagrange", "reward minus a cost whose weight holds it under a bound"
        ),
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
        "judge": Builtin("rlllm.evals.judging:evaluate_judge", "swap-consistent accuracy of a judge that writes"),
        "rm": Builtin("rlllm.evals.reward_model:evaluate_rm", "pair accuracy of a reward model"),
        "gold": Builtin("rlllm.evals.generative:evaluate_gold", "gold win rate against a baseline model"),
        "steps": Builtin("rlllm.evals.steps:evaluate_steps", "how often a process reward model finds the first error"),
        "best-of": Builtin(
            "rlllm.evals.selection:evaluate_selection", "best of n samples, as chosen by each further reward"
        ),
    },
)
