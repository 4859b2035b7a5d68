"""Rewards that ship with rlllm, by name. A static table, so that listing imports nothing."""

from __future__ import annotations

from rlllm.core.registry import Builtin, Registry

REWARDS = Registry(
    "reward",
    "rlllm.rewards",
    {
        "exact": Builtin("rlllm.rewards.verifiers.exact:Exact", "1 if the final answer equals the reference, as text"),
        "numeric": Builtin(
            "rlllm.rewards.verifiers.numeric:Numeric",
            "1 if the final answer is the reference number, within a tolerance",
        ),
        "regex": Builtin("rlllm.rewards.verifiers.regex:Regex", "1 if the completion matches a pattern"),
        "format": Builtin(
            "rlllm.rewards.verifiers.format:Format", "1 if there is exactly one marked final answer, at the end"
        ),
        "length": Builtin("rlllm.rewards.length:Length", "0 within the budget, falling to -1 above it"),
        "overlong": Builtin("rlllm.rewards.length:Overlong", "0 well under a limit, falling to -1 at it (DAPO)"),
        "cosine": Builtin(
            "rlllm.rewards.length:Cosine", "a correctness reward scaled by length: short if right, long if wrong"
        ),
        "abstention": Builtin(
            "rlllm.rewards.abstention:Abstention",
            'a verifying reward with a price: 1 if right, 0 for "I do not know", -penalty if wrong',
        ),
        "steps": Builtin(
            "rlllm.rewards.verifiers.steps:Steps", "share of the worked steps that hold, of a right answer"
        ),
        "next-token": Builtin(
            "rlllm.rewards.verifiers.next_token:NextToken",
            "1 if the prediction is the first tokens of the true continuation (RPT)",
        ),
        "state-change": Builtin(
            "rlllm.rewards.verifiers.state_change:StateChange",
            "F1 of a predicted next state over the lines that changed (world-model feedback)",
        ),
        "budget": Builtin("rlllm.rewards.length:Budget", "minus the distance to the requested length, in tokens (L1)"),
        "repetition": Builtin(
            "rlllm.rewards.repetition:Repetition", "minus the share of n-grams that repeat an earlier one"
        ),
        "eos": Builtin("rlllm.rewards.length:EosReward", "0 if the completion ended by itself, -1 at the length limit"),
        "math": Builtin("rlllm.rewards.math.reward:Math", "1 if the final answer equals the reference as mathematics"),
        "physics": Builtin(
            "rlllm.rewards.physics.reward:Physics",
            "a number with its unit, a formula, or a motion, against the row's columns",
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
            "rlllm.rewards.verifiers.function_calls:Calls",
            "1 if the expected functions are called, with allowed arguments",
        ),
        "language": Builtin(
            "rlllm.rewards.verifiers.language:Language", "share of the letters in the expected language"
        ),
        "countdown": Builtin(
            "rlllm.rewards.verifiers.countdown:Countdown",
            "1 if the expression uses the numbers and reaches the target",
        ),
        "gym": Builtin(
            "rlllm.rewards.verifiers.reasoning_gym_scorer:Gym", "the reasoning-gym scorer of the row's task"
        ),
        "verifiers": Builtin(
            "rlllm.rewards.verifiers_task:VerifiersTask", "the rewards of the row's task of a verifiers taskset"
        ),
        "gold": Builtin(
            "rlllm.rewards.gold:Gold", "the simulated annotator's true utility: correct, well formed, concise"
        ),
        "model": Builtin(
            "rlllm.rewards.models.reward_model:RewardModel", "score of a trained reward model (run, folder or Hub id)"
        ),
        "process": Builtin(
            "rlllm.rewards.models.process_reward_model:ProcessModel",
            "chance that every step is right, by a trained process reward model",
        ),
        "remote": Builtin(
            "rlllm.rewards.http.remote:Remote", "scores from a server of your own, requested in batches over HTTP"
        ),
        "judge": Builtin(
            "rlllm.rewards.judges.judge:Judge",
            "score of an LLM judge, a model or an endpoint: a rating, or against a reference",
        ),
        "environment": Builtin(
            "rlllm.rewards.environment:EnvironmentReward", "the value of the environment's get_reward"
        ),
        "verdict": Builtin(
            "rlllm.rewards.judges.judge:Verdict", "1 if the verdict (A or B) is the row's answer: trains judges"
        ),
        "verdict-form": Builtin(
            "rlllm.rewards.judges.judge:VerdictForm", "1 if a critique stands before one final verdict"
        ),
        "tagged": Builtin(
            "rlllm.rewards.verifiers.tagged.reward:Tagged", "1 if the five tags parse and the answer in them is right"
        ),
        "tagged-form": Builtin(
            "rlllm.rewards.verifiers.tagged.reward:TaggedForm", "1 if the five tags stand once each, in order"
        ),
        "consistency": Builtin(
            "rlllm.rewards.verifiers.tagged.reward:Consistency",
            "the stated relation of two channels holds, where the answer is right (VAC-GRPO)",
        ),
        "cues": Builtin(
            "rlllm.rewards.verifiers.tagged.reward:CueProcess",
            "F1 of the cues that are named, where the answer is right (VAC-GRPO)",
        ),
        "reflection": Builtin(
            "rlllm.rewards.verifiers.tagged.reward:ReflectionGain",
            "1 if a second answer is right and the first was not, 0 the other way round (VAC-GRPO)",
        ),
        "refusal": Builtin("rlllm.rewards.verifiers.refusal:Refusal", "1 if the completion refuses to help, else 0"),
        "random": Builtin(
            "rlllm.rewards.controls:RandomReward", "1 with probability p, whatever the completion says (a control)"
        ),
        "flipped": Builtin("rlllm.rewards.controls:Flipped", "1 minus another reward (a control)"),
    },
    "rlllm rewards ls",
)
