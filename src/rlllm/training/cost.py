"""Cost of a planned RL run, counted before anything is loaded: completions, tokens, passes, memory.

Counts follow from the settings; nothing is measured and no time is guessed. Memory is what the weights, the optimizer and the
key-value cache take by arithmetic; activations come on top and depend on the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from rlllm.algorithms.components import Components
from rlllm.algorithms.protocols import Dialogue, Erasure, Sampler
from rlllm.core.hardware import bytes_text
from rlllm.policies.model_sources import weight_shapes
from rlllm.training.batch_arithmetic import BatchPlan
from rlllm.training.images import pixel_bytes
from rlllm.training.memory import BYTES, QUANTISED, adapter_parameters, cache_of_token, is_linear
from rlllm.training.plan import ExperimentPlan, Plan, RLPlan
from rlllm.training.precision import planned_dtype
from rlllm.training.scale_rows import Scale, scale_of


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by what they hold."""

    parameters: int
    """Numbers in the policy's weights."""
    trained: int
    """Numbers that are trained: all, or those of the adapters; a critic's come on top."""
    weights: int
    """Of the policy, and of a reference and a critic where the run has them."""
    training: int
    """Gradients and Adam's two moments."""
    cache: int | None
    """Keys and values of a rollout whose completions all reach the limit, without their prompts; None if not known."""
    format: str = "32 bits"
    """Of the weights, in words."""
    pixels: int = 0
    """Of the images of a rollout, held for each completion."""

    @property
    def total(self) -> int:
        return self.weights + self.training + (self.cache or 0) + self.pixels


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run; `runs` of them are made."""

    runs: int
    steps: int
    rollouts: int
    completions: int
    """Sampled in rollouts; what a sampler rejects and draws again comes on top."""
    resampled: int
    """At most so many more, in the further rollouts of a sampler that fills up groups."""
    tokens_sampled: int
    """If every completion reached the limit."""
    tokens_trained: int
    """The same, counted each time a completion is trained on."""
    forward: int
    """Completions that pass through a model of the run: policy, reference and critic, each counted."""
    backward: int
    """Completions that pass back."""
    memory: Memory | None
    tokens_erased: int = 0
    """At most so many more are sampled, in segments that are erased."""
    tokens_of_dialogues: int = 0
    """At most so many more are sampled, in dialogues of which groups complete one turn."""
    measured_at_start: int = 0
    """Completions of training rows by the start model, before the first step, for a sampler that orders rows by them."""
    max_tokens: int | None = None
    """The budget of tokens that may end the run before all of this."""
    scale: Scale | None = None
    """Memory, communication and time of a step on several GPUs; None for one process."""

    def to_json(self) -> dict[str, Any]:
        counts = asdict(replace(self, scale=None))
        return {**counts, "scale": self.scale.to_json() if self.scale else None}

    def lines(self) -> Iterator[tuple[str, str]]:
        """Label and value rows for a person."""
        if self.runs > 1:
            yield "runs", f"{self.runs} whole runs, one after another; each costs:"
        yield (
            "cost",
            f"{self.steps:,} steps, {self.rollouts:,} rollouts, {self.completions:,} completions, "
            f"at most {self.tokens_sampled:,} tokens sampled",
        )
        if self.max_tokens:
            yield "", f"or fewer: max_tokens ends it at {self.max_tokens:,} tokens of prompts and completions"
        if self.resampled:
            yield (
                "",
                f"the sampler may draw up to {self.resampled:,} completions more, to replace groups without signal",
            )
        if self.tokens_erased:
            yield "", f"at most {self.tokens_erased:,} tokens more are sampled, in segments that are erased"
        if self.tokens_of_dialogues:
            yield "", f"at most {self.tokens_of_dialogues:,} tokens more are sampled, in dialogues"
        if self.measured_at_start:
            yield (
                "",
                f"{self.measured_at_start:,} completions of the start model before the first step, for the sampler",
            )
        yield (
            "",
            f"at most {self.tokens_trained:,} tokens trained on; "
            f"completions passed forward {self.forward:,}, backward {self.backward:,}",
        )
        if self.runs > 1:
            yield (
                "",
                f"all runs: {self.runs * self.completions:,} completions, at most {self.runs * self.tokens_sampled:,} tokens "
                f"sampled and {self.runs * self.tokens_trained:,} trained on",
            )
        if self.memory:
            yield "memory", _describe(self.memory)
        if self.scale:
            yield from self.scale.lines()


def cost_of(plan: object) -> Cost | None:
    """The cost of a plan; None for one that samples nothing, or whose data are too small for a step."""
    if not isinstance(plan, RLPlan):
        return None
    if len(plan.loaded.train) < plan.rows_needed:
        return None
    batches, limit = plan.batches, plan.config.rollout.max_new_tokens
    steps = _steps(plan, batches)
    if steps is None:
        return None
    rollouts = math.ceil(steps * batches.completions_per_step / _uses(plan, batches))
    completions, trained = rollouts * batches.completions_per_rollout, steps * batches.completions_per_step
    components = Components.of(plan.slots)
    sampler = components.by_slot["sampler"]
    rounds = sampler.max_rounds if isinstance(sampler, Sampler) else 0
    erase = components.by_slot.get("erase")
    erasures = erase.max_erasures if isinstance(erase, Erasure) else 0
    dialogue = components.by_slot.get("dialogue")
    turns, behind = (dialogue.turns, dialogue.utterances_behind) if isinstance(dialogue, Dialogue) else (0, 0)
    greedy = rollouts * batches.prompts_per_rollout if components.needs("rollout") else 0
    critic = components.needs("critic")
    corrects = plan.config.rollout_correction.correction is not None
    policy = critic or corrects or _scores_again(plan, batches) or components.needs("shared pass")
    own_passes = sum(signal.cost == "pass" for signal in components.signals.values())
    scored = policy + _has_reference(plan) + critic + own_passes
    memory = _memory(plan, critic)
    return Cost(
        runs=len(plan.runs) if isinstance(plan, ExperimentPlan) else 1,
        steps=steps,
        rollouts=rollouts,
        completions=completions + greedy,
        resampled=rounds * completions,
        tokens_sampled=(completions + greedy) * limit,
        tokens_trained=trained * limit,
        tokens_erased=erasures * completions * limit,
        tokens_of_dialogues=(turns * rollouts * batches.prompts_per_rollout + behind * completions) * limit,
        forward=trained * (1 + critic) + completions * scored,
        backward=trained * (1 + critic),
        memory=memory,
        measured_at_start=sampler.start_samples * len(plan.loaded.train) if isinstance(sampler, Sampler) else 0,
        max_tokens=plan.config.max_tokens,
        scale=scale_of(plan, scored, memory.trained if memory and plan.config.lora else None),
    )


def steps_of(plan: Plan[Any]) -> int:
    """Optimizer steps of one run."""
    cost = cost_of(plan)
    if cost is not None:
        return cost.steps
    if plan.setting("max_steps") > 0:
        return int(plan.setting("max_steps"))
    per_epoch = math.ceil(len(plan.loaded.train) / max(plan.rows_of_step, 1))
    return max(1, math.ceil(per_epoch * float(plan.setting("num_train_epochs"))))


def _steps(plan: RLPlan[Any], batches: BatchPlan) -> int | None:
    """Optimizer steps, counted as Trainer does; a last part of an epoch that fills no rollout is dropped."""
    if plan.setting("max_steps") > 0:
        return int(plan.setting("max_steps"))
    rollouts = len(plan.loaded.train) // batches.prompts_per_rollout
    per_epoch = math.ceil(rollouts * _uses(plan, batches) / batches.completions_per_step)
    return math.ceil(per_epoch * plan.setting("num_train_epochs")) or None


def _uses(plan: RLPlan[Any], batches: BatchPlan) -> int:
    """How many completions one rollout gives to train on, each as often as it is used."""
    return int(batches.completions_per_rollout * plan.setting("num_iterations"))


def _scores_again(plan: RLPlan[Any], batches: BatchPlan) -> bool:
    """TRL scores a rollout under the policy that sampled it when it outlives the step that follows, for the ratio's sake."""
    return batches.completions_per_step % _uses(plan, batches) != 0 or _has_reference(plan)


def _has_reference(plan: RLPlan[Any]) -> bool:
    return float(plan.setting("beta")) > 0


def _memory(plan: RLPlan[Any], critic: bool) -> Memory | None:
    folder, config = plan.source.whole.folder, plan.config
    shapes = weight_shapes(folder) if folder else None
    if folder is None or shapes is None:
        return None
    count = sum(math.prod(shape) for shape in shapes.values())
    trained = count if config.lora is None else adapter_parameters(shapes, config.lora.r) * _policies(plan)
    own_critic = critic and not config.critic.share_backbone
    models = 1 + (_has_reference(plan) and config.lora is None) + own_critic
    learning = trained + (count if own_critic else trained if critic else 0)
    limit = plan.batches.completions_per_rollout * config.rollout.max_new_tokens
    dtype, bits = planned_dtype(plan.source), config.model.quantisation
    width = BYTES.get(dtype or "float32", 4)
    per_token = cache_of_token(plan.source.settings(), width)
    whole = sum(math.prod(shape) for name, shape in shapes.items() if not is_linear(name, shape)) if bits else count
    learned = 2 if bits else 4 if config.lora else width  # of QLoRA's adapters, of others, of all weights
    return Memory(
        parameters=count,
        trained=trained,
        weights=models * (whole * width + (round((count - whole) * QUANTISED[bits]) if bits else 0)),
        training=3 * learning * learned,
        cache=per_token and per_token * limit,
        format={"4bit": "4 bits", "8bit": "8 bits"}[bits] if bits else f"{8 * width} bits",
        pixels=plan.batches.completions_per_rollout * pixel_bytes(plan.source, plan.loaded.train),
    )


def _policies(plan: RLPlan[Any]) -> int:
    """Adapters that are trained: one, or one for each role of a dialogue."""
    dialogue = Components.of(plan.slots).by_slot.get("dialogue")
    return max(1, len(dialogue.role_adapters)) if isinstance(dialogue, Dialogue) else 1


def _describe(memory: Memory) -> str:
    trained = "" if memory.trained == memory.parameters else f" and {_short(memory.trained)} in adapters"
    cache = f", keys and values up to {bytes_text(memory.cache)}" if memory.cache else ""
    cache += f", images of a rollout {bytes_text(memory.pixels)}" if memory.pixels else ""
    return (
        f"{_short(memory.parameters)} parameters{trained}: weights {bytes_text(memory.weights)}, gradients and Adam "
        f"{bytes_text(memory.training)}{cache}; in {memory.format}, activations not counted"
    )


def _short(count: int) -> str:
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
