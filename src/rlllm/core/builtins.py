"""What ships with rlllm, by name: static tables, so that listing costs nothing. One registry for each kind of part."""

from __future__ import annotations

from rlllm.core.registry import Builtin, Registry

REWARDS = Registry(
    "reward",
    "rlllm.rewards",
    {
        "exact": Builtin(
            "rlllm.rewards.verifiers.answers:Exact", "1 if the final answer equals the reference, as text"
        ),
        "numeric": Builtin(
            "rlllm.rewards.verifiers.answers:Numeric",
            "1 if the final answer is the reference number, within a tolerance",
        ),
        "regex": Builtin("rlllm.rewards.verifiers.answers:Regex", "1 if the completion matches a pattern"),
        "format": Builtin(
            "rlllm.rewards.verifiers.answers:Format", "1 if there is exactly one marked final answer, at the end"
        ),
        "length": Builtin("rlllm.rewards.verifiers.answers:Length", "0 within the budget, falling to -1 above it"),
        "overlong": Builtin("rlllm.rewards.shaping:Overlong", "0 well under a limit, falling to -1 at it (DAPO)"),
        "cosine": Builtin(
            "rlllm.rewards.shaping:Cosine", "a correctness reward scaled by length: short if right, long if wrong"
        ),
        "budget": Builtin(
            "rlllm.rewards.shaping:Budget", "minus the distance to the length that was asked for, in tokens (L1)"
        ),
        "repetition": Builtin(
            "rlllm.rewards.shaping:Repetition", "minus the share of n-grams that repeat an earlier one"
        ),
        "eos": Builtin(
            "rlllm.rewards.verifiers.answers:Ended", "0 if the completion ended by itself, -1 at the length limit"
        ),
        "math": Builtin(
            "rlllm.rewards.math.reward:Math", "1 if math-verify finds the final answer equal to the reference"
        ),
        "majority": Builtin(
            "rlllm.rewards.majority:Majority",
            "1 if most completions of the prompt give the same answer (needs no labels)",
        ),
        "code": Builtin("rlllm.rewards.code.reward:Code", "1 if the program passes the row's tests, run in isolation"),
        "choice": Builtin(
            "rlllm.rewards.verifiers.choice:Choice", "1 if the completion commits to the right option, and to no other"
        ),
        "instructions": Builtin(
            "rlllm.rewards.verifiers.instructions.reward:Instructions",
            "the row's instructions are followed (IFEval)",
        ),
        "schema": Builtin(
            "rlllm.rewards.verifiers.schema:Schema", "1 if the completion is JSON, valid under a JSON schema"
        ),
        "sql": Builtin(
            "rlllm.rewards.verifiers.sql:SQL", "1 if the query gives the reference's rows on SQLite, in memory"
        ),
        "calls": Builtin(
            "rlllm.rewards.verifiers.calls:Calls", "1 if the expected functions are called, with allowed arguments"
        ),
        "language": Builtin(
            "rlllm.rewards.verifiers.language:Language", "share of the letters in the expected language"
        ),
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
        "remote": Builtin(
            "rlllm.rewards.http.remote:Remote", "what a server of one's own says, asked in batches over HTTP"
        ),
        "judge": Builtin(
            "rlllm.rewards.judge:Judge", "what a judge model or endpoint says: rated, or against a reference"
        ),
        "environment": Builtin("rlllm.rewards.environment:Earned", "what the run's environment says of the rollout"),
        "verdict": Builtin(
            "rlllm.rewards.judge:Verdict", "1 if the verdict (A or B) is the row's answer: trains judges"
        ),
        "verdict-form": Builtin("rlllm.rewards.judge:VerdictForm", "1 if a critique stands before one final verdict"),
        "refusal": Builtin("rlllm.rewards.refusal:Refusal", "1 if the completion refuses to help, else 0"),
        "coin": Builtin("rlllm.rewards.controls:Coin", "1 with probability p, whatever was written (a control)"),
        "flipped": Builtin("rlllm.rewards.controls:Flipped", "1 minus another reward (a control)"),
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
        "calculator": Builtin(
            "rlllm.data.procedural.tools:calculator", "arithmetic for a calculator; as conversations, how to call it"
        ),
        "guess": Builtin(
            "rlllm.data.procedural.tools:guess", "hidden numbers to guess, levels 1 to 2; as conversations, games"
        ),
        "humaneval": Builtin("rlllm.data.code:humaneval", "164 Python functions to complete; a test set, for eval"),
        "gym": Builtin("rlllm.data.gym:gym", "any reasoning-gym task, as gym:NAME"),
        "verdicts": Builtin("rlllm.stages.verdict_data:verdicts", "judgements of simulated pairs, as verdicts:NAME"),
        "choices": Builtin("rlllm.data.procedural.choices:choices", "multiple choice, as choices:TASK"),
        "instructions": Builtin("rlllm.data.procedural.instructions:instructions", "prompts with 1 to 4 IFEval rules"),
        "calls": Builtin("rlllm.data.procedural.calls:calls", "requests to call functions for, levels 1 to 4"),
        "homonyms": Builtin("rlllm.data.procedural.homonyms:homonyms", "harmful and benign questions that sound alike"),
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
        "dapo": Builtin(
            "rlllm.algorithms.methods.policy:DAPO",
            "GRPO that clips higher, averages over tokens, samples until groups are mixed",
        ),
        "bnpo": Builtin("rlllm.algorithms.methods.policy:BNPO", "GRPO averaged over the tokens of each batch"),
        "sapo": Builtin("rlllm.algorithms.methods.policy:SAPO", "a soft gate on the ratio instead of clipping"),
        "luspo": Builtin("rlllm.algorithms.methods.policy:LUSPO", "GSPO without its length bias"),
        "vespo": Builtin("rlllm.algorithms.methods.policy:VESPO", "a smooth weight on the ratio of whole completions"),
        "gmpo": Builtin("rlllm.algorithms.methods.policy:GMPO", "geometric mean of clipped token ratios"),
        "reinforce++": Builtin(
            "rlllm.algorithms.methods.regularised:REINFORCE_PLUS_PLUS",
            "KL in the reward, advantages normalised over the rollout",
        ),
        "reinforce++-baseline": Builtin(
            "rlllm.algorithms.methods.regularised:REINFORCE_PLUS_PLUS_BASELINE",
            "minus group mean, normalised over the rollout",
        ),
        "lite-ppo": Builtin(
            "rlllm.algorithms.methods.regularised:LITE_PPO", "minus group mean, over the rollout's deviation"
        ),
        "clip-cov": Builtin(
            "rlllm.algorithms.methods.regularised:CLIP_COV",
            "detaches a few tokens of high covariance, against entropy collapse",
        ),
        "kl-cov": Builtin(
            "rlllm.algorithms.methods.regularised:KL_COV", "a KL term on the tokens of highest covariance"
        ),
        "entropy-80-20": Builtin(
            "rlllm.algorithms.methods.regularised:ENTROPY_80_20",
            "DAPO on the fifth of the tokens with the highest entropy",
        ),
        "adaptive-entropy": Builtin(
            "rlllm.algorithms.methods.regularised:ADAPTIVE_ENTROPY", "an entropy bonus that holds a target"
        ),
        "ttrl": Builtin("rlllm.algorithms.methods.signals:TTRL", "no labels: majority vote"),
        "intuitor": Builtin("rlllm.algorithms.methods.signals:INTUITOR", "no labels: self-certainty"),
        "entropy-min": Builtin("rlllm.algorithms.methods.signals:ENTROPY_MIN", "no labels: low entropy"),
        "hints": Builtin("rlllm.algorithms.methods.signals:HINTS", "part of the solution in prompts that are too hard"),
        "luffy": Builtin("rlllm.algorithms.methods.signals:LUFFY", "a worked solution in every group"),
        "replay": Builtin("rlllm.algorithms.methods.signals:REPLAY", "earlier mixed groups in place of flat ones"),
        "pass-band": Builtin("rlllm.algorithms.methods.signals:PASS_BAND", "prompts of middling pass rate only"),
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
        "sampler.dynamic": Builtin(
            "rlllm.algorithms.slots.samplers:Dynamic", "other prompts for groups whose rewards are all equal (DAPO)"
        ),
        "sampler.band": Builtin(
            "rlllm.algorithms.slots.samplers:Band", "other prompts for those that are too hard or too easy"
        ),
        "sampler.replay": Builtin(
            "rlllm.algorithms.slots.replay:Replay", "earlier groups for those whose rewards are all equal"
        ),
        "sampler.hints": Builtin(
            "rlllm.algorithms.slots.hints:Hints", "the beginning of the solution, for prompts that fail"
        ),
        "mix.traces": Builtin(
            "rlllm.algorithms.slots.traces:Traces", "worked solutions in place of some completions of a group (LUFFY)"
        ),
        "credit.group": Builtin("rlllm.algorithms.slots.credit:Group", "reward minus group mean, over group deviation"),
        "credit.gae": Builtin(
            "rlllm.algorithms.slots.gae:GAE", "a critic's temporal differences, token by token (PPO)"
        ),
        "credit.rloo": Builtin("rlllm.algorithms.slots.credit:LeaveOneOut", "reward minus the mean of the others"),
        "credit.reinforce++": Builtin(
            "rlllm.algorithms.slots.normalised:ReinforcePlusPlus", "rewards to go, normalised over the rollout's tokens"
        ),
        "credit.reinforce++-baseline": Builtin(
            "rlllm.algorithms.slots.normalised:ReinforcePlusPlusBaseline",
            "reward minus group mean, normalised over the rollout",
        ),
        "credit.lite": Builtin(
            "rlllm.algorithms.slots.normalised:LitePPO", "reward minus group mean, over the rollout's deviation"
        ),
        "credit.confidence": Builtin(
            "rlllm.algorithms.slots.confidence:Confidence", "how sure the policy was, in its group; needs no reward"
        ),
        "credit.low-entropy": Builtin(
            "rlllm.algorithms.slots.confidence:LowEntropy", "minus the mean entropy, in its group; needs no reward"
        ),
        "credit.best-of": Builtin("rlllm.algorithms.slots.best_of:BestOf", "the best of each group, nothing else"),
        "credit.pairwise": Builtin("rlllm.algorithms.slots.pairwise:Pairwise", "best over worst, as DPO weighs them"),
        "credit.remax": Builtin("rlllm.algorithms.slots.remax:ReMax", "reward minus that of the greedy completion"),
        "credit.lagrange": Builtin(
            "rlllm.algorithms.slots.lagrange:Lagrange", "reward minus a cost whose weight holds it under a bound"
        ),
        "surrogate.plain": Builtin("rlllm.algorithms.slots.surrogates:Plain", "the token's log-probability itself"),
        "surrogate.gmpo": Builtin(
            "rlllm.algorithms.slots.surrogates:GeometricMean", "clips each token in log space, before their mean"
        ),
        "surrogate.kl-cov": Builtin(
            "rlllm.algorithms.slots.covariance:KLCovariance", "a KL term on the tokens of highest covariance"
        ),
        "surrogate.traces": Builtin(
            "rlllm.algorithms.slots.surrogates:Traces", "p / (p + gamma) on tokens the policy did not write"
        ),
        "mask.all": Builtin("rlllm.algorithms.slots.masks:All", "every completion token learns"),
        "mask.random": Builtin(
            "rlllm.algorithms.slots.masks:RandomTokens", "a random share of tokens learns (a control)"
        ),
        "mask.entropy": Builtin(
            "rlllm.algorithms.slots.masks:TopEntropy", "a share of the tokens, those of highest entropy, learns"
        ),
        "mask.entropy-top20": Builtin(
            "rlllm.algorithms.slots.masks:EntropyTop20", "the fifth of the tokens of highest entropy learns"
        ),
        "mask.clip-cov": Builtin(
            "rlllm.algorithms.slots.covariance:ClipCovariance", "a few tokens of high covariance do not learn"
        ),
    },
    "rlllm methods ls --slots",
)

ENGINES = Registry(
    "engine",
    "rlllm.engines",
    {
        "hf": Builtin("rlllm.rollouts.hf:HFEngine", "transformers' generate, in this process"),
        "native": Builtin(
            "rlllm.rollouts.native:NativeEngine", "shared prompts, ended rows dropped, fused layers; in this process"
        ),
    },
    "rlllm doctor",
)

ENVIRONMENTS = Registry(
    "environment",
    "rlllm.environments",
    {
        "calculator": Builtin("rlllm.rollouts.environments.calculator:Calculator", "exact arithmetic, as a tool"),
        "guess": Builtin("rlllm.rollouts.environments.guess:Guess", "a hidden number, found by higher and lower"),
    },
    "rlllm doctor",
)

EVALS = Registry(
    "eval task",
    "rlllm.evals",
    {
        "pass": Builtin("rlllm.evals.generative:evaluate_pass", "sampled pass@1, avg@k and unbiased pass@k on prompts"),
        "judge": Builtin("rlllm.evals.judging:evaluate_judge", "swap-consistent accuracy of a judge that writes"),
        "rm": Builtin("rlllm.evals.reward_model:evaluate_rm", "pair accuracy of a reward model"),
        "lm-eval": Builtin("rlllm.evals.harness:evaluate_harness", "a task of lm-evaluation-harness, as lm-eval:NAME"),
        "gold": Builtin("rlllm.evals.generative:evaluate_gold", "gold win rate against a baseline model"),
        "win-rate": Builtin(
            "rlllm.evals.duels:evaluate_duels", "win rate against a baseline, by a judge in both orders"
        ),
        "steps": Builtin("rlllm.evals.steps:evaluate_steps", "how often a process reward model finds the first error"),
        "safety": Builtin("rlllm.evals.safety:evaluate_safety", "refusals of harmful prompts, and of benign ones"),
        "best-of": Builtin(
            "rlllm.evals.selection:evaluate_selection", "best of n samples, as chosen by each further reward"
        ),
    },
)
