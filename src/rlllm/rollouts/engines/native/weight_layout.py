"""The weights of a Llama-shaped model in the layout of the fast decoder, read from the live module at every rollout.

Three things are folded into the matrices of a layer, all of them exactly: the weight of each RMSNorm into the matrix it feeds,
adapters into the matrix they adapt, and the order of a head's numbers, so that rotary embedding is one complex product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlllm.core.hardware import bytes_text
from rlllm.rollouts.engines.native.attention import Heads
from rlllm.rollouts.engines.native.linear import Linear, laid_out

_ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_ROTARY = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings whose angles depend on the position alone (`dynamic` and `longrope` look at the length too)."""
COPY_SHARE = 0.5
"""Of the free memory, what the copy may take at most: keys, values and training need some too."""
_IDLE_HOOKS = ("make_inputs_require_grads", "output_capturing_hook")
"""Hooks that transformers leaves behind and that change no logits: gradient checkpointing with adapters asks for a gradient,
and a pass that once returned hidden states would collect them again."""


def base_of(model: Any) -> Any:
    """The transformers model inside an adapter wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def refusal(model: Any) -> str | None:
    """Why the fast decoder does not fit this model, as far as its structure tells; None if it may."""
    base = base_of(model)
    kind = type(base).__name__
    if kind not in _ARCHITECTURES or not type(base).__module__.startswith("transformers."):
        return f"the architecture {kind} is not one of {', '.join(_ARCHITECTURES)}"
    rotary = base.model.rotary_emb.rope_type
    if rotary not in _ROTARY:
        return f"rotary embedding of type {rotary}"
    checks = (adds_tokens(model), _wrong_tensor(base), _changed_from_outside(base), *map(_odd, _parts(base)))
    return next((reason for reason in checks if reason), None) or _too_large(base)


def adds_tokens(model: Any) -> str | None:
    """What to say of an adapter that lengthens the prompt."""
    active = getattr(model, "active_peft_config", None)
    return "the adapter adds virtual tokens" if active is not None and active.is_prompt_learning else None


def window(model: Any) -> int | None:
    """Tokens a layer looks back on at most, where some layer has such a limit."""
    base = base_of(model)
    if type(base).__name__ == "MistralForCausalLM":
        return base.config.sliding_window
    limits = [getattr(layer.self_attn, "sliding_window", None) for layer in base.model.layers]
    return min((limit for limit in limits if limit), default=None)


def _wrong_tensor(base: Any) -> str | None:
    kinds = {(parameter.dtype, parameter.device) for parameter in base.parameters()}
    if len(kinds) != 1:
        return "weights of more than one kind or device"
    dtype, device = kinds.pop()
    if dtype != torch.float32:
        return f"weights in {str(dtype).removeprefix('torch.')}"
    return None if device.type in ("cpu", "cuda") else f"weights on {device.type}"


def _too_large(base: Any) -> str | None:
    size, free = sum(weight.nbytes for weight in base.parameters()), _free_memory(base.device)
    if free is None or size < free * COPY_SHARE:
        return None
    return f"a second copy of its weights takes {bytes_text(size)}, and {bytes_text(free)} are free"


def _free_memory(device: torch.device) -> int | None:
    """Bytes that can be had without swapping, where that is known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux
        return None
    fields = dict(line.split(":") for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None


def _changed_from_outside(base: Any) -> str | None:
    for name, module in base.named_modules():
        if name and "forward" in vars(module):
            return f"the forward pass of {name} is replaced"
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if any(getattr(hook, "__name__", "") not in _IDLE_HOOKS for hook in hooks):
            return f"{name or 'the model'} has forward hooks"
    return None


def _parts(base: Any) -> Iterator[tuple[str, Any]]:
    yield "the embedding", base.model.embed_tokens
    yield "lm_head", base.lm_head
    for layer in base.model.layers:
        yield "the activation", layer.mlp.act_fn
        yield from ((f"{name}_proj", getattr(layer.self_attn, f"{name}_proj")) for name in "qkvo")
        yield from ((f"{name}_proj", getattr(layer.mlp, f"{name}_proj")) for name in ("gate", "up", "down"))


def _odd(part: tuple[str, Any]) -> str | None:
    name, module = part
    if type(module) in (nn.Linear, nn.Embedding) or type(module).__name__ in ("SiLU", "SiLUActivation"):
        return None
    if type(getattr(module, "base_layer", None)) is not nn.Linear or not hasattr(module, "get_delta_weight"):
        return f"{name} is a {type(module).__name__}"
    if getattr(module, "lora_variant", None) or any(getattr(module, "lora_bias", {}).values()):
        return f"the adapter of {name} adds more than a product of two matrices"
    return None


@dataclass(frozen=True)
class Block:
    """One layer. `project` gives queries, keys and values, head after head, each interleaved."""

    project: Linear
    mix: Linear
    gate: Linear
    up: Linear
    down: Linear
    head_norm: Tensor | None
    """(query + key heads, size) weight of the norm of queries and keys (Qwen3)."""


@dataclass(frozen=True)
class Weights:
    """Everything the decoder computes with."""

    embedding: Tensor
    blocks: list[Block]
    last_norm: Tensor
    """(hidden,) what states are multiplied with before the head, after their length was divided out."""
    head: Linear
    heads: Heads
    floor: Tensor
    """() what a norm's length is never below: the root of hidden size * epsilon."""
    head_floor: Tensor
    """() the same of the norm of a head."""
    rotary: Any

    @classmethod
    def read(cls, model: Any) -> Weights:
        """Copy them out of a model that `refusal` has nothing against."""
        base = base_of(model)
        config, core = base.config, base.model
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        heads = Heads(config.num_attention_heads, config.num_key_value_heads, size)
        embedding = core.embed_tokens.weight.detach()
        return cls(
            embedding=embedding,
            blocks=[_block(layer, heads) for layer in core.layers],
            last_norm=core.norm.weight.detach() * config.hidden_size**0.5,
            head=laid_out(*_effective(base.lm_head)),
            heads=heads,
            floor=torch.tensor((config.hidden_size * config.rms_norm_eps) ** 0.5, device=embedding.device),
            head_floor=torch.tensor((size * config.rms_norm_eps) ** 0.5, device=embedding.device),
            rotary=core.rotary_emb,
        )

    def turns(self, positions: int) -> Tensor:
        """(positions, size / 2) complex rotations, by the model's own rotary embedding."""
        asked = torch.arange(positions, device=self.embedding.device).unsqueeze(0)
        cosine, sine = self.rotary(self.embedding, asked)
        half = self.heads.size // 2
        return torch.complex(cosine[0, :, :half].contiguous(), sine[0, :, :half].contiguous())


def _block(layer: Any, heads: Heads) -> Block:
    attention, mlp = layer.self_attn, layer.mlp
    queries, keys, values = (_effective(getattr(attention, f"{name}_proj")) for name in "qkv")
    turned = [_interleaved(part, heads.size) for part in (queries, keys)]
    weights, biases = zip(*turned, values, strict=True)
    bias = None if biases[0] is None else torch.cat(biases)
    gate, up = _effective(mlp.gate_proj), _effective(mlp.up_proj)
    return Block(
        project=_after_norm(layer.input_layernorm, (torch.cat(weights), bias)),
        mix=laid_out(*_effective(attention.o_proj)),
        gate=_after_norm(layer.post_attention_layernorm, gate),
        up=_after_norm(layer.post_attention_layernorm, up),
        down=laid_out(*_effective(mlp.down_proj)),
        head_norm=_head_norm(attention, heads) if hasattr(attention, "q_norm") else None,
    )


def _head_norm(attention: Any, heads: Heads) -> Tensor:
    query, key = (
        _interleaved((norm.weight.detach(), None), heads.size)[0] for norm in (attention.q_norm, attention.k_norm)
    )
    rows = (query.expand(heads.query, -1), key.expand(heads.key, -1))
    return torch.cat(rows) * heads.size**0.5


def _effective(module: Any) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a linear layer with its active adapters added."""
    if type(module) is nn.Linear:
        return module.weight.detach(), None if module.bias is None else module.bias.detach()
    weight, bias = _effective(module.base_layer)
    if module.disable_adapters or module.merged:
        return weight, bias
    for name in module.active_adapters:
        if name in module.lora_A:
            weight = weight + module.get_delta_weight(name).detach()
    return weight, bias


def _after_norm(norm: Any, part: tuple[Tensor, Tensor | None]) -> Linear:
    """A product whose input was divided by its Euclidean norm: the rest of the RMSNorm is in the matrix."""
    weight, bias = part
    return laid_out(weight * (norm.weight.detach() * weight.size(1) ** 0.5), bias)


def _interleaved(part: tuple[Tensor, Tensor | None], size: int) -> tuple[Tensor, Tensor | None]:
    """Rows of each head in the order 0, size/2, 1, size/2 + 1, ...: what rotates together stands together."""
    weight, bias = (
        None if tensor is None else tensor.unflatten(0, (-1, 2, size // 2)).transpose(1, 2).reshape(tensor.shape)
        for tensor in part
    )
    assert weight is not None
    return weight, bias
