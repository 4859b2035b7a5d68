"""Tokenised preview: the tokens that the trainer of a method makes of a record, which of them train, and which are cut off.

The trainer is built on the record by its own build function, with its data set and its collator
(`algorithms.tokenized_preview`). It is built a second time without a length limit, to show what `max_length` cuts off. Torch
is imported only when a record is looked at.
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
from rlllm.core.redaction import without_secrets
from rlllm.core.runs import Run
from rlllm.data.load import Loaded
from rlllm.policies.model_sources import ModelSource, resolve_model
from rlllm.policies.template_check import TemplateCheck, Turn, check_template, doubled_bos, turns_of
from rlllm.policies.turn_masks import with_turns
from rlllm.policies.vision import processor_of
from rlllm.stages.catalog import unread_key
from rlllm.training.plan import Plan, plan_of, resolve_method
from rlllm.training.registry import trainer_of
from rlllm.training.row_checks import template_notes

_WITHOUT_EFFECT = {
    "packing": False,
    "padding_free": False,
    "bf16": False,
    "fp16": False,
    "use_liger_kernel": False,
    "precompute_ref_log_probs": False,
    "deepspeed": None,
}
"""Settings that do not change the tokens of a row, only batching or what the trainer needs from the machine."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its id, its text, and whether the loss reads it."""

    id: int
    text: str
    trains: bool


@dataclass(frozen=True, slots=True)
class SequenceView:
    """One sequence as the trainer gets it."""

    name: str
    """`text`, `prompt`, or the side of a pair."""
    rendered: str
    """The text, with one mark for all tokens of an image."""
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
    """Problems: doubled or missing special tokens, cut tokens, differences between training and generation."""


@dataclass(frozen=True)
class Preview:
    """A planned method with a tokenizer, which shows records as its trainer gets them."""

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

    def image_tokens(self, reference: str) -> int | None:
        """Tokens that an image takes in a prompt; None where the processor does not say."""
        from rlllm.policies.vision import image_tokens

        return image_tokens(self.tokenizer, reference)

    def sequences(self, record: Any) -> list[SequenceView]:
        """The sequences of one record: one text, the sides of a pair, or the prompt where the model writes the rest.

        Raises:
            DataError: the chat template refuses the record, or the tokenizer has none and the record is a chat.
            ConfigError: TRL refuses the settings.
        """
        from jinja2 import TemplateError

        try:
            views = [self._prompt(record)] if self.plan.trainer.samples else self._of_turns(record)
        except TemplateError as error:
            raise DataError(
                f"the chat template of the tokenizer fails: {error}",
                given=str(record.prompt)[:120],
                hint="leave out what it does not take, such as system prompts, or use another model",
            ) from error
        notes = template_notes([record], self.tokenizer)
        return [replace(view, notes=[*view.notes, *notes]) for view in views]

    def _of_turns(self, record: Any) -> list[SequenceView]:
        """The sequences of a record; of `turns=each` those of all its turns."""
        if getattr(self.plan.config, "turns", "all") != "each":
            return self._recorded(record)
        parts = [view for part in with_turns([record], "each") for view in self._recorded(part)]
        return [replace(view, name=f"turn {number}") for number, view in enumerate(parts, start=1)]

    def _recorded(self, record: Any) -> list[SequenceView]:
        from rlllm.algorithms.tokenized_preview import UNLIMITED, PreviewSequence

        unlimited = self._sequences(record, {"max_length": UNLIMITED})
        limited = {sequence.name: sequence for sequence in self._sequences(record, {})}
        turns = turns_of(record)
        writes = not isinstance(record, StepwiseSolution)
        return [
            self._view(full, limited.get(full.name, PreviewSequence(full.name, [], [])), turns.get(full.name), writes)
            for full in unlimited
        ]

    def _sequences(self, record: Any, changed: Mapping[str, Any]) -> list[Any]:
        """The sequences that the trainer makes of this record; empty where it leaves the row out."""
        from rlllm.algorithms.tokenized_preview import first_batch

        batch_tokens = self.plan.trainer.batch_tokens
        try:
            trainer = self._trainer(record, changed)
            return first_batch(trainer, batch_tokens) if trainer is not None and batch_tokens is not None else []
        except RlllmError:
            raise
        except (ValueError, TypeError, RuntimeError) as error:
            raise ConfigError(
                f"TRL refuses these settings: {error}", given=without_secrets(self.plan.config.trainer)
            ) from error

    def _trainer(self, record: Any, changed: Mapping[str, Any]) -> Any:
        from tempfile import TemporaryDirectory

        from rlllm.algorithms.tokenized_preview import stand_in

        model = stand_in(self.tokenizer, scores=self.plan.trainer.task != "CAUSAL_LM")
        with TemporaryDirectory() as folder:
            job = self._job([record, *self._row_with_prompt(record)], changed, Path(folder), model)
            try:
                return self.plan.trainer.build(job, [])
            except DataError:
                if changed:  # without a limit no row is left out for its length
                    raise
                return None

    def _row_with_prompt(self, record: Any) -> list[Any]:
        """A row with a prompt, for a record without one: rows become plain text only if no row has a prompt."""
        if not isinstance(record, Conversation) or record.prompt:
            return []
        return [row for row in self.plan.loaded.train if row.prompt][:1]

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
        prompt = PreviewSequence("prompt", ids, [False] * len(ids))
        return self._view(prompt, prompt, None, writes=False)

    def _view(self, unlimited: Any, limited: Any, turn: Turn | None, writes: bool) -> SequenceView:
        """One sequence with (`limited`) and without (`unlimited`) the length limit; `writes`: whether its end is learned."""
        check = check_template(self.tokenizer, turn, unlimited.ids) if turn is not None else None
        kept_places = _kept_places(unlimited.ids, limited.ids)
        stops = {*self.stops, self.tokenizer.eos_token_id}  # a setting of TRL's may have changed the tokenizer's own
        tokens = self._tokens(limited.ids, limited.trains)
        spelled = self._tokens(unlimited.ids, unlimited.trains)
        cut = [token for place, token in enumerate(spelled) if place not in kept_places]
        ends = [place for place, token in enumerate(tokens) if token.id in stops]
        notes = [
            *doubled_bos(self.tokenizer, unlimited.ids),
            *(_truncation_note(tokens, cut, self.limit) if tokens else [_left_out(spelled, self.limit)]),
            *(_endless(tokens, ends) if writes and any(unlimited.trains) else ()),
            *(check.findings() if check else ()),
        ]
        mark = getattr(processor_of(self.tokenizer), "image_token_id", None)
        shown = [
            token
            for token, before in zip(limited.ids, [None, *limited.ids], strict=False)
            if token != mark or before != mark
        ]
        rendered = self.tokenizer.decode(shown, skip_special_tokens=False)
        return SequenceView(unlimited.name, rendered, tokens, ends, cut, not tokens, check, notes)

    def _tokens(self, ids: list[int], trains: list[bool]) -> list[Token]:
        return [Token(token, _spelled(self.tokenizer, token), mark) for token, mark in zip(ids, trains, strict=True)]


def preview_of(verb: str, method: str, loaded: Loaded, model: str, settings: Iterable[tuple[str, Any]] = ()) -> Preview:
    """The preview of a method's trainer.

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
    method_record = resolve_method(method, verb)
    trainer = trainer_of(method_record)
    if trainer.batch_tokens is None and not trainer.samples:
        raise ConfigError(
            f"method {method} makes questions of its own out of the rows: there are no tokens of a row to show",
            given=method,
            hint="look at other methods of that data: --kind PreferencePair",
        )
    recipe = {"model": model, "method": method}
    config = resolve(trainer.settings[verb], recipe, _only_settings(settings), partial(unread_key, verb, method))
    source = resolve_model(model)
    whole = config.model_copy(update={"lora": None})  # adapters change no row
    return _opened(plan_of(whole, method_record, trainer, source, loaded), source)


def _only_settings(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    overrides = list(pairs)
    for key, value in overrides:
        if key.partition(".")[0] in ("data", "model", "method"):
            raise ConfigError(
                f"{key} is not a setting here", given=f"{key}={value}", hint="use DATA, --model, --kind, --columns"
            )
    return overrides


def _opened(plan: Plan[Any], source: ModelSource) -> Preview:
    from rlllm.launch import local
    from rlllm.policies.loading import load_tokenizer

    hardware = replace(local.prepare(), device="cpu", bf16=False)
    return Preview(plan, load_tokenizer(source), hardware, _stops(source))


def _stops(source: ModelSource) -> frozenset[int]:
    """The tokens at which the generation config ends a completion."""
    from transformers import GenerationConfig

    whole = source.base or source
    try:
        eos_token_id = GenerationConfig.from_pretrained(whole.path, revision=whole.revision or "main").eos_token_id
    except OSError:  # a folder without one
        return frozenset()
    return frozenset(eos_token_id if isinstance(eos_token_id, list) else [] if eos_token_id is None else [eos_token_id])


def _kept_places(unlimited: list[int], limited: list[int]) -> range:
    """Places of the unlimited sequence that are left: a beginning, or an end."""
    if limited == unlimited[: len(limited)]:
        return range(len(limited))
    return range(len(unlimited) - len(limited), len(unlimited))


def _left_out(tokens: list[Token], limit: int | None) -> str:
    return f"left out of training: {len(tokens):,} tokens, where max_length={limit}"


def _truncation_note(tokens: list[Token], cut: list[Token], limit: int | None) -> list[str]:
    """What the length limit cuts off, as a sentence."""
    if not cut:
        return []
    note = f"{len(cut):,} of {len(tokens) + len(cut):,} tokens are cut off at max_length={limit}"
    nothing_trains = any(token.trains for token in cut) and not any(token.trains for token in tokens)
    return [f"{note}; nothing that trains is left" if nothing_trains else note]


def _endless(tokens: list[Token], ends: list[int]) -> list[str]:
    if not tokens or any(tokens[place].trains for place in ends):
        return []
    return ["no end-of-sequence token trains: the model does not learn to stop"]


def _spelled(tokenizer: Any, token: int) -> str:
    """The text of one token; where that is a part of a character, the vocabulary's own spelling."""
    text = tokenizer.decode([token], skip_special_tokens=False)
    return str(tokenizer.convert_ids_to_tokens(token)) if "\ufffd" in text else str(text)
