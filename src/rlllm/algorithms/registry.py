"""Methods and slot components that ship with rlllm, by name. A static table, so that listing imports nothing."""

from __future__ import annotations

from rlllm.core.registry import Builtin, Registry

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
            "rlllm.algorithms.samplers.prompt_samplers:Shuffle", "every prompt once an epoch, order seeded by epoch"
        ),
        "sampler.in-order": Builtin(
            "rlllm.algorithms.samplers.prompt_samplers:InOrder", "every prompt once an epoch, in the order of the data"
        ),
        "sampler.dynamic": Builtin(
            "rlllm.algorithms.samplers.prompt_samplers:Dynamic",
            "other prompts for groups whose rewards are all equal (DAPO)",
        ),
        "sampler.band": Builtin(
            "rlllm.algorithms.samplers.prompt_samplers:Band", "other prompts for those that are too hard or too easy"
        ),
        "sampler.replay": Builtin(
            "rlllm.algorithms.samplers.replay:Replay", "earlier groups for those whose rewards are all equal"
        ),
        "sampler.hints": Builtin(
            "rlllm.algorithms.samplers.hints:Hints", "the beginning of the solution, for prompts that fail"
        ),
        "mix.traces": Builtin(
            "rlllm.algorithms.demonstrations:Traces", "worked solutions in place of some completions of a group (LUFFY)"
        ),
        "credit.group": Builtin(
            "rlllm.algorithms.advantages.group:Group", "reward minus group mean, over group deviation"
        ),
        "credit.gae": Builtin(
            "rlllm.algorithms.advantages.gae:GAE", "a critic's temporal differences, token by token (PPO)"
        ),
        "credit.rloo": Builtin("rlllm.algorithms.advantages.group:LeaveOneOut", "reward minus the mean of the others"),
        "credit.reinforce++": Builtin(
            "rlllm.algorithms.advantages.reinforce_plus_plus:ReinforcePlusPlus",
            "rewards to go, normalised over the rollout's tokens",
        ),
        "credit.reinforce++-baseline": Builtin(
            "rlllm.algorithms.advantages.reinforce_plus_plus:ReinforcePlusPlusBaseline",
            "reward minus group mean, normalised over the rollout",
        ),
        "credit.lite": Builtin(
            "rlllm.algorithms.advantages.reinforce_plus_plus:LitePPO",
            "reward minus group mean, over the rollout's deviation",
        ),
        "credit.confidence": Builtin(
            "rlllm.algorithms.advantages.confidence:Confidence",
            "how sure the policy was, in its group; needs no reward",
        ),
        "credit.low-entropy": Builtin(
            "rlllm.algorithms.advantages.confidence:LowEntropy", "minus the mean entropy, in its group; needs no reward"
        ),
        "credit.best-of": Builtin("rlllm.algorithms.advantages.best_of:BestOf", "the best of each group, nothing else"),
        "credit.pairwise": Builtin(
            "rlllm.algorithms.advantages.pairwise:Pairwise", "best over worst, as DPO weighs them"
        ),
        "credit.remax": Builtin(
            "rlllm.algorithms.advantages.remax:ReMax", "reward minus that of the greedy completion"
        ),
        "credit.lagrange": Builtin(
            "rlllm.algorithms.advantages.lagrange:Lagrange", "reward minus a cost whose weight holds it under a bound"
        ),
        "surrogate.plain": Builtin("rlllm.algorithms.losses.surrogates:Plain", "the token's log-probability itself"),
        "surrogate.gmpo": Builtin(
            "rlllm.algorithms.losses.surrogates:GeometricMean", "clips each token in log space, before their mean"
        ),
        "surrogate.kl-cov": Builtin(
            "rlllm.algorithms.losses.covariance:KLCovariance", "a KL term on the tokens of highest covariance"
        ),
        "surrogate.traces": Builtin(
            "rlllm.algorithms.losses.surrogates:Traces", "p / (p + gamma) on tokens the policy did not write"
        ),
        "mask.all": Builtin("rlllm.algorithms.masks.masks:All", "every completion token learns"),
        "mask.random": Builtin(
            "rlllm.algorithms.masks.masks:RandomTokens", "a random share of tokens learns (a control)"
        ),
        "mask.entropy": Builtin(
            "rlllm.algorithms.masks.masks:TopEntropy", "a share of the tokens, those of highest entropy, learns"
        ),
        "mask.entropy-top20": Builtin(
            "rlllm.algorithms.masks.masks:EntropyTop20", "the fifth of the tokens of highest entropy learns"
        ),
        "mask.clip-cov": Builtin(
            "rlllm.algorithms.losses.covariance:ClipCovariance", "a few tokens of high covariance do not learn"
        ),
    },
    "rlllm methods ls --slots",
)
