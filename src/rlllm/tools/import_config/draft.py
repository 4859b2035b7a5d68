"""`Draft`: the recipe that is made from another tool's config, and the settings that it cannot carry.

A key is looked up in the tool's table and handed to a rule. Keys that are not in the table are tried as TRL's own, under
their own name, since all these tools use TRL's trainers. Each setting that is dropped is listed with a reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlllm.algorithms.losses.trl import BY_LOSS_TYPE
from rlllm.algorithms.registry import METHODS
from rlllm.core import trl_fields, yaml_io
from rlllm.core.config import StageConfig
from rlllm.core.errors import ConfigError
from rlllm.core.yaml_io import parse_scalar
from rlllm.data.columns import RECORD_FIELDS
from rlllm.data.context_columns import ALIASES as CONTEXT
from rlllm.stages.catalog import config_class
from rlllm.training.registry import trainer_of
from rlllm.training.trainers.base import Trainer


@dataclass(frozen=True, slots=True)
class Unmapped:
    """A setting that the recipe does not carry."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """One data set of a config."""

    settings: dict[str, Any]
    """What `data` of a recipe would say of it: name, subset, split, columns, rows."""
    weight: float | None = None
    """Its share of the mixture; None where all of its rows are taken."""
    fraction: float | None = None
    """Share of its own rows that are taken; None for all."""


@dataclass
class Draft:
    """The recipe so far, and the settings of `rlllm data build` where the config takes shares of data sets."""

    tool: str
    verb: str
    method: str
    values: dict[str, Any] = field(default_factory=dict)
    unmapped: list[Unmapped] = field(default_factory=list)
    preparation: dict[str, Any] | None = None
    revision: str | None = None
    """Branch, tag or commit of the model on the Hub."""
    reference: str | None = None
    """The reference model that the config names."""

    @property
    def config(self) -> type[StageConfig]:
        """The settings class of the verb with this method."""
        return config_class(self.verb, self.method)

    @property
    def trainer(self) -> Trainer[Any, Any]:
        return trainer_of(METHODS.load(self.method))

    def put(self, path: str, value: Any) -> None:
        """Set a key of the recipe; a dot reaches into a section."""
        *sections, name = path.split(".")
        node = self.values
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value

    def settle_model(self) -> None:
        """Put the revision behind the model's name.

        Raises:
            ConfigError: the reference is another model than the one at the start.
        """
        model = self.values.get("model")
        if self.reference is not None and self.reference != model:
            raise ConfigError(
                "another reference than the model at the start, which rlllm does not have",
                given=f"reference {self.reference}, model {model}"[:200],
                hint="start from that model, or train without a reference: --method orpo, simpo or cpo",
            )
        if self.revision is not None and model is not None:
            self.values["model"] = f"{model}@{self.revision}"

    def leave(self, key: str, value: Any, reason: str) -> None:
        """Note a setting that is not carried over; keys of services are not repeated."""
        secret = key.endswith(("token", ".key", "api_key", "secret", "use_wandb")) and isinstance(value, str)
        self.unmapped.append(Unmapped(key, "(hidden)" if secret else value, reason))

    def put_trl(self, name: str, value: Any, key: str | None = None) -> None:
        """Set a field of TRL's; note it (as `key`) where this method's trainer does not take it.

        A setting that rlllm has in another section, such as `num_generations`, goes there.
        """
        if self.trainer.samples and name in self.config.aliases:
            self.put(self.config.aliases[name], value)
            return
        if name not in trl_fields.table(self.trainer.trl_config):
            self.leave(key or name, value, f"method {self.method} has no such setting")
            return
        if isinstance(value, str) and "str" not in trl_fields.table(self.trainer.trl_config)[name]["kinds"]:
            value = parse_scalar(value)  # a quoted number, which the other tools take for one
        try:
            self.put(f"trainer.{name}", trl_fields.check((self.trainer.trl_config,), name, value))
        except ConfigError as error:
            self.leave(key or name, value, f"{error.what}{f'; {error.hint}' if error.hint else ''}")

    def write_trl_defaults(self, trl_config: str) -> None:
        """Set what TRL's trainer would take where the config says nothing and rlllm's method or rollout has another value.

        Args:
            trl_config: the TRL dataclass whose defaults the config relies on, such as "RLOOConfig".
        """
        theirs = trl_fields.table(trl_config)
        for name, value in self._without_the_config().items():
            if name in theirs and theirs[name]["default"] != value and not self._gives(name):
                self.put_trl(name, theirs[name]["default"])
        given = self.values.get("trainer", {})
        chosen = {  # rlllm's plan sets these where it finds the key
            "use_bias_correction_kl": given.get("beta", METHODS.load(self.method).settings.get("beta")),
            "entropy_target": given.get("use_adaptive_entropy"),
        }
        for name, wanted in chosen.items():
            if wanted and name in theirs and not self._gives(name):
                self.put_trl(name, theirs[name]["default"])

    def _without_the_config(self) -> dict[str, Any]:
        """TRL name -> value of every setting that rlllm would take if the config were empty."""
        method = METHODS.load(self.method)
        fields = {name: field["default"] for name, field in trl_fields.table(self.trainer.trl_config).items()}
        if not self.trainer.samples:
            return {**fields, **method.settings}
        loss = BY_LOSS_TYPE.get(method.components.get("loss", "grpo"))
        rollout = {**self.config.model_fields["rollout"].default.model_dump(), **method.defaults.get("rollout", {})}
        sampled = {
            name: rollout[place.removeprefix("rollout.")]
            for name, place in self.config.aliases.items()
            if place.startswith("rollout.")
        }
        return {**fields, **({"loss_type": loss.loss_type} if loss else {}), **method.settings, **sampled}

    def _gives(self, name: str) -> bool:
        """Whether a field of TRL's is set in the recipe so far."""
        section, _, key = self.config.aliases.get(name, f"trainer.{name}").rpartition(".")
        return key in self.values.get(section, {})

    def put_sources(self, sources: Sequence[Source], seed: int | None = None) -> None:
        """Set what is read: data sets in the recipe, or in the settings of a folder built from shares of their rows."""
        if len(sources) == 1 and sources[0].fraction in (None, 1):
            for key, value in sources[0].settings.items():
                self.put(f"data.{key}", value)
            return
        shares = [1.0 if source.fraction is None else source.fraction for source in sources]
        weights = [source.weight for source in sources]
        if all(share == 1 for share in shares):
            parts = [
                source.settings if weight is None else {**source.settings, "weight": weight}
                for source, weight in zip(sources, weights, strict=True)
            ]
            self.put("data.mix", parts)
            return
        self.preparation = {
            "sources": [source.settings for source in sources],
            "kind": self.trainer.record.__name__,
            "mixture": {"fractions": shares, **({} if seed is None else {"seed": seed})},
        }

    def put_holdout(self, key: str, value: Any) -> None:
        """Set how many rows, or which share of them, are held out for the measurement before and after."""
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            self.leave(key, value, "no number of rows, and no share of them")
        elif value and self.preparation is not None:
            self.preparation["holdout"] = value
        elif value:
            self.put("data.holdout", value)

    def fitting_columns(self, mapped: Mapping[str, str]) -> dict[str, str]:
        """The column map for the method's records; notes what they have no field for."""
        fields = {field for field_set in RECORD_FIELDS[self.trainer.record] for field in field_set.names} | {*CONTEXT}
        fitting = dict(mapped)
        if "messages" in fitting and "messages" not in fields and "completion" not in fields:
            fitting["prompt"] = fitting.pop("messages")
        for name in [name for name in fitting if name not in fields]:
            self.leave(f"columns.{name}", fitting.pop(name), f"{self.trainer.record.__name__} rows have no {name}")
        return fitting

    def read(self, config: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
        """Read every setting of a config by the tool's table; null means the tool's default and is skipped."""
        for key, value in config.items():
            if value is None:
                continue
            if key in rules:
                rules[key](self, key, value)
            elif key in trl_fields.table(self.trainer.trl_config):
                self.put_trl(key, value)
            else:
                self.leave(key, value, f"neither rlllm nor TRL's {self.trainer.trl_config} has such a setting")

    def pair_rows(self) -> None:
        """Two rows in a batch where there was one, at equal steps: KTO estimates its KL from the neighbours in a batch."""
        trainer = self.values.get("trainer", {})
        size, pieces = trainer.get("per_device_train_batch_size"), trainer.get("gradient_accumulation_steps", 1)
        if size != 1:
            return
        if pieces % 2:
            raise ConfigError(
                "KTO with one row a batch: there is no neighbour to estimate the KL from", given="batches of 1"
            )
        trainer.update(per_device_train_batch_size=2, gradient_accumulation_steps=pieces // 2)
        reason = f"taken over as batches of 2 and {pieces // 2} a step: KTO estimates its KL from neighbours"
        self.leave("per_device_train_batch_size", size, reason)

    def recipe(self) -> dict[str, Any]:
        """The settings in the order in which recipes are written. What the config leaves open stays as in its tool: TRL's."""
        values = {"method": self.method, "defaults": "trl", **self.values}
        order = (
            "model",
            "data",
            "method",
            "defaults",
            "rewards",
            "rollout",
            "kl",
            "lora",
            "trainer",
            "eval",
            "seed",
            "output_dir",
        )
        first = {key: values[key] for key in order if key in values}
        return {**first, **{key: value for key, value in values.items() if key not in first}}


Rule = Callable[[Draft, str, Any], None]
"""What becomes of a key: draft, key, value."""


def to(path: str) -> Rule:
    """The value goes to this place of the recipe as it is."""
    return lambda draft, key, value: draft.put(path, value)


def as_trl(name: str) -> Rule:
    """The value goes to a field of TRL's that is called otherwise."""
    return lambda draft, key, value: draft.put_trl(name, value, key)


def left(reason: str) -> Rule:
    """The setting has no counterpart; `reason` says why."""
    return lambda draft, key, value: draft.leave(key, value, reason)


def text_length(draft: Draft, key: str, value: Any) -> None:
    """The longest text that is trained on, where texts are recorded ones."""
    if draft.trainer.samples:
        draft.leave(key, value, PROMPT_LENGTH)
    else:
        draft.put_trl("max_length", value, key)


def unless(usual: Any, reason: str) -> Rule:
    """The usual value is skipped; any other has no counterpart."""

    def rule(draft: Draft, key: str, value: Any) -> None:
        if value != usual:
            draft.leave(key, value, reason)

    return rule


def revision(draft: Draft, key: str, value: Any) -> None:
    """A branch, tag or commit of the model on the Hub."""
    draft.revision = None if value in (None, "main") else str(value)


def reference(draft: Draft, key: str, value: Any) -> None:
    """The reference model."""
    draft.reference = None if value is None else str(value)


def mapping(value: Any, what: str) -> dict[str, Any]:
    """A nested mapping. Raises ConfigError for anything else."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return dict(value)
    raise ConfigError(f"{what} is not a mapping of settings", given=repr(value)[:120])


def read_config(path: Path) -> dict[str, Any]:
    """A YAML or JSON file. Raises ConfigError where it cannot be read, or is no mapping of settings."""
    try:
        config = yaml_io.read(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the config: {reason}", given=path) from error
    except RecursionError as error:
        raise ConfigError("cannot read the config: it is nested too deeply", given=path) from error
    if not isinstance(config, dict) or not config or not all(isinstance(key, str) for key in config):
        raise ConfigError("a config is a mapping of settings", given=path, hint="give the tool's YAML or JSON file")
    return config


def items(value: Any, key: str) -> list[Any]:
    """The data sets of a config as a list. Raises ConfigError where there is none."""
    names = [name for name in (value if isinstance(value, list) else [value]) if name not in (None, "")]
    if not names:
        raise ConfigError(f"{key} names no data set", hint="a config for training names what to train on")
    return names


def refused(what: str, *usual: Any, hint: str | None = None) -> Rule:
    """A way of training that rlllm lacks: any value but the usual ones (by default: off) makes the import fail."""
    off = usual or (False, None, "", "none", "None", 0)

    def rule(draft: Draft, key: str, value: Any) -> None:
        if not any(value == item and type(value) is type(item) for item in off):
            raise ConfigError(f"{what}, which rlllm does not have", given=f"{key}={value}"[:120], hint=hint)

    return rule


def rescaled(rank: Any, alpha: Any, key: str) -> int:
    """The scale of plain LoRA, alpha / r, that equals alpha / sqrt(r) of rank-stabilised LoRA (Kalajdzievski 2023).

    Raises:
        ConfigError: no whole number does.
    """
    if (
        isinstance(rank, int)
        and isinstance(alpha, int)
        and rank > 0
        and (scaled := alpha * math.sqrt(rank)).is_integer()
    ):
        return int(scaled)
    raise ConfigError(
        "the scale of rank-stabilised LoRA is no whole number as lora.alpha",
        given=f"{key}=true with rank {rank} and alpha {alpha}",
        hint="take a rank that is a square (16, 64)",
    )


def refuse_launcher(config: Mapping[str, Any]) -> None:
    """Raise ConfigError for a file of accelerate or DeepSpeed: it says on which machines to train, and not what."""
    keys = [key for key in ("distributed_type", "compute_environment", "zero_optimization") if key in config]
    if keys:
        raise ConfigError(
            "a launcher's file, which says on which machines to train and not what",
            given=", ".join(keys),
            hint="give the file that names the model and the data",
        )


QUANTISED = "the recipe loads the weights whole; model.quantisation=4bit quantises them (bitsandbytes)"
PROMPT_LENGTH = "prompts are never cut: drop long ones from the data"
NO_EVAL = "held-out rows are measured by rlllm: data.holdout=256, and eval.every=50 to evaluate during training"
BY_HARDWARE = "the number format is chosen by the hardware"
ATTENTION = "attention is chosen by transformers"
TEMPLATE = "the tokenizer's own chat template is used; look at it with: rlllm data show DATA --tokens"
LAUNCHER = "a recipe says what to train, not on which machines"
SHELL = "set it in the shell"
"""Reasons that several tools share."""
