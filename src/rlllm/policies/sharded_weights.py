"""Models whose weights are spread over processes by FSDP2 or ZeRO-3: how to read them whole, for a while or for good.

All functions here are collective: every process calls them in the same order. For a model of one process or of DDP they do
nothing, or what one expects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def is_sharded(model: Any) -> bool:
    """Whether a model's parameters are parts."""
    return any(_is_part(parameter) for parameter in model.parameters())


def _is_part(parameter: Any) -> bool:
    return hasattr(parameter, "full_tensor") or hasattr(parameter, "ds_id")


def whole_tensor(parameter: Any) -> Any:
    """All of a parameter, detached, in every process. Of a part it is a copy."""
    if hasattr(parameter, "full_tensor"):
        return parameter.detach().full_tensor()
    if hasattr(parameter, "ds_id"):
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().clone()
    return parameter.detach()


def whole_tensors(state: Any, *, keep: bool) -> Any:
    """A nest of mappings and lists with every part among its values made whole, on the CPU; without them unless `keep`."""
    if isinstance(state, dict):
        return {name: whole_tensors(value, keep=keep) for name, value in state.items()}
    if isinstance(state, list):
        return [whole_tensors(value, keep=keep) for value in state]
    if not _is_part(state):
        return state
    whole = whole_tensor(state)
    return whole.cpu() if keep else None


def own_tensor(whole: Any, like: Any) -> Any:
    """Of a whole tensor that all processes have, what this one has of a parameter that FSDP2 shards; else the tensor itself."""
    if not hasattr(like, "full_tensor"):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def own_tensors(state: Any, like: Any) -> Any:
    """An optimizer's state of one parameter as `own_tensor` has it, of all tensors that have the parameter's shape."""
    return {
        name: own_tensor(value.to(like.device), like) if getattr(value, "shape", None) == like.shape else value
        for name, value in state.items()
    }


def save_parameters(named: Iterable[tuple[str, Any]], path: Path, *, writes: bool) -> None:
    """Parameters with their names into a safetensors file, whole; one process `writes`."""
    from safetensors.torch import save_file

    whole = {}
    for name, parameter in named:
        tensor = whole_tensor(parameter)
        if writes:
            whole[name] = tensor.contiguous().cpu()
    if writes:
        save_file(whole, path)


def load_parameters(named: Iterable[tuple[str, Any]], path: Path) -> None:
    """Read what `save_parameters` wrote, by any number of processes."""
    import torch
    from safetensors.torch import load_file

    saved = load_file(path)
    with torch.no_grad():
        for name, parameter in named:
            parameter.copy_(own_tensor(saved[name].to(parameter.device), parameter))


def shard(model: Any, plugin: Any) -> None:
    """Spread a model's parameters over all processes by FSDP2, in place: each layer that transformers keeps together by itself,
    the rest together. They are computed with in the number format that they have.

    Args:
        model: the same in all processes.
        plugin: accelerate's settings of FSDP2.
    """
    from torch.distributed.fsdp import fully_shard

    options = {"reshard_after_forward": plugin.reshard_after_forward, "offload_policy": plugin.cpu_offload}
    layers = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    for module in [*model.modules()][:0:-1]:
        if type(module).__name__ in layers:
            fully_shard(module, **options)
    fully_shard(model, **options)


def own_part(parameter: Any) -> Any:
    """What this process has of a parameter. Not collective."""
    if hasattr(parameter, "to_local"):
        return parameter.to_local()
    return getattr(parameter, "ds_tensor", parameter)


@contextmanager
def whole_weights(model: Any) -> Iterator[None]:
    """Every process has all weights inside: what reads them there, an engine above all, computes as with one process.

    The memory of the whole model is needed in each process for as long. Processes may run different numbers of passes inside.
    """
    if not is_sharded(model):
        yield
        return
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(model.parameters())):
            yield
        return
    from torch.distributed.fsdp import FSDPModule

    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    kept = [(module, _reshards(module)) for module in parts]
    for module in parts:
        module.set_reshard_after_forward(False, recurse=False)  # a pass inside would take the weights away again
        module.unshard()
    try:
        yield
    finally:
        for module, reshards in kept:
            module.set_reshard_after_forward(reshards, recurse=False)
            module.reshard()


def spread_again(model: Any) -> None:
    """Take away what FSDP2 leaves gathered after a forward pass without a backward one: the outermost module's weights."""
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _reshards(module: Any) -> bool:
    group = module._get_fsdp_state()._fsdp_param_group
    return bool(group is not None and group._reshard_after_forward)


def make_whole(model: Any, *, keep: bool, engine: Any = None) -> None:
    """Make an ordinary model of one that is sharded, in place, after its training: its optimizer does not know it any more.

    Args:
        model: as it was trained.
        keep: whether this process gets the weights, on its CPU; the others lose theirs.
        engine: DeepSpeed's, around a model that ZeRO-3 shards; it ends here.
    """
    if not is_sharded(model):
        return
    import torch

    new: dict[int, Any] = {}  # tied weights stay one parameter
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if not _is_part(parameter):
                continue
            if id(parameter) not in new:
                tensor = whole_tensor(parameter)
                tensor = tensor.cpu() if keep else torch.empty(0, dtype=tensor.dtype)
                new[id(parameter)] = (torch.nn.Parameter(tensor, requires_grad=parameter.requires_grad), parameter)
            module._parameters[name] = new[id(parameter)][0]
    if engine is not None:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        engine.destroy()
        unset_hf_deepspeed_config()  # else transformers loads any model in parts, and waits for all processes
    else:
        _release_all(model)
    if keep:
        model.to("cpu")


def _release_all(model: Any) -> None:
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            _release(module)
        for name in ("_is_fsdp_managed_module", "_fsdp_use_orig_params"):
            module.__dict__.pop(name, None)


def _release(module: Any) -> None:
    """Take away what `fully_shard` put on a module: hooks, and a class in front of its own."""
    state = module._get_fsdp_state()
    for handle in (state._pre_forward_hook_handle, state._post_forward_hook_handle):
        handle.remove()
    if (group := state._fsdp_param_group) is not None:
        for handles in (
            group._module_to_pre_save_state_dict_hook_handle,
            group._module_to_pre_load_state_dict_hook_handle,
        ):
            for handle in handles.values():
                handle.remove()
    module.__class__ = type(module).__bases__[1]
