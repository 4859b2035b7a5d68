"""FSDP2 on CPUs, by gloo: accelerate shards for any device but a CPU, where torch can do so as well."""

from __future__ import annotations

import os


def shard_on_cpu() -> None:
    """Have accelerate shard as its environment says, in processes that train on CPUs. Nothing happens anywhere else.

    It is called between the trainer's arguments, which make the process group, and the trainer, which makes accelerate's state
    and looks at the kind of processes: sharding is for those of an accelerator, and "xpu" is one without any code of its own.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    state = PartialState()
    if state.distributed_type == DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_XPU
