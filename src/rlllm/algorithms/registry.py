"""Methods and slot components that ship with rlllm, by name. A static table, so that listing imports nothing."""

from __future__ import annotations

from rlllm.core.registry import Builtin, Registry

METHODS = Registry(
    "method",
    "rlllm.methods",
    {
        "sft": Builtin("rlllm.algorithms.methods.sft:METHOD"),
        "plain": Builtin("rlllm.algorithms.methods.plain:METHOD"),
        "bt": Builtin("rlllm.algorithms.methods.reward_model.bradley_terry:METHOD"),
        "ensemble": Builtin("rlllm.algorithms.methods.reward_model.ensemble:METHOD"),
        "process": Builtin("rlllm.algorithms.methods.reward_model.process_reward_model:METHOD"),
        "generative": Builtin("rlllm.algorithms.methods.reward_model.generative_judge:METHOD"),
        "dpo": Builtin("rlllm.algorithms.methods.preference.dpo:METHOD"),
        "ipo": Builtin("rlllm.algorithms.methods.preference.ipo:METHOD"),
        "hinge": Builtin("rlllm.algorithms.methods.preference.hinge:METHOD"),
        "robust": Builtin("rlllm.algorithms.methods.preference.robust:METHOD"),
        "exo": Builtin("rlllm.algorithms.methods.preference.exo:METHOD"),
        "nca": Builtin("rlllm.algorithms.methods.preference.nca:METHOD"),
        "apo-zero": Builtin("rlllm.algorithms.methods.preference.apo_zero:METHOD"),
        "apo-down": Builtin("rlllm.algorithms.methods.preference.apo_down:METHOD"),
        "aot": Builtin("rlllm.algorithms.methods.preference.aot:METHOD"),
        "aot-unpaired": Builtin("rlllm.algorithms.methods.preference.aot_unpaired:METHOD"),
        "sppo": Builtin("rlllm.algorithms.methods.preference.sppo:METHOD"),
        "bco-pair": Builtin("rlllm.algorithms.methods.preference.bco_pair:METHOD"),
        "discopop": Builtin("rlllm.algorithms.methods.preference.discopop:METHOD"),
        "sigmoid-norm": Builtin("rlllm.algorithms.methods.preference.sigmoid_norm:METHOD"),
        "kto": Builtin("rlllm.algorithms.methods.preference.kto:METHOD"),
        "orpo": Builtin("rlllm.algorithms.methods.preference.orpo:METHOD"),
        "simpo": Builtin("rlllm.algorithms.methods.preference.simpo:METHOD"),
        "cpo": Builtin("rlllm.algorithms.methods.preference.cpo:METHOD"),
        "tpo": Builtin("rlllm.algorithms.methods.preference.tpo:METHOD"),
        "rrhf": Builtin("rlllm.algorithms.methods.preference.rrhf:METHOD"),
        "grpo": Builtin("rlllm.algorithms.methods.rl.grpo:METHOD"),
        "dr-grpo": Builtin("rlllm.algorithms.methods.rl.dr_grpo:METHOD"),
        "gspo": Builtin("rlllm.algorithms.methods.rl.gspo:METHOD"),
        "cispo": Builtin("rlllm.algorithms.methods.rl.cispo:METHOD"),
        "rloo": Builtin("rlllm.algorithms.methods.rl.rloo:METHOD"),
        "dapo": Builtin("rlllm.algorithms.methods.rl.dapo:METHOD"),
        "bnpo": Builtin("rlllm.algorithms.methods.rl.bnpo:METHOD"),
        "sapo": Builtin("rlllm.algorithms.methods.rl.sapo:METHOD"),
        "luspo": Builtin("rlllm.algorithms.methods.rl.luspo:METHOD"),
        "vespo": Builtin("rlllm.algorithms.methods.rl.vespo:METHOD"),
        "gmpo": Builtin("rlllm.algorithms.methods.rl.gmpo:METHOD"),
        "reinforce++": Builtin("rlllm.algorithms.methods.rl.reinforce_plus_plus:METHOD"),
        "reinforce++-baseline": Builtin("rlllm.algorithms.methods.rl.reinforce_plus_plus_baseline:METHOD"),
        "lite-ppo": Builtin("rlllm.algorithms.methods.rl.lite_ppo:METHOD"),
        "clip-cov": Builtin("rlllm.algorithms.methods.rl.clip_cov:METHOD"),
        "kl-cov": Builtin("rlllm.algorithms.methods.rl.kl_cov:METHOD"),
        "entropy-80-20": Builtin("rlllm.algorithms.methods.rl.entropy_80_20:METHOD"),
        "ict": Builtin("rlllm.algorithms.methods.rl.ict:METHOD"),
        "dasd": Builtin("rlllm.algorithms.methods.rl.dasd:METHOD"),
        "opsd": Builtin("rlllm.algorithms.methods.rl.opsd:METHOD"),
        "rlsd": Builtin("rlllm.algorithms.methods.rl.rlsd:METHOD"),
        "rlrt": Builtin("rlllm.algorithms.methods.rl.rlrt:METHOD"),
        "starpo": Builtin("rlllm.algorithms.methods.rl.starpo:METHOD"),
        "e3rl": Builtin("rlllm.algorithms.methods.rl.e3rl:METHOD"),
        "tracer": Builtin("rlllm.algorithms.methods.rl.tracer:METHOD"),
        "vac-grpo": Builtin("rlllm.algorithms.methods.rl.vac_grpo:METHOD"),
        "adaptive-entropy": Builtin("rlllm.algorithms.methods.rl.adaptive_entropy:METHOD"),
        "rlp": Builtin("rlllm.algorithms.methods.rl.rlp:METHOD"),
        "rpt": Builtin("rlllm.algorithms.methods.rl.rpt:METHOD"),
        "ttrl": Builtin("rlllm.algorithms.methods.rl.ttrl:METHOD"),
        "intuitor": Builtin("rlllm.algorithms.methods.rl.intuitor:METHOD"),
        "entropy-min": Builtin("rlllm.algorithms.methods.rl.entropy_min:METHOD"),
        "hints": Builtin("rlllm.algorithms.methods.rl.hints:METHOD"),
        "luffy": Builtin("rlllm.algorithms.methods.rl.luffy:METHOD"),
        "replay": Builtin("rlllm.algorithms.methods.rl.replay:METHOD"),
        "pass-band": Builtin("rlllm.algorithms.methods.rl.pass_band:METHOD"),
        "ppo": Builtin("rlllm.algorithms.methods.rl.ppo:METHOD"),
        "raft": Builtin("rlllm.algorithms.methods.rl.raft:METHOD"),
        "online-dpo": Builtin("rlllm.algorithms.methods.rl.online_dpo:METHOD"),
        "remax": Builtin("rlllm.algorithms.methods.rl.remax:METHOD"),
        "constrained": Builtin("rlllm.algorithms.methods.rl.constrained:METHOD"),
        "iterative-dpo": Builtin("rlllm.algorithms.methods.preference.iterative_dpo:METHOD"),
        "spin": Builtin("rlllm.algorithms.methods.preference.spin:METHOD"),
    },
    "rlllm methods ls",
)

SLOTS = Registry(
    "slot component",
    "rlllm.slots",
    {
        "sampler.shuffle": Builtin(
            "rlllm.algorithms.samplers.order:Shuffle", "every prompt once an epoch, order seeded by epoch"
        ),
        "sampler.in-order": Builtin(
            "rlllm.algorithms.samplers.order:InOrder", "every prompt once an epoch, in the order of the data"
        ),
        "sampler.dynamic": Builtin(
            "rlllm.algorithms.samplers.dynamic_sampling:Dynamic",
            "other prompts for groups in which a reward does not differ (DAPO)",
        ),
        "sampler.pass-band": Builtin(
            "rlllm.algorithms.samplers.pass_band:PassBand", "other prompts for those that are too hard or too easy"
        ),
        "sampler.replay": Builtin(
            "rlllm.algorithms.samplers.replay:Replay", "earlier groups for those in which a reward does not differ"
        ),
        "sampler.hints": Builtin(
            "rlllm.algorithms.samplers.hints:Hints", "the beginning of the solution, for prompts that fail"
        ),
        "sampler.curriculum": Builtin(
            "rlllm.algorithms.samplers.curriculum:Curriculum",
            "four tiers by the start model's pass rate, from easy to hard as rewards rise (VAC-GRPO)",
        ),
        "off_policy.demonstrations": Builtin(
            "rlllm.algorithms.off_policy.demonstrations:Demonstrations",
            "worked solutions in place of some completions of a group (LUFFY)",
        ),
        "erase.e3rl": Builtin(
            "rlllm.algorithms.erasing.uncertainty:Uncertainty",
            "segments that the policy is less sure of than in its group's other completions (E3RL)",
        ),
        "dialogue.tracer": Builtin(
            "rlllm.algorithms.dialogues.tracer:TRACER",
            "a proposer and a reviewer, who speak where regret matching says so (TRACER)",
        ),
        "dialogue.stopping": Builtin(
            "rlllm.algorithms.dialogues.stopping:Stopping",
            "attempts at a problem until another one is not worth its price; the majority answers",
        ),
        "reflect.second-answer": Builtin(
            "rlllm.algorithms.reflecting.second_answer:SecondAnswer",
            "asks to check the answer and to answer again, which is what rewards judge (VAC-GRPO)",
        ),
        "advantage.group": Builtin(
            "rlllm.algorithms.advantages.group:Group", "reward minus group mean, over group deviation"
        ),
        "advantage.gae": Builtin(
            "rlllm.algorithms.advantages.gae:GAE", "a critic's temporal differences, token by token (PPO)"
        ),
        "advantage.rloo": Builtin(
            "rlllm.algorithms.advantages.group:LeaveOneOut", "reward minus the mean of the others"
        ),
        "advantage.reinforce++": Builtin(
            "rlllm.algorithms.advantages.reinforce_plus_plus:ReinforcePlusPlus",
            "rewards to go, normalised over the rollout's tokens",
        ),
        "advantage.reinforce++-baseline": Builtin(
            "rlllm.algorithms.advantages.reinforce_plus_plus:ReinforcePlusPlusBaseline",
            "reward minus group mean, normalised over the rollout's tokens",
        ),
        "advantage.lite": Builtin(
            "rlllm.algorithms.advantages.reinforce_plus_plus:LitePPO",
            "reward minus group mean, over the rollout's deviation",
        ),
        "advantage.self-certainty": Builtin(
            "rlllm.algorithms.advantages.confidence:SelfCertainty",
            "how sure the policy was, in its group; needs no reward",
        ),
        "advantage.low-entropy": Builtin(
            "rlllm.algorithms.advantages.confidence:LowEntropy", "minus the mean entropy, in its group; needs no reward"
        ),
        "advantage.best-of": Builtin(
            "rlllm.algorithms.advantages.best_of:BestOf", "the best of each group, nothing else"
        ),
        "advantage.pairwise": Builtin(
            "rlllm.algorithms.advantages.pairwise:Pairwise", "best over worst, as DPO weighs them"
        ),
        "advantage.remax": Builtin(
            "rlllm.algorithms.advantages.remax:ReMax", "reward minus that of the greedy completion"
        ),
        "advantage.starpo": Builtin(
            "rlllm.algorithms.advantages.stability:StaRPO",
            "group, with a bonus for smooth and direct reasoning steps (StaRPO)",
        ),
        "advantage.vac-group": Builtin(
            "rlllm.algorithms.advantages.consistency:GroupConsistency",
            "group, with a bonus for right answers that follow from their reasoning most surely (VAC-GRPO)",
        ),
        "advantage.e3rl": Builtin(
            "rlllm.algorithms.advantages.segments:SegmentShares",
            "each segment's share of the reward, by the attention paid to it, in its group (E3RL)",
        ),
        "advantage.dasd": Builtin(
            "rlllm.algorithms.advantages.self_distillation:DASD",
            "group, and towards or away from itself with the solution, by entropy (DASD)",
        ),
        "advantage.opsd": Builtin(
            "rlllm.algorithms.advantages.self_distillation:OPSD",
            "towards itself with the solution, at every token; needs no reward (OPSD)",
        ),
        "advantage.rlsd": Builtin(
            "rlllm.algorithms.advantages.self_distillation:RLSD",
            "group, larger where the policy with the solution agrees (RLSD)",
        ),
        "advantage.rlrt": Builtin(
            "rlllm.algorithms.advantages.self_distillation:RLRT",
            "group, larger where a good completion departs from the policy with the solution (RLRT)",
        ),
        "advantage.information-gain": Builtin(
            "rlllm.algorithms.advantages.information_gain:InformationGain",
            "how much more likely the thought makes what follows, in its group; needs no reward (RLP)",
        ),
        "advantage.lagrange": Builtin(
            "rlllm.algorithms.advantages.lagrange:Lagrange", "reward minus a cost whose weight holds it under a bound"
        ),
        "loss.grpo": Builtin(
            "rlllm.algorithms.losses.trl:GRPO", "clipped ratio, mean over each completion's tokens (TRL)"
        ),
        "loss.bnpo": Builtin(
            "rlllm.algorithms.losses.trl:BNPO", "clipped ratio, mean over the tokens of the micro-batch (TRL)"
        ),
        "loss.dr_grpo": Builtin(
            "rlllm.algorithms.losses.trl:DrGRPO", "clipped ratio, sum over tokens over the length limit (TRL)"
        ),
        "loss.dapo": Builtin(
            "rlllm.algorithms.losses.trl:DAPO", "clipped ratio, mean over the tokens of the optimizer step (TRL)"
        ),
        "loss.luspo": Builtin(
            "rlllm.algorithms.losses.trl:LUSPO", "clipped ratio, sum over each completion's tokens (TRL)"
        ),
        "loss.cispo": Builtin(
            "rlllm.algorithms.losses.trl:CISPO", "clipped importance weight on the log-likelihood (TRL)"
        ),
        "loss.sapo": Builtin("rlllm.algorithms.losses.trl:SAPO", "a soft gate on the ratio (TRL)"),
        "loss.vespo": Builtin(
            "rlllm.algorithms.losses.trl:VESPO", "a smooth weight on the ratio of whole completions (TRL)"
        ),
        "loss.dual-clip": Builtin(
            "rlllm.algorithms.losses.dual_clip:DualClip", "clipped ratio, bounded where the advantage is negative"
        ),
        "loss.gmpo": Builtin(
            "rlllm.algorithms.losses.gmpo:GMPO", "geometric mean of token ratios, each clipped in log space"
        ),
        "loss.kl-cov": Builtin("rlllm.algorithms.losses.kl_cov:KLCov", "a KL term on the tokens of highest covariance"),
        "loss.rloo": Builtin("rlllm.algorithms.losses.rloo:RLOO", "clipped ratio of whole completions, not per token"),
        "loss.luffy": Builtin(
            "rlllm.algorithms.losses.luffy:LUFFY", "p / (p + gamma) on tokens the policy did not write"
        ),
        "mask.all": Builtin("rlllm.algorithms.masks.all_tokens:AllTokens", "every completion token learns"),
        "mask.random": Builtin(
            "rlllm.algorithms.masks.random_tokens:RandomTokens", "a random share of tokens learns (a control)"
        ),
        "mask.entropy": Builtin(
            "rlllm.algorithms.masks.top_entropy:TopEntropy", "a share of the tokens, those of highest entropy, learns"
        ),
        "mask.entropy-top20": Builtin(
            "rlllm.algorithms.masks.top_entropy:TopEntropy", "the fifth of the tokens of highest entropy learns"
        ),
        "mask.ict": Builtin(
            "rlllm.algorithms.masks.top_share:ICT",
            "a share of each completion, where it departs most from its siblings, learns (ICT)",
        ),
        "mask.entropy-per-completion": Builtin(
            "rlllm.algorithms.masks.top_share:EntropyPerCompletion",
            "a share of each completion, the tokens of highest entropy, learns (a control)",
        ),
        "mask.random-per-completion": Builtin(
            "rlllm.algorithms.masks.top_share:RandomPerCompletion",
            "a random share of each completion learns (a control)",
        ),
        "mask.clip-cov": Builtin(
            "rlllm.algorithms.masks.clip_cov:ClipCov", "a few tokens of high covariance do not learn"
        ),
    },
    "rlllm methods ls --slots",
)

SIGNALS = Registry(
    "signal",
    "rlllm.signals",
    {
        "logps": Builtin("rlllm.algorithms.signals.logps:Logps"),
        "entropies": Builtin("rlllm.algorithms.signals.entropies:Entropies"),
        "certainty": Builtin("rlllm.algorithms.signals.certainty:Certainty"),
        "purity": Builtin("rlllm.algorithms.signals.purity:Purity"),
        "ref_logps": Builtin("rlllm.algorithms.signals.reference_logps:ReferenceLogps"),
        "values": Builtin("rlllm.algorithms.signals.values:Values"),
        "greedy_rewards": Builtin("rlllm.algorithms.signals.greedy_rewards:GreedyRewards"),
        "step_hidden_states": Builtin("rlllm.algorithms.signals.step_hidden_states:StepHiddenStates"),
        "sibling_distributions": Builtin("rlllm.algorithms.signals.sibling_distributions:SiblingDistributions"),
        "sibling_divergence": Builtin("rlllm.algorithms.signals.sibling_distributions:SiblingDivergence"),
        "attention_shares": Builtin("rlllm.algorithms.signals.attention_shares:AttentionShares"),
        "answer_logps": Builtin("rlllm.algorithms.signals.answer_logps:AnswerLogps"),
        "thought_gain": Builtin("rlllm.algorithms.signals.thought_gain:ThoughtGain"),
        "teacher_logps": Builtin("rlllm.algorithms.signals.teacher_logps:TeacherLogps"),
    },
    "rlllm methods ls --signals",
)
