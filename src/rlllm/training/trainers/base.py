"""`Trainer`: everything rlllm knows about one way to train, as one object. A module of one trainer defines it as `TRAINER`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rlllm.core.records import Record
from rlllm.core.runs import Run, RunOptions
from rlllm.core.verdict import Diagnostics

if TYPE_CHECKING:
    from rlllm.algorithms.methods.base import Method
    from rlllm.algorithms.tokenized_preview import PreviewSequence
    from rlllm.core.hardware import Hardware
    from rlllm.evals.before_after import Measured
    from rlllm.policies.model_sources import ModelSource
    from rlllm.training.settings import TrainingConfig

PlanT = TypeVar("PlanT")
"""What `plan` returns: `rlllm.training.plan.Plan`, or a subclass with more."""
JobT = TypeVar("JobT")
"""`rlllm.training.flow.Job` with that plan."""


def load_causal_model(source: ModelSource, tokenizer: Any, hardware: Hardware) -> Any:
    """The language model of a source; the default of `Trainer.load`."""
    from rlllm.policies.loading import load_policy

    return load_policy(source, bf16=hardware.bf16)


def _nothing(*_: Any) -> None:
    """The default of `check`, `expect`, `observe` and `keep`."""


@dataclass(frozen=True, kw_only=True)
class Trainer(Generic[PlanT, JobT]):
    """One way to train a model. Methods name it in `Method.trainer`; a method's own settings are presets of it.

    Args:
        name: as in `Method.trainer`.
        record: type of the records it learns from.
        settings: verb -> class of its settings in that verb. The class lists what the trainer reads, and nothing else;
            its `trl_configs` name the one TRL config whose fields it takes.
        plan: settings, method and this trainer -> the plan of a run. Loads no model and imports no torch.
            Raises ConfigError or DataError for what cannot work.
        run: plan, options -> the finished run; `rlllm.training.flow.train` for a trainer that is one training loop.
        check: refuses a finished plan that cannot work; raises ConfigError or DataError.
        task: PEFT's task type of the model: `CAUSAL_LM`, `SEQ_CLS` (one score) or `TOKEN_CLS` (a label for each step).
        load: model source, tokenizer, hardware -> the model to train.
        build: job, callbacks -> an object with transformers' Trainer interface.
        measure: job, model -> held-out scores, called before and after training; an empty list measures nothing.
        expect: plan, diagnostics; adds what the data alone tells, before a model is loaded.
        observe: job, the trained object of `build`; adds to the job's diagnostics after training.
        keep: job, the trained object of `build`; writes what belongs to the model beside its weights, before these: an adapter
            that is merged into them is gone.
        batch_tokens: one batch of the trainer's own collator -> its sequences with the tokens that train. None where no
            recorded row is trained on as it stands.
        prompt_tokens: job, record -> token ids of the prompt. Set where the model writes the text that it is trained on.
        size_defaults: kind of the rows in `rlllm.training.size_defaults.TABLE` that hold for it: `sft`, `reward model`,
            `preferences`, `preferences with imitation`, `loop`. Empty for a trainer that keeps TRL's defaults.
        reads_images: whether rows may have images.
    """

    name: str
    record: type[Record]
    settings: Mapping[str, type[TrainingConfig]]
    plan: Callable[[Any, Method, Trainer[Any, Any]], PlanT]
    run: Callable[[PlanT, RunOptions], Run]
    build: Callable[[JobT, list[Any]], Any]
    measure: Callable[[JobT, Any], list[Measured]]
    check: Callable[[PlanT], None] = _nothing
    task: str = "CAUSAL_LM"
    load: Callable[[ModelSource, Any, Hardware], Any] = load_causal_model
    expect: Callable[[PlanT, Diagnostics], None] = _nothing
    observe: Callable[[JobT, Any], None] = _nothing
    keep: Callable[[JobT, Any], None] = _nothing
    batch_tokens: Callable[[Mapping[str, Any]], list[PreviewSequence]] | None = None
    prompt_tokens: Callable[[JobT, Any], list[int]] | None = None
    size_defaults: str = ""
    reads_images: bool = False

    @property
    def trl_config(self) -> str:
        """Name of the TRL config whose fields it takes, such as `DPOConfig`."""
        return next(iter(self.settings.values())).trl_configs[0]

    @property
    def samples(self) -> bool:
        """Whether it trains on what the model itself writes."""
        return self.prompt_tokens is not None
