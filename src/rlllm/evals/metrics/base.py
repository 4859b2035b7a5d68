"""`Metric`: what an evaluation measures, with everything it needs declared. One module a metric holds one `METRIC`.

`rlllm eval` reads the declaration before anything is loaded: it reads the rows as the records the metric takes, builds rewards
only for metrics that need one, and refuses settings that no metric of the evaluation reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError, unknown
from rlllm.core.records import RECORD_TYPES, PromptTask, Record
from rlllm.evals.request import EvalRequest, Evaluation

_NeededModel = Literal["none", "policy", "scorer"]
_SHARED_SETTINGS = ("ks", "entropy", "stop_width", "image_ablation")
"""Settings of `rlllm eval` that only some metrics have a use for."""


@dataclass(frozen=True, slots=True)
class ExternalTask:
    """A task whose problems the metric brings itself, as far as it is known before it is loaded."""

    name: str
    """Default label in results."""
    source: str
    """Where the problems come from, in words."""
    hash: str
    """Identity of the problems and of how they are asked; evaluations compare where it is equal."""
    rows: int
    """Problems at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric and what it needs. All fields but the first three have a neutral default: nothing is needed.

    Args:
        name: what users type; no name of a metric that ships with rlllm.
        summary: one line for listings.
        measure: from the request (records, model, rewards, settings) to values with intervals and one row for each item.
        record: type of the rows it works on; None where `external` says that it brings its own.
        needs_reward: whether completions are scored by rewards. Without it, rewards are refused.
        default_rewards: names of the rewards taken where the user names none; empty: those of the data set.
        needs_model: `policy`: a causal language model (`request.policy`); `scorer`: a folder with a model that scores texts
            (`request.path`; an ensemble of reward models is one too); `none`: neither.
        min_samples: completions of each prompt it draws at least; 0: it draws none. Only of a `policy`.
        needs_baseline: whether it compares the model with a second one, `--baseline`.
        reads: which of `ks`, `entropy` and `stop_width` it has a use for. `stop_width` needs a value named `pass@1` that the
            first reward decides.
        settings: its own arguments (the task's `params`), as a settings class; None: it takes none.
        check_model: raises ConfigError or ModelError where a folder or Hub id holds no model that it can measure.
        train_rm_methods: methods of `train-rm` whose models it measures; `rlllm` then names it as the next command.
        external: from checked `params` to the task, where the metric brings its own problems.
    """

    name: str
    summary: str
    measure: Callable[[EvalRequest], Evaluation]
    record: type[Record] | None = PromptTask
    needs_reward: bool = False
    default_rewards: tuple[str, ...] = ()
    needs_model: _NeededModel = "none"
    min_samples: int = 0
    needs_baseline: bool = False
    reads: tuple[str, ...] = ()
    settings: type[Section] | None = None
    check_model: Callable[[str], object] | None = None
    train_rm_methods: tuple[str, ...] = ()
    external: Callable[[Mapping[str, Any]], ExternalTask] | None = None

    def __new__(cls, **declared: Any) -> Metric:
        """Raises UnknownNameError for a field that does not exist."""
        for name in declared.keys() - {field.name for field in fields(cls)}:
            raise unknown("field of Metric", name, [field.name for field in fields(cls)])
        return object.__new__(cls)

    def __post_init__(self) -> None:
        """Raises ConfigError where the declaration contradicts itself."""
        for name, value, choices in (
            ("record", getattr(self.record, "__name__", "None"), (*RECORD_TYPES, "None")),
            ("needs_model", self.needs_model, get_args(_NeededModel)),
            *(("reads", key, _SHARED_SETTINGS) for key in self.reads),
        ):
            if value not in choices:
                raise ConfigError(f"the metric {self.name} declares {name}={value}", exists=choices)
        for wrong, hint in (
            (not callable(self.measure), "measure is a function of an EvalRequest that returns an Evaluation"),
            (
                (self.record is None) != (self.external is not None),
                "either record or external says where rows come from",
            ),
            (self.min_samples > 0 and self.needs_model != "policy", "completions are drawn of needs_model='policy'"),
            (self.needs_baseline and self.needs_model != "policy", "a baseline is compared with needs_model='policy'"),
            (bool(self.default_rewards) and not self.needs_reward, "default_rewards go with needs_reward=True"),
        ):
            if wrong:
                raise ConfigError(f"the metric {self.name} contradicts itself", hint=hint)

    def __call__(self, request: EvalRequest) -> Evaluation:
        return self.measure(request)

    @property
    def samples(self) -> bool:
        """Whether completions of the model are drawn."""
        return self.min_samples > 0

    def changed_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the checked `params` that differ from the metric's defaults."""
        return self.settings(**params).model_dump(exclude_defaults=True) if self.settings else dict(params)

    def checked_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The task's `params` with the metric's defaults. Raises ConfigError for one that it does not take."""
        if self.settings is None:
            if params:
                raise ConfigError(f"the metric {self.name} takes no arguments", given=", ".join(params))
            return {}
        names = [*self.settings.model_fields]
        if unknown := sorted(params.keys() - set(names)):
            raise ConfigError(
                f"the metric {self.name} takes no argument {unknown[0]}", given=", ".join(unknown), exists=names
            )
        return self.settings.checked(dict(params)).model_dump()
