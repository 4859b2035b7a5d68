"""What the trainer of a method sees of a record: tokens, which of them train, and what is lost on the way.

The trainer is built by its own function on that record, with its data set and its collator
(`algorithms.tokenized_preview`). A second one without a length limit shows what `max_length` takes away.
Torch is needed only once a record is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rlllm.core import trl_fields
from rlllm.core.config import resolve
from rlllm.core.errors import ConfigError, DataError, RlllmError
from rlllm.core.records import Conversation, StepwiseSolution
from rlllm.core.runs import Run
from rlllm.data.load import Loaded
from rlllm.policies.model_sources import ModelSource, resolve_model
from rlllm.stages.catalog import unread_key
from rlllm.tools.data.template_check import TemplateCheck, Turn, check_template, doubled_bos, turns_of
from rlllm.training.plan import Plan, resolve_method, with_defaults
from rlllm.training.registry import trainer_of

_WITHOUT_EFFECT = {
    "packing": False,
    "padding_free": False,
    "bf16": False,
    "fp16": False,
    "use_liger_kernel": False,
    "precompute_ref_log_probs": False,
    "deepspeed": None,
}
"""Settings that change no row's tokens, but what a trainer needs from the machine or how rows are joined to batches."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its id, its text, and whether the loss reads it."""

    id: int
    text: str
    trains: bool


@dataclass(frozen=True, slots=True)
class SequenceView:
    """One sequence as the trainer sees it."""

    name: str
    """`text`, `prompt`, or the side of a pair."""
    rendered: str
    tokens: list[Token]
    ends: list[int]
    """Places of end-of-sequence tokens."""
    cut: list[Token]
    """Tokens that `max_length` takes away."""
    dropped: bool
    """Whether the trainer leaves the row out."""
    check: TemplateCheck | None
    """How the text in training compares with generation; None where nothing is generated."""
    notes: list[str]
    """What a person should know: doubled or missing marks, cut tokens, differences."""


@dataclass(frozen=True)
class Preview:
    """A planned method with a tokenizer: sees a record as its trainer would."""

    plan: Plan[Any]
    tokenizer: Any
    hardware: Any
    stops: frozenset[int]
    """Tokens that end a completion beside the tokenizer's own."""

    @property
    def limit(self) -> int | None:
        """Tokens of a sequence that are trained on; None where there is no limit."""
        trainer = self.plan.trainer
        if trainer.samples or "max_length" not in trl_fields.table(trainer.trl_config):
            return None
        return self.plan.setting("max_length")

    def see(self, record: Any) -> list[SequenceView]:
        """The sequences of one record: one text, the sides of a pair, or the prompt where the model writes the rest.

        Raises:
            DataError: the chat template refuses the record, or the tokenizer has none and the record is a chat.
            ConfigError: TRL refuses the settings.
        """
        from jinja2 import TemplateError

        try:
            return [self._prompt(record)] if self.plan.trainer.samples else self._recorded(record)
        except TemplateError as error:
            raise DataError(
                f"the chat template of the tokenizer fails: {error}",
                given=str(record.prompt)[:120],
                hint="leave out what it does not take, such as system prompts, or use another model",
            ) from error

    def _recorded(self, record: Any) -> list[SequenceView]:
        from rlllm.algorithms.tokenized_preview import UNLIMITED, PreviewSequence

        whole = self._sequences(record, {"max_length": UNLIMITED})
        seen = {one.name: one for one in self._sequences(record, {})}
        turns = turns_of(record)
        writes = not isinstance(record, StepwiseSolution)
        return [
            self._view(one, seen.get(one.name, PreviewSequence(one.name, [], [])), turns.get(one.name), writes)
            for one in whole
        ]

    def _sequences(self, record: Any, changed: Mapping[str, Any]) -> list[Any]:
        """What the trainer of the stage keeps of this record; nothing where it leaves the row out."""
        from rlllm.algorithms.tokenized_preview import first_batch

        batch_tokens = self.plan.trainer.batch_tokens
        try:
            trainer = self._trainer(record, changed)
            return first_batch(trainer, batch_tokens) if trainer is not None and batch_tokens is not None else []
        except RlllmError:
            raise
        except (ValueError, TypeError, RuntimeError) as error:
            raise ConfigError(f"TRL refuses these settings: {error}", given=dict(self.plan.config.trainer)) from error

    def _trainer(self, record: Any, changed: Mapping[str, Any]) -> Any:
        from tempfile import TemporaryDirectory

        from rlllm.algorithms.tokenized_preview import stand_in

        model = stand_in(self.tokenizer, scores=self.plan.trainer.task != "CAUSAL_LM")
        with TemporaryDirectory() as folder:
            job = self._job([record, *self._company(record)], changed, Path(folder), model)
            try:
                return self.plan.trainer.build(job, [])
            except DataError:
                if changed:  # without a limit no row is left out for its length
                    raise
                return None

    def _company(self, record: Any) -> list[Any]:
        """Plain text is made of rows without prompts only if no row has one; then such a row has to go along."""
        if not isinstance(record, Conversation) or record.prompt:
            return []
        return [other for other in self.plan.loaded.train if other.prompt][:1]

    def _job(self, records: list[Any], changed: Mapping[str, Any], folder: Path, model: Any) -> Any:
        from rlllm.core.events import NullProgress
        from rlllm.training.flow import Job

        table = trl_fields.table(self.plan.trainer.trl_config)
        neutral = {name: value for name, value in _WITHOUT_EFFECT.items() if name in table}
        settings = {**self.plan.settings, **neutral, **changed}
        plan = replace(self.plan, settings=settings, loaded=replace(self.plan.loaded, train=records, holdout=[]))
        return Job(plan, Run(folder), self.hardware, self.tokenizer, model, NullProgress())

    def _prompt(self, record: Any) -> SequenceView:
        from tempfile import TemporaryDirectory

        from rlllm.algorithms.tokenized_preview import PreviewSequence

        prompt_tokens = self.plan.trainer.prompt_tokens
        with TemporaryDirectory() as folder:
            ids = prompt_tokens(self._job([record], {}, Path(folder), None), record) if prompt_tokens else []
        seen = PreviewSequence("prompt", ids, [False] * len(ids))
        return self._view(seen, seen, None, writes=False)

    def _view(self, whole: Any, seen: Any, turn: Turn | None, writes: bool) -> SequenceView:
        """One sequence with (`seen`) and without (`whole`) the length limit; `writes`: whether its end is to be learned."""
        check = check_template(self.tokenizer, turn, whole.ids) if turn is not None else None
        kept = _kept(whole.ids, seen.ids)
        stops = {*self.stops, self.tokenizer.eos_token_id}  # a setting of TRL's may have changed the tokenizer's own
        tokens = self._tokens(seen.ids, seen.trains)
        spelled = self._tokens(whole.ids, whole.trains)
        cut = [token for place, token in enumerate(spelled) if place not in kept]
        ends = [place for place, token in enumerate(tokens) if token.id in stops]
        notes = [
            *doubled_bos(self.tokenizer, whole.ids),
            *(_losses(tokens, cut, self.limit) if tokens else [_left_out(spelled, self.limit)]),
            *(_endless(tokens, ends) if writes and any(whole.trains) else ()),
            *(check.findings() if check else ()),
        ]
        rendered = self.tokenizer.decode(seen.ids, skip_special_tokens=False)
        return SequenceView(whole.name, rendered, tokens, ends, cut, not tokens, check, notes)

    def _tokens(self, ids: list[int], trains: list[bool]) -> list[Token]:
        return [Token(token, _spelled(self.tokenizer, token), mark) for token, mark in zip(ids, trains, strict=True)]


def eyes(verb: str, method: str, loaded: Loaded, model: str, settings: Iterable[tuple[str, Any]] = ()) -> Preview:
    """The eyes of a method's trainer.

    Args:
        verb: the stage.
        method: one of its methods.
        loaded: the data set, of the method's record type.
        model: whose tokenizer it is; its weights are not loaded.
        settings: overrides of the verb's settings, such as ("max_length", 64).

    Raises:
        ConfigError: an unknown setting, or a method whose trainer sees no recorded rows.
        ModelError: the model does not exist, or its tokenizer does not load.
    """
    chosen = resolve_method(method, verb)
    trainer = trainer_of(chosen)
    if trainer.batch_tokens is None and not trainer.samples:
        raise ConfigError(
            f"method {method} makes questions of its own out of the rows: there are no tokens of a row to show",
            given=method,
            hint="look at other methods of that data: --kind PreferencePair",
        )
    named = {"model": model, "method": method}
    config = resolve(trainer.settings[verb], named, _only_settings(settings), partial(unread_key, verb, method))
    source = resolve_model(model)
    plan = Plan(
        config=with_defaults(config, chosen).model_copy(update={"lora": None}),  # adapters change no row
        method=chosen,
        trainer=trainer,
        source=source,
        loaded=loaded,
        settings={**chosen.settings, **config.trainer},
    )
    return _opened(plan, source)


def _only_settings(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    given = list(pairs)
    for key, value in given:
        if key.partition(".")[0] in ("data", "model", "method"):
            raise ConfigError(
                f"{key} is not a setting here", given=f"{key}={value}", hint="use DATA, --model, --kind, --columns"
            )
    return given


def _opened(plan: Plan[Any], source: ModelSource) -> Preview:
    from rlllm.launch import local
    from rlllm.policies.loading import load_tokenizer

    hardware = replace(local.prepare(), device="cpu", bf16=False)
    return Preview(plan, load_tokenizer(source), hardware, _stops(source))


def _stops(source: ModelSource) -> frozenset[int]:
    """The tokens at which the generation config ends a completion."""
    from transformers import GenerationConfig

    try:
        given = GenerationConfig.from_pretrained(source.path).eos_token_id
    except OSError:  # a folder without one
        return frozenset()
    return frozenset(given if isinstance(given, list) else [] if given is None else [given])


def _kept(whole: list[int], seen: list[int]) -> range:
    """Places of the whole sequence that are left: a beginning, or an end."""
    if seen == whole[: len(seen)]:
        return range(len(seen))
    return range(len(whole) - len(seen), len(whole))


def _left_out(whole: list[Token], limit: int | None) -> str:
    return f"left out of training: {len(whole):,} tokens, where max_length={limit}"


def _losses(tokens: list[Token], cut: list[Token], limit: int | None) -> list[str]:
    """What the length limit takes away, in words."""
    if not cut:
        return []
    taken = f"{len(cut):,} of {len(tokens) + len(cut):,} tokens are cut off at max_length={limit}"
    lost = any(token.trains for token in cut) and not any(token.trains for token in tokens)
    return [f"{taken}; nothing that trains is left" if lost else taken]


def _endless(tokens: list[Token], ends: list[int]) -> list[str]:
    if not tokens or any(tokens[place].trains for place in ends):
        return []
    return ["no end-of-sequence token trains: the model does not learn to stop"]


def _spelled(tokenizer: Any, token: int) -> str:
    """The text of one token; where that is a part of a character, the vocabulary's own spelling."""
    text = tokenizer.decode([token], skip_special_tokens=False)
    return str(tokenizer.convert_ids_to_tokens(token)) if "\ufffd" in text else str(text)
