"""What people type who come from another tool, and the name that rlllm has for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

_LENGTH = ("max_length", "max_completion_length")
_BATCH = ("per_device_train_batch_size",)
_GROUP = ("rollout.group_size",)
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("batch_size", "train_batch_size", "micro_batch_size", "micro_train_batch_size"), _BATCH),
    **dict.fromkeys(("epochs", "num_epochs", "max_epochs", "n_epochs", "total_epochs"), ("num_train_epochs",)),
    **dict.fromkeys(("steps", "train_steps", "max_train_steps", "total_training_steps"), ("max_steps",)),
    **dict.fromkeys(("cutoff_len", "max_len", "max_seq_len", "max_seq_length", "sequence_len"), _LENGTH),
    **dict.fromkeys(("generate_max_len", "response_length", "max_response_length"), _LENGTH[::-1]),
    **dict.fromkeys(("val_size", "val_set_size", "test_size", "eval_size", "test_split_size"), ("data.holdout",)),
    **dict.fromkeys(("dataset", "datasets", "dataset_path", "data_path", "train_file", "train_files"), ("data",)),
    **dict.fromkeys(("train_data", "prompt_data", "input_data", "train_dataset", "val_data"), ("data",)),
    **dict.fromkeys(("base_model", "model_path", "model_name", "model_id", "pretrain", "policy"), ("model",)),
    **dict.fromkeys(("out", "output", "out_dir", "save_path", "save_dir", "ckpt_path"), ("output_dir",)),
    **dict.fromkeys(("n", "num_rollouts", "n_samples_per_prompt", "num_return_sequences"), _GROUP),
    **dict.fromkeys(("kl_coef", "init_kl_coef", "kl_loss_coef", "kl_beta"), ("beta",)),
    **dict.fromkeys(("reward_fn", "reward_funcs", "reward_function", "reward_functions"), ("rewards",)),
    **dict.fromkeys(("num_gpus", "n_gpus", "nproc_per_node", "num_processes", "gpus"), ("launch.processes",)),
    **dict.fromkeys(("grad_accum", "gradient_accumulation"), ("gradient_accumulation_steps",)),
    **dict.fromkeys(("actor_learning_rate", "actor_lr", "peak_lr", "step_size"), ("learning_rate",)),
    "lora_rank": ("lora.r",),
    "lora_target": ("lora.target_modules",),
    "clip_eps": ("epsilon",),
    "cliprange": ("epsilon",),
    "eps_clip": ("epsilon",),
    "scheduler": ("lr_scheduler_type",),
    "lr_scheduler": ("lr_scheduler_type",),
    "optimizer": ("optim",),
    "wandb_project": ("report_to",),
    "tracker": ("report_to",),
}
"""A setting of another tool -> settings of rlllm that mean it, of which each verb has one at most."""

_COMMANDS: Mapping[str, str] = {
    "train": "sft, train-rm, align or reason",
    "rl": "reason",
    "rlvr": "reason",
    "rlhf": "align --method ppo",
    "finetune": "sft",
    "fine-tune": "sft",
    "instruct": "sft",
    "pt": "pretrain",
    "cpt": "pretrain",
    "rm": "train-rm",
    "reward": "train-rm",
    "reward-model": "train-rm",
    "preference": "align",
    "evaluate": "eval",
    "test": "eval",
    "benchmark": "eval",
    "lm-eval": "eval",
    "lm_eval": "eval",
    "merge": "export RUN --merge",
    "push": "export RUN --push ORG/NAME",
    "gguf": "export RUN --gguf",
    "infer": "chat",
    "inference": "chat",
    "generate": "chat",
    "ls": "runs ls",
    "list": "runs ls",
    "show": "runs show RUN",
    "diff": "runs diff RUN OTHER",
    "resume": "the command of the run again, with --resume",
    "pipeline": "run PIPELINE",
    "grid": "sweep",
    "search": "sweep",
    "env": "doctor",
    "info": "doctor",
    "check": "doctor",
    "import": "config import FILE",
}
"""A command of another tool -> what to type behind `rlllm`."""


def setting_for(key: str, known: Collection[str]) -> str | None:
    """The setting that is meant by another tool's name; None where nobody calls any of `known` so."""
    meant = _SETTINGS.get(key.replace("-", "_").lower(), ())
    return next((name for name in meant if name in known), None)


def command_for(word: str) -> str | None:
    """What to type behind `rlllm` for a command of another tool; None where no tool calls one so."""
    return _COMMANDS.get(word.lower())
