"""The files that accelerate and DeepSpeed read: how many processes there are, and how they share the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlllm.core.yaml_io import dump
from rlllm.launch.settings import LaunchConfig
from rlllm.launch.topology import Topology

ACCELERATE = "accelerate.yaml"
DEEPSPEED = "deepspeed.json"


def engine_files(launch: LaunchConfig, place: Topology, folder: Path, *, precision: str) -> dict[str, str]:
    """Name -> text of the files for an engine.

    Args:
        launch: the setting.
        place: machines and processes.
        folder: where the files will be; accelerate's names DeepSpeed's.
        precision: `no`, `bf16` or `fp16`.
    """
    files = {ACCELERATE: dump(_accelerate(launch, place, folder, precision))}
    if launch.how.startswith("deepspeed"):
        files[DEEPSPEED] = json.dumps(_deepspeed(launch), indent=2) + "\n"
    return files


def _accelerate(launch: LaunchConfig, place: Topology, folder: Path, precision: str) -> dict[str, Any]:
    """The mapping that `accelerate launch --config_file` reads."""
    settings: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        # accelerate hands several processes to torchrun for this kind; on a CPU they find gloo by `use_cpu`
        "distributed_type": "MULTI_GPU",
        "num_machines": place.nodes,
        "num_processes": place.world_size,
        "machine_rank": 0,
        "main_training_function": "main",
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": not place.gpus,
        "downcast_bf16": "no",
    }
    if launch.how.startswith("deepspeed"):
        settings["distributed_type"] = "DEEPSPEED"
        settings["deepspeed_config"] = {
            "deepspeed_config_file": str(folder / DEEPSPEED),
            "deepspeed_multinode_launcher": "standard",
            "zero3_init_flag": False,
        }
        return settings  # the number format stands in DeepSpeed's own file; accelerate refuses it in both
    settings["mixed_precision"] = precision
    if launch.how == "fsdp":
        settings["distributed_type"] = "FSDP"
        settings["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": True,
            "fsdp_state_dict_type": "FULL_STATE_DICT" if launch.checkpoints == "full" else "SHARDED_STATE_DICT",
            "fsdp_offload_params": launch.offload,
            "fsdp_cpu_ram_efficient_loading": False,
            "fsdp_activation_checkpointing": False,
        }
    return settings


def _deepspeed(launch: LaunchConfig) -> dict[str, Any]:
    """DeepSpeed's configuration; transformers fills in what is `auto` from the trainer's settings."""
    stage = 2 if launch.how == "deepspeed-zero2" else 3
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto" if stage == 3 else 200_000_000,
    }
    if stage == 2:
        zero |= {"allgather_partitions": True, "allgather_bucket_size": 200_000_000, "reduce_scatter": True}
    else:
        zero |= {
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    if launch.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
        if stage == 3:
            zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "zero_optimization": zero,
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "steps_per_print": 1_000_000,
    }
