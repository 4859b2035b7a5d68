"""Memory of a planned run by what it holds, counted before anything is loaded.

What stays in memory follows from shapes. What comes and goes is an estimate: it depends on the kernels, and `rlllm plan`
measures it. Sharded states are divided by the processes that share them, as in `scale_plan`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.algorithms.components import Components
from rlllm.core import trl_fields
from rlllm.core.records import prompt_text
from rlllm.launch.topology import processes_of
from rlllm.policies.model_sources import resolve_model, weight_shapes
from rlllm.training.plan import Plan, RLPlan
from rlllm.training.precision import planned_dtype
from rlllm.training.reward_specs import named_models
from rlllm.training.scale_plan import SHARDED

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Of a number in a format; of weights whose format the device decides, float32 is counted."""
QUANTISED = {"4bit": 0.516, "8bit": 1.0}
"""Bytes of a quantised weight. NF4: 4 bits, and for 64 weights a constant of 8 bits, which has 32 for 256 constants."""
_OUTSIDE = {"embed_tokens", "wte", "wpe", "embed_in", "lm_head", "embed_out"}
_CHARACTERS = 4
"""Of a token, about."""
_ACTIVATIONS = 17
"""Numbers that a layer keeps for its backward pass, for each token and hidden number (Korthikanti et al. 2022: 34 bytes in 16
bits, with fused attention)."""
_LOGITS = 3
"""Numbers of a token and a word of the vocabulary at the loss: logits, their softmax, and the gradient."""
_LOOKED_AT = 2000
"""Rows whose length is counted."""


def memory_of(plan: Plan[Any]) -> dict[str, float] | None:
    """Name -> bytes of one process's part; None for a model whose sizes are not known before it is loaded.

    The first entries stay for the whole run. `activations`, `logits` and `keys and values` come and go, and are estimates for
    rows of the greatest length.
    """
    folder = plan.source.whole.folder
    shapes = weight_shapes(folder) if folder else None
    if folder is None or shapes is None:
        return None
    count = sum(math.prod(shape) for shape in shapes.values())
    width, lora, bits = BYTES.get(planned_dtype(plan.source) or "float32", 4), plan.config.lora, plan.source.loading
    learning = adapter_parameters(shapes, lora.r) if lora else count
    whole = count * (QUANTISED[bits.quantisation] if bits.quantisation else width)
    learned = 4 if lora else width
    parts = {
        "weights": whole + (learning * learned if lora else 0),
        "gradients": learning * learned,
        "optimizer": 2 * learning * learned,
        "reference": whole * _has_reference(plan),
        **_critic(plan, count),
        "reward models": _reward_models(plan),
    }
    sharded, processes = SHARDED[plan.config.launch.how], processes_of(plan.config.launch)
    held = {name: size / (processes if name in sharded else 1) for name, size in parts.items() if size}
    return {**held, **_working(plan, width)}


def disk_of(plan: Plan[Any]) -> dict[str, float] | None:
    """Name -> bytes that the run's directory takes: the model, and one checkpoint with its optimizer. None as above."""
    parts = memory_of(plan)
    if parts is None:
        return None
    processes, sharded = processes_of(plan.config.launch), SHARDED[plan.config.launch.how]
    whole = {name: size * (processes if name in sharded else 1) for name, size in parts.items()}
    model = whole["gradients"] if plan.config.lora and not plan.config.lora.merge else whole["weights"]
    critic = whole.get("critic", 0.0) + whole.get("critic's optimizer", 0.0)
    trained = whole["gradients"] if plan.config.lora else whole["weights"]
    return {"model": model, "checkpoint": trained + whole["optimizer"] + critic}


def adapter_parameters(shapes: Mapping[str, list[int]], rank: int) -> int:
    """Numbers in low-rank adapters on every linear layer but the embeddings and the head, peft's `all-linear`."""
    return sum(rank * sum(shape) for name, shape in shapes.items() if is_linear(name, shape))


def is_linear(name: str, shape: Sequence[int]) -> bool:
    """Whether a weight is a matrix of a linear layer, and not an embedding or the head."""
    return len(shape) == 2 and not _OUTSIDE & set(name.split("."))


def cache_of_token(config: Mapping[str, Any], width: int) -> int | None:
    """Bytes of keys and values of one token, from the usual names of config.json; None where these are missing."""
    text = config.get("text_config") or config
    try:
        heads = text.get("num_key_value_heads") or text["num_attention_heads"]
        size = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
        return int(2 * text["num_hidden_layers"] * heads * size * width)
    except KeyError:
        return None


def _has_reference(plan: Plan[Any]) -> bool:
    """Whether a second copy of the model stays in memory, to compare with."""
    if plan.config.lora:
        return False
    if isinstance(plan, RLPlan):
        return float(plan.setting("beta")) > 0
    fields = trl_fields.table(plan.trainer.trl_config)
    return "precompute_ref_log_probs" in fields and not plan.setting("precompute_ref_log_probs")


def _critic(plan: Plan[Any], count: int) -> dict[str, float]:
    """A value model of its own, which is trained whole and in float32."""
    has = isinstance(plan, RLPlan) and Components.of(plan.slots).needs("critic")
    if not has or plan.config.critic.share_backbone:
        return {}
    return {"critic": 4.0 * count, "critic's gradients": 4.0 * count, "critic's optimizer": 8.0 * count}


def _reward_models(plan: Plan[Any]) -> float:
    """Reward models are loaded in float32."""
    specs = [*getattr(plan.config, "rewards", ()), *filter(None, [getattr(plan.config, "eval_reward", None)])]
    paths = {str(spec.params["path"]) for spec in named_models(specs) if "path" in spec.params}
    return sum(4.0 * (resolve_model(path, ensembles=True).parameter_count() or 0) for path in paths)


def _working(plan: Plan[Any], width: int) -> dict[str, float]:
    """Of the largest micro-step and the largest rollout."""
    config = plan.source.settings()
    text = config.get("text_config") or config
    names = ("hidden_size", "num_hidden_layers", "vocab_size")
    if not all(isinstance(text.get(name), int) for name in names):
        return {}
    hidden, layers, vocabulary = (text[name] for name in names)
    rows, prompt, completion = _rows_and_tokens(plan)
    tokens = rows * (prompt + completion)
    kept = 2 * layers + _ACTIVATIONS if plan.setting("gradient_checkpointing") else layers * _ACTIVATIONS
    found = {"activations": float(tokens * hidden * kept * width)}
    if plan.trainer.task == "CAUSAL_LM":
        found["logits"] = float(_LOGITS * 4 * vocabulary * rows * (completion or prompt))
    cache = cache_of_token(config, width)
    if isinstance(plan, RLPlan) and cache and plan.config.rollout.engine in ("native", "hf"):
        found["keys and values"] = float(plan.batches.completions_per_rollout * (prompt + completion) * cache)
    return found


def _rows_and_tokens(plan: Plan[Any]) -> tuple[int, int, int]:
    """Rows of a micro-step, and tokens of the longest prompt and completion; a recorded row counts as a prompt."""
    rows = int(plan.setting("per_device_train_batch_size"))
    looked_at = plan.loaded.train[:_LOOKED_AT]
    if isinstance(plan, RLPlan):
        longest = max((len(prompt_text(task.prompt)) for task in looked_at), default=0)
        return rows, math.ceil(longest / _CHARACTERS), plan.config.rollout.max_new_tokens
    fields = trl_fields.table(plan.trainer.trl_config)
    sides = 1 if plan.trainer.batch_tokens is None or "max_length" not in fields or plan.trainer.name == "sft" else 2
    longest = max((_characters(record) for record in looked_at), default=0)
    limit = plan.setting("max_length") if "max_length" in fields else None
    tokens = math.ceil(longest / _CHARACTERS)
    return sides * rows, min(tokens, limit or tokens), 0


def _characters(record: Any) -> int:
    """Of the longest sequence of a row."""
    sides = [getattr(record, name) for name in ("completion", "chosen", "rejected") if hasattr(record, name)]
    texts = [side if isinstance(side, str) else prompt_text(side) for side in sides]
    prompt = getattr(record, "prompt", None)
    return (len(prompt_text(prompt)) if prompt else 0) + max(map(len, texts), default=0)
