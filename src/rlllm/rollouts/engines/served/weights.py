"""The policy's weights as a checkpoint holds them: adapters merged, under the names that `from_pretrained` reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlllm.core.errors import ConfigError
from rlllm.policies.sharded_weights import own_part

_SHARD = "2GB"
_SHIFT = 0.05
"""Size of a trial's noise, as a share of a tensor's root mean square."""
_FROM_NOTHING = 0.02
"""The same for a tensor of zeros, such as the second matrix of a new adapter."""
_NARROW: dict[int, torch.dtype] = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def checkpoint_weights(model: Any) -> dict[str, Tensor]:
    """Name -> weight of the model that samples: tensors of the model itself, and new ones where an adapter is merged.

    The model is afterwards as it was, to the last bit.

    Raises:
        ConfigError: weights in 4 or 8 bits or spread over processes, or an adapter that is no change of weights.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    _refuse_what_cannot_be_written(model, base)
    adapted = {name: module for name, module in base.named_modules() if _is_adapted(module)}
    weights: dict[str, Tensor] = {}
    for name, weight in _named(base).items():
        owner = next((place for place in adapted if name.startswith(f"{place}.")), None)
        if owner is None:
            weights[name] = weight.detach()
    with torch.no_grad():
        for place, module in adapted.items():
            weights |= {f"{place}.{name}": weight for name, weight in _merged(module)}
    return weights


def _named(base: Any) -> Mapping[str, Tensor]:
    """Every weight by its name; of FSDP2, which `state_dict` would have spread again, those that are gathered."""
    from torch.distributed.fsdp import FSDPModule

    return dict(base.named_parameters(remove_duplicate=False)) if isinstance(base, FSDPModule) else base.state_dict()


def _refuse_what_cannot_be_written(model: Any, base: Any) -> None:
    if getattr(base, "is_quantized", False) or getattr(base, "quantization_method", None):
        raise ConfigError(
            "the weights of a quantised model cannot be brought to a copy that samples",
            given=type(base).__name__,
            hint="rollout.engine=native, or a model in 16 or 32 bits",
        )
    if any(hasattr(weight, "full_tensor") or weight.numel() == 0 for weight in base.parameters()):
        raise ConfigError(
            "weights that are spread over several processes cannot be brought to a server by this engine",
            given="FSDP, or DeepSpeed's stage 3",
            hint="launch=ddp or deepspeed-zero2; or TRL's own way: rollout.engine=hf use_vllm=true vllm_mode=server",
        )
    active = getattr(model, "active_peft_config", None)
    if active is not None and active.is_prompt_learning:
        raise ConfigError(
            "an adapter that adds virtual tokens is no change of weights, which is all a copy can be given",
            given=str(active.peft_type),
            hint="rollout.engine=native, or lora.r=16",
        )


def _is_adapted(module: Any) -> bool:
    return hasattr(module, "base_layer") or hasattr(module, "original_module")


def _merged(module: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights of an adapted module by their names in the plain one."""
    if hasattr(module, "original_module"):  # trained whole beside the adapters
        active = module.active_adapter if isinstance(module.active_adapter, str) else module.active_adapter[0]
        chosen = module.original_module if module.disable_adapters else module.modules_to_save[active]
        yield from chosen.state_dict().items()
        return
    layer = module.base_layer
    kept = {name: weight.detach().clone() for name, weight in layer.state_dict().items()}
    if module.disable_adapters or module.merged:
        yield from kept.items()
        return
    module.merge(safe_merge=True)
    try:
        merged = {name: weight.detach().clone() for name, weight in layer.state_dict().items()}
    finally:
        module.unmerge()
        layer.load_state_dict(kept)  # taking off what was put on leaves a rounding error behind
    yield from merged.items()


def sums_of(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Name -> a hash of the weight's bits that its own device computes, without a copy. It finds changes, not forgeries."""
    sums = {}
    for name, weight in weights.items():
        bits = weight.contiguous().view(_NARROW[weight.element_size()]).flatten()
        parts = [int(bits.sum(dtype=torch.int64)), int(bits[::3].sum(dtype=torch.int64))]
        sums[name] = f"{tuple(weight.shape)} {weight.dtype} {parts}"
    return sums


def version_of(sums: Mapping[str, str]) -> str:
    """One short word for all weights, which tells them from those of another step."""
    return hashlib.sha256("\n".join(f"{name} {value}" for name, value in sorted(sums.items())).encode()).hexdigest()[
        :16
    ]


def write_weights(model: Any, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write a checkpoint that a server can read, whole or not at all: the folder has its name when everything is in it.

    Raises:
        OSError: no space, or no right to write.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    written, seen = dict(weights), set()
    for name, weight in weights.items():
        if (
            weight.data_ptr() in seen
        ):  # a tied head, which vLLM's CPU build holds apart: left out, it would keep the old one
            written[name] = weight.clone()
        seen.add(weight.data_ptr())
    unfinished = folder.with_name(f"{folder.name}.part")
    with _quiet():
        base.save_pretrained(unfinished, state_dict=written, max_shard_size=_SHARD)
    unfinished.rename(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar, which would be printed at every step."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _held(weight: Any) -> Any:
    """What this process computes with: all of a weight that is whole or gathered for now, else its part."""
    return own_part(weight) if hasattr(weight, "full_tensor") or not weight.numel() else weight


@contextmanager
def shifted(model: Any, seed: int) -> Iterator[None]:
    """The model with noise on everything that trains (on everything, where nothing does); as it was afterwards, bit for bit.

    Of weights that are spread over processes each changes its part. The copies that restore it lie in the memory of the host.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad] or list(model.parameters())
    with torch.no_grad():
        parameters = [part for part in map(_held, trained) if part.numel()]
    kept = [weight.detach().to("cpu", copy=True) for weight in parameters]
    generators: dict[torch.device, torch.Generator] = {}
    with torch.no_grad():
        for weight in parameters:
            device = weight.device
            generator = generators.setdefault(device, torch.Generator(device).manual_seed(seed))
            size = float(weight.float().square().mean().sqrt()) * _SHIFT or _FROM_NOTHING
            noise = torch.empty(weight.shape, device=device).normal_(generator=generator)
            weight.add_((size * noise).to(weight.dtype))
        try:
            yield
        finally:
            for weight, before in zip(parameters, kept, strict=True):
                weight.copy_(before)
