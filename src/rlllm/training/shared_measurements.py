"""The measurement of the start model, taken once for runs that begin with the same model and measure it in the same way.

A sweep trains hundreds of runs from one model. Where everything that a measurement depends on is equal, its result is equal bit
for bit, and is read from a file. What a key leaves out must not be able to change a number: settings are in it unless they are
known to act on training only, and rewards that are not rlllm's own functions of a sample are measured anew by every run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlllm.core.code_hash import package_hash
from rlllm.core.records import fingerprint, stored_fields
from rlllm.core.redaction import without_secrets
from rlllm.core.runs import read_json, write_json
from rlllm.rewards.bound import BoundReward
from rlllm.rewards.composition import Composition

if TYPE_CHECKING:
    from rlllm.core.hardware import Hardware
    from rlllm.training.plan import Plan

_TRAINING_ONLY = frozenset(
    {
        *("output_dir", "fail_on", "method", "defaults", "data", "controls", "seeds", "require_card", "sampler"),
        *(
            "advantage",
            "mask",
            "loss",
            "off_policy",
            "erase",
            "reflect",
            "kl",
            "max_tokens",
            "stop_when_flat",
            "hardware",
        ),
    }
)
"""Settings that no measurement reads. The held-out rows and the hardware as used are in the key themselves."""
_TRL_TRAINING_ONLY = frozenset(
    {
        *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "warmup_ratio", "max_steps"),
        *(
            "num_train_epochs",
            "per_device_train_batch_size",
            "gradient_accumulation_steps",
            "weight_decay",
            "adam_beta1",
        ),
        *(
            "adam_beta2",
            "adam_epsilon",
            "max_grad_norm",
            "optim",
            "beta",
            "epsilon",
            "epsilon_high",
            "delta",
            "loss_type",
        ),
        *("loss_weights", "label_smoothing", "num_iterations", "steps_per_generation", "generation_batch_size"),
        *(
            "num_generations",
            "scale_rewards",
            "importance_sampling_level",
            "entropy_coef",
            "logging_steps",
            "save_steps",
        ),
        *("save_strategy", "save_total_limit", "save_only_model", "simpo_gamma", "cpo_alpha", "desirable_weight"),
        *("undesirable_weight", "mask_truncated_completions", "top_entropy_quantile"),
    }
)
"""TRL settings of which the same holds."""
_STATELESS = tuple(
    f"rlllm.rewards.{room}" for room in ("verifiers.", "math.", "length", "repetition", "gold", "majority")
)
"""Where the rewards are whose score follows from the sample alone."""


class SharedMeasurements:
    """Measurements of start models in a folder, one file each.

    Args:
        folder: made with the first file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, plan: Plan[Any], tokenizer: Any, hardware: Hardware) -> Path | None:
        """The file of a plan's measurement; None where it may not be shared."""
        compositions = _compositions(plan)
        weights = plan.source.fingerprint()
        stateless = all(_stateless(reward.target) for part in compositions.values() for reward in part.rewards)
        several_turns = getattr(plan, "environment", None) is not None or "dialogue" in getattr(plan, "slots", ())
        if weights is None or not stateless or several_turns:
            return None
        config = plan.config.model_dump(mode="json", exclude=set(_TRAINING_ONLY))
        config["trainer"] = {
            name: value for name, value in without_secrets(plan.settings).items() if name not in _TRL_TRAINING_ONLY
        }
        config.get("rollout", {}).pop("group_size", None)
        key = {
            "config": config,
            "trainer": plan.trainer.name,
            "weights": weights,
            "model": [plan.source.path, plan.source.loading.model_dump()],
            "tokenizer": fingerprint(
                [tokenizer.get_vocab(), tokenizer.chat_template, str(tokenizer.special_tokens_map)]
            ),
            "holdout": [stored_fields(record) for record in plan.loaded.holdout],
            "rewards": {name: [part.names, part.weights, part.fingerprint()] for name, part in compositions.items()},
            "hardware": [hardware.device, hardware.bf16, hardware.threads, hardware.matmul],
            "code": [package_hash(), *(version(name) for name in ("torch", "transformers", "trl"))],
        }
        return self.folder / f"{fingerprint(key)}.json"

    def read(self, path: Path, plan: Plan[Any]) -> list[dict[str, Any]] | None:
        """The measurement in a file, whose samples count as seen by the plan's rewards; None where it is not there."""
        if not path.is_file():
            return None
        kept = read_json(path)
        for name, composition in _compositions(plan).items():
            composition.note_seen(kept["seen"][name])
        return list(kept["measured"])

    def write(self, path: Path, plan: Plan[Any], measured: list[Any]) -> None:
        """Keep a measurement, unless a reward failed in it: a failure is the run's own."""
        compositions = _compositions(plan)
        if not any(part.faults() for part in compositions.values()):
            seen: Mapping[str, Any] = {name: part.seen() for name, part in compositions.items()}
            write_json(path, {"measured": [asdict(result) for result in measured], "seen": seen})


def _compositions(plan: Plan[Any]) -> dict[str, Composition]:
    named = {"rewards": plan.rewards, "eval_reward": plan.eval_reward}
    return {name: composition for name, composition in named.items() if composition is not None}


def _stateless(target: Any) -> bool:
    """Whether a reward, with those that it wraps, is one of rlllm's functions of a sample."""
    inner = [value.target for value in getattr(target, "__dict__", {}).values() if isinstance(value, BoundReward)]
    return f"{type(target).__module__}.".startswith(_STATELESS) and all(map(_stateless, inner))
