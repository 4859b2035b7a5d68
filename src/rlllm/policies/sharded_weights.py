"""Models whose weights are spread over processes by FSDP2 or ZeRO-3: how to read them whole, for a while or for good.

All functions here are collective: every process calls them in the same order. For a model of one process or of DDP they do
nothing, or what one expects.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


def _reshards(module: Any) -> bool:
    group = module._get_fsdp_state()._fsdp_param_group
    return bool(group is not None and group._reshard_after_forward)


def make_whole(model: Any, *, keep: bool) -> None:
    """Make an ordinary model of one that FSDP2 shards, in place, after its training: its optimizer does not know it any more.

    Args:
        model: as it was trained.
        keep: whether this process gets the weights, on its CPU; the others lose theirs.
    """
    if not any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
        return
    import torch
    from torch.distributed.fsdp import FSDPModule

    new: dict[int, Any] = {}  # tied weights stay one parameter
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if not hasattr(parameter, "full_tensor"):
                continue
            if id(parameter) not in new:
                tensor = whole_tensor(parameter)
                tensor = tensor.cpu() if keep else torch.empty(0, dtype=tensor.dtype)
                new[id(parameter)] = (torch.nn.Parameter(tensor, requires_grad=parameter.requires_grad), parameter)
            module._parameters[name] = new[id(parameter)][0]
    for module in model.modules():
        if isinstance(module, FSDPModule):
            _release(module)
        for name in ("_is_fsdp_managed_module", "_fsdp_use_orig_params"):
            module.__dict__.pop(name, None)
    if keep:
        model.to("cpu")


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
