"""Values of TRL's fields that cannot run. TRL and transformers find out about them with the model loaded.

The kinds of value (`int`, `str`) and the words of a list are facts of TRL's dataclasses and stand in the generated table; the
ranges are those in which a number means something.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError, unknown

_LARGEST = 2**63 - 1
"""Of a whole number in 64 bits, as torch has them."""
_FROM_ONE = frozenset(
    {
        "per_device_train_batch_size",
        "per_device_eval_batch_size",
        "gradient_accumulation_steps",
        "num_iterations",
        "steps_per_generation",
        "dataloader_prefetch_factor",
        "ddp_timeout",
        "max_length",
        "ref_model_sync_steps",
        "torch_empty_cache_steps",
    }
)
_ABOVE_ZERO = frozenset({"logging_steps", "repetition_penalty", "sapo_temperature_neg", "sapo_temperature_pos"})
_SHARES = frozenset({"label_smoothing", "label_smoothing_factor", "ld_alpha", "min_p", "ref_model_mixup_alpha"})
_BELOW_ONE = frozenset({"adam_beta1", "adam_beta2"})
_SIGNED = frozenset({"entropy_coef", "entropy_coef_min", "f_alpha_divergence_coef", "simpo_gamma", "tpo_l_gamma"})
"""Numbers that mean something below 0, too."""
_INFINITE = frozenset({"max_grad_norm", "epsilon", "epsilon_high"})
"""Limits, which infinity switches off."""
_FILES = frozenset({"deepspeed", "fsdp_config", "accelerator_config"})
"""Fields that take a mapping, or a JSON file that holds one."""
_OBJECTS: Mapping[str, str] = {
    "parallelism_config": "launch=fsdp, launch=deepspeed-zero3; the launchers are in docs/guides/launch.md",
}
"""Fields that take an object of Python, which no recipe can hold, and what to type instead."""


def check(name: str, value: Any, field: Mapping[str, Any]) -> None:
    """Raise ConfigError for a value of the right kind with which no run can train.

    Args:
        name: a TRL field.
        value: what was given for it.
        field: its entry in the table of fields.
    """
    _check_words(name, value, field)
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(name, value, field["default"])
    _check_file(name, value)
    _check_package(name, value)
    _check_evaluation(name, value)
    if name in _OBJECTS and value is not None:
        raise ConfigError(f"{name} is an object of Python", given=f"{name}={value}", hint=_OBJECTS[name])


def _check_words(name: str, value: Any, field: Mapping[str, Any]) -> None:
    """Raise ConfigError for a word that is not in the field's list; a text of several words is one value for each."""
    choices = field.get("choices") or ()
    words = value if isinstance(value, list) else value.split() if isinstance(value, str) else []
    for word in words if choices else []:
        if word not in choices:
            problem = unknown(f"value of {name}", str(word), choices)
            raise ConfigError(problem.what, given=f"{name}={value}", exists=problem.exists, hint=problem.hint)


def _check_number(name: str, value: float, default: Any) -> None:
    """Raise ConfigError for a number outside of the range in which it means something."""
    lowest: float = default if isinstance(default, int | float) and default < 0 else 0
    problem = None
    if math.isnan(value) or (math.isinf(value) and name not in _INFINITE):
        problem = "is a finite number"
    elif isinstance(value, int) and abs(value) > _LARGEST:
        problem = "has at most 64 bits"
    elif name in _FROM_ONE and value < 1:
        problem = "is at least 1"
    elif name in _ABOVE_ZERO and value <= 0:
        problem = "is above 0"
    elif name in _SHARES and not 0 <= value <= 1:
        problem = "lies between 0 and 1"
    elif name in _BELOW_ONE and not 0 <= value < 1:
        problem = "is at least 0 and below 1"
    elif name not in _SIGNED and value < lowest:
        problem = f"is not below {lowest:g}"
    if problem:
        raise ConfigError(f"{name} {problem}", given=f"{name}={value}", hint=f"the default is {default!r}")


def _check_file(name: str, value: Any) -> None:
    """Raise ConfigError for a file that is not there, or holds no mapping in JSON."""
    if name not in _FILES or not isinstance(value, str):
        return
    hint = f"{name}: {{...}} in the recipe, or the path of a JSON file"
    try:
        content = json.loads(Path(value).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"the file of {name} cannot be read: {error.strerror}", given=f"{name}={value}", hint=hint
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the file of {name} is no JSON: {error}", given=f"{name}={value}", hint=hint) from error
    if not isinstance(content, dict):
        raise ConfigError(f"the file of {name} holds no mapping", given=f"{name}={value}", hint=hint)


_EVALUATION: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "eval_strategy": (("no", None), "eval.every=50 evaluates every 50 steps, and so does eval_steps=50 alone"),
    "eval_delay": ((0, None), "the first evaluation is that of the start, and the next that of step eval.every"),
    "eval_on_start": ((False, None), "leave it out: the model is always measured before the first step"),
    "load_best_model_at_end": ((False, None), "eval.keep=best, beside eval.every=50"),
    "metric_for_best_model": (
        (None,),
        "leave it out: eval.keep=best chooses by the run's main measure, such as pass@1 or the first reward",
    ),
    "greater_is_better": ((None,), "leave it out: the run's main measure knows which side is the better one"),
}
"""Field of transformers' own evaluation -> values that ask for nothing, and what to type."""


def _check_evaluation(name: str, value: Any) -> None:
    """Refuse transformers' own evaluation: it measures a loss, and keeps the model by it."""
    without, hint = _EVALUATION.get(name, ((value,), ""))
    if name == "save_strategy" and value == "best":
        without, hint = (), "eval.keep=best, beside eval.every=50"
    if value not in without:
        raise ConfigError(
            "held-out rows are evaluated by rlllm, with the measures of before and after",
            given=f"{name}={value}",
            hint=hint,
        )


_PACKAGES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "report_to": {
        **{
            name: (name,)
            for name in ("wandb", "mlflow", "clearml", "dvclive", "swanlab", "trackio", "codecarbon", "neptune")
        },
        "comet_ml": ("comet_ml",),
        "tensorboard": ("tensorboard", "tensorboardX"),
    },
    "optim": {
        "bnb": ("bitsandbytes",),
        "paged": ("bitsandbytes",),
        "lion": ("bitsandbytes",),
        "ademamix": ("bitsandbytes",),
        "adamw_8bit": ("bitsandbytes",),
        "galore": ("galore_torch",),
        "lomo": ("lomo_optim",),
        "adalomo": ("lomo_optim",),
        "grokadamw": ("grokadamw",),
        "schedule_free": ("schedulefree",),
        "apollo_": ("apollo_torch",),
        "torch_4bit": ("torchao",),
        "torch_8bit": ("torchao",),
        "apex": ("apex",),
        "stable_adamw": ("torch_optimi",),
    },
    "use_liger_kernel": {"True": ("liger_kernel",)},
    "deepspeed": {"": ("deepspeed",)},
}
"""Field -> part of its value -> packages of which one is needed. transformers looks for them when training begins."""


def _check_package(name: str, value: Any) -> None:
    """Raise ConfigError for a value that needs a package which is not installed."""
    if name not in _PACKAGES or value in (None, False, "none", "all"):
        return
    for item in value if isinstance(value, list) else [value]:
        needed = next((packages for part, packages in _PACKAGES[name].items() if part in str(item)), ())
        if needed and not any(find_spec(package) for package in needed):
            raise ConfigError(
                f"{name}={item} needs a package that is not installed: {' or '.join(needed)}",
                given=f"{name}={value}",
                hint=f"pip install {needed[0].replace('_', '-')}, or leave it out",
            )
