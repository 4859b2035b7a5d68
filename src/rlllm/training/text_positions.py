"""Positions of a text that are worth learning: cut by the model's tokens, chosen by how uncertain a proxy model is of them.

The proxy reads each document once. What it found is kept in the user's cache, under a hash of the text and of the proxy, so
that a plan and the run after it, and every further run on the text, read it from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pydantic import Field, field_validator

from rlllm.core.config import ModelConfig, Section
from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask, Record, fingerprint, record_hash
from rlllm.core.runs import write_json
from rlllm.core.user_cache import cache_root
from rlllm.core.watchdog import sign
from rlllm.data.config import DataConfig, held_out_rows
from rlllm.data.corpus.documents import Document
from rlllm.data.corpus.positions import ENTROPY, PREFIX, drawn, places, position
from rlllm.data.corpus.text import TextParams, text_params
from rlllm.data.load import PROCEDURAL_HOLDOUT, Loaded, split_key
from rlllm.data.request import Split
from rlllm.policies.model_sources import ModelSource, source_of

_PLACE = "{prefix}"
_ROWS = 1000
_LONGEST = 512
"""Tokens that the proxy reads at once; half of them are context alone, but for the first of a document."""
_WINDOW_FOR = 16
"""A long document is not read whole: so many positions that are taken of it at most cost one window of the proxy."""


class PositionsConfig(Section):
    """Which positions of the text are learned, and how they are shown."""

    proxy: ModelConfig | None = None
    """A small model whose uncertainty chooses positions. Default: the model itself, as it starts."""
    min_entropy: float = Field(1.0, ge=0)
    """Entropy of the proxy's next token, in nats, from which a position is taken; 0 takes all of them, and asks no proxy."""
    top_k: int = Field(16, ge=2)
    """The entropy is that of so many most likely tokens, as if there were no others."""
    template: str = _PLACE
    """The prompt of a position, with `{prefix}` for the text before it."""
    chat: bool = False
    """Whether the prompt is a user's turn of the chat template, and the prediction the assistant's. Default: the model goes on
    with the text itself."""

    @field_validator("template")
    @classmethod
    def _has_prefix(cls, template: str) -> str:
        if _PLACE not in template:
            raise ConfigError(
                "the prompt of a position shows what stands before it",
                given=f"positions.template={template}",
                hint=f"put {_PLACE} where the text is to stand",
            )
        return template


@dataclass(frozen=True)
class PositionCounts:
    """What became of the positions of a text."""

    proxy: str
    """Name of the proxy model; empty where none was asked."""
    min_entropy: float
    top_k: int
    params: TextParams
    documents: int = 0
    candidates: int = 0
    uncertain: int = 0
    mean_entropy: float = 0.0
    """Of the rows that are taken."""
    contamination: tuple[str, ...] = ()
    """What of the evaluation sets stands in the documents of the training rows, a line each."""
    contaminated: int = 0
    """How many of these documents hold an evaluation prompt."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Label and value rows for a person."""
        where = f"in {self.documents:,} {'document' if self.documents == 1 else 'documents or blocks'}"
        if not self.proxy:
            yield "positions", f"{self.candidates:,} {where}, all alike: min_entropy=0 asks no proxy"
        else:
            share = self.uncertain / max(self.candidates, 1)
            yield "positions", f"{self.uncertain:,} of {self.candidates:,} ({share:.0%}) {where} are uncertain"
            yield (
                "proxy",
                f"{self.proxy}: at least {self.min_entropy:g} nats over its {self.top_k} most likely tokens; "
                f"{self.mean_entropy:.2f} on average of those taken",
            )
        params = self.params
        yield (
            "lengths",
            f"{params.least_context} to {params.context} tokens before a position, {params.continuation} that follow it, "
            f"at most {params.per_document} positions of a document",
        )
        for number, line in enumerate(self.contamination):
            yield ("contamination" if number == 0 else ""), line

    def to_json(self) -> dict[str, Any]:
        return {
            "proxy": self.proxy or None,
            "min_entropy": self.min_entropy,
            "top_k": self.top_k,
            "documents": self.documents,
            "candidates": self.candidates,
            "uncertain": self.uncertain,
            "mean_entropy": round(self.mean_entropy, 4),
            "tokens": {name: getattr(self.params, name) for name in ("least_context", "context", "continuation")},
            "contamination": {"documents": self.contaminated, "lines": list(self.contamination)},
        }


@dataclass(frozen=True)
class TextPositions:
    """The rows of a run on raw text, and what is to be said of them."""

    loaded: Loaded
    counts: PositionCounts


def load_positions(
    data: DataConfig, positions: PositionsConfig, source: ModelSource, model: ModelConfig, kind: type[Record]
) -> TextPositions:
    """The uncertain positions of a text, training and held-out ones, in the order of its documents.

    Args:
        data: names the text, as `text:PATH`.
        positions: which of its positions are taken.
        source: the model that learns; its tokens are the tokens of the text.
        model: its settings, for the proxy where no other is named.
        kind: `PromptTask` or `Conversation`.

    Raises:
        ConfigError: a tokenizer that does not say where its tokens stand, or a threshold that leaves nothing.
        DataError, ModelError: the text cannot be read, or a model does not load.
    """
    from rlllm.policies.loading import load_tokenizer

    params = text_params({**data.params, "path": data.name.partition(":")[2]})
    windows = -(-params.per_document // _WINDOW_FOR)
    proxy = _Proxy(source_of(positions.proxy or model), positions.top_k, windows) if positions.min_entropy else None
    reader = _Reader(params, load_tokenizer(source), positions, proxy, data.seed, kind)
    rows = _ROWS if data.rows is None else data.rows
    holdout = PROCEDURAL_HOLDOUT if data.holdout is None else held_out_rows(data.holdout, rows)
    train = reader.rows("train", rows)
    trained = {split_key(row) for row in train}
    held_out = [row for row in reader.rows("holdout", holdout) if split_key(row) not in trained]
    counts = reader.counts(proxy, positions, [*train, *held_out])
    _check_some(train, counts, data.name)
    words = f"{data.name}: {len(train):,} training rows, {len(held_out):,} held out"
    digest = fingerprint([list(map(record_hash, part)) for part in (train, held_out)])
    how = "positions of a text"
    return TextPositions(Loaded(train, held_out, words, ("next-token",), digest, how=how), counts)


def _check_some(train: Sequence[Record], counts: PositionCounts, name: str) -> None:
    if train:
        return
    if not counts.candidates:
        raise ConfigError(
            "the text has no positions: its documents are shorter than what a position shows",
            given=f"{name}, data.params.least_context={counts.params.least_context}",
            hint="data.params.least_context=1",
        )
    raise ConfigError(
        f"none of {counts.candidates:,} positions is as uncertain as asked for",
        given=f"positions.min_entropy={counts.min_entropy:g}, proxy {counts.proxy}",
        hint="positions.min_entropy=0 takes all of them; the entropy of a choice among "
        f"{counts.top_k} tokens is at most {_most(counts.top_k):.2f} nats",
    )


def _most(top_k: int) -> float:
    from math import log

    return log(top_k)


@dataclass
class _Reader:
    """Reads the documents of a text until it has the rows that are asked for, and counts what it sees."""

    params: TextParams
    tokenizer: Any
    positions: PositionsConfig
    proxy: _Proxy | None
    seed: int
    kind: type[Record]
    seen: dict[str, int] = field(default_factory=lambda: {"documents": 0, "candidates": 0, "uncertain": 0})

    def rows(self, split: Split, wanted: int) -> list[Any]:
        """At most `wanted` rows of a split."""
        rows: list[Any] = []
        if wanted:
            for document in self.params.documents(split):
                rows += self._of(document)
                if len(rows) >= wanted:
                    break
        return rows[:wanted]

    def _of(self, document: Document) -> list[Record]:
        ends = token_ends(self.tokenizer, document.text)
        known = self._known(document, ends)
        chosen = [number for number, entropy in known.items() if self._uncertain(entropy)]
        self.seen["documents"] += 1
        self.seen["candidates"] += len(known)
        self.seen["uncertain"] += len(chosen)
        taken = drawn(chosen, self.params.per_document, document, self.seed)
        columns = {number: {} if known[number] is None else {ENTROPY: known[number]} for number in taken}
        window, kind = self.params.window, self.kind
        return [self._shown(position(document, ends, number, window, columns[number], kind)) for number in taken]

    def _known(self, document: Document, ends: Sequence[int]) -> dict[int, float | None]:
        """The positions that may be taken, as numbers of tokens, and how uncertain the proxy is of each."""
        candidates = places(document.text, ends, self.params.window)
        if self.proxy is None or not candidates:
            return dict.fromkeys(candidates)
        entropies = self.proxy.entropies(document)
        return {number: entropies[ends[number - 1]] for number in candidates if ends[number - 1] in entropies}

    def _uncertain(self, entropy: float | None) -> bool:
        return self.proxy is None or (entropy is not None and entropy >= self.positions.min_entropy)

    def _shown(self, row: Any) -> Any:
        template = self.positions.template
        if template == _PLACE:
            return row
        return replace(
            row, prompt=template.replace(_PLACE, str(row.prompt)), meta={**row.meta, PREFIX: str(row.prompt)}
        )

    def counts(self, proxy: _Proxy | None, positions: PositionsConfig, rows: Sequence[Any]) -> PositionCounts:
        entropies = [row.meta[ENTROPY] for row in rows if ENTROPY in row.meta]
        mean = sum(entropies) / len(entropies) if entropies else 0.0
        name, seen = proxy.source.name if proxy else "", self.seen
        return PositionCounts(
            name,
            positions.min_entropy,
            positions.top_k,
            self.params,
            seen["documents"],
            seen["candidates"],
            seen["uncertain"],
            mean,
        )


def token_ends(tokenizer: Any, text: str) -> list[int]:
    """Where the tokens of a text end, in characters. Tokens that share a character count as one, which ends behind it.

    Raises:
        ConfigError: a tokenizer that does not say which characters a token stands for.
    """
    return [end for end, _ in _ends(tokenizer, text)[1]]


def _ends(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids, and where they end: (place in characters, number of the last token that ends there)."""
    if not tokenizer.is_fast:
        raise ConfigError(
            "the tokenizer does not say which characters a token stands for",
            given=type(tokenizer).__name__,
            hint="take a model with a tokenizer.json",
        )
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans = encoded["offset_mapping"]
    ends: list[tuple[int, int]] = []
    for number, (_, end) in enumerate(spans):
        begun = number + 1 < len(spans) and spans[number + 1][0] < end
        if not begun and end > (ends[-1][0] if ends else 0):
            ends.append((end, number))
    return encoded["input_ids"], ends


@dataclass
class _Proxy:
    """A model that says how uncertain it is of next tokens.

    Args:
        source: the model.
        top_k: tokens that are told apart.
        windows: parts of a document that it reads, at most; of a longer one they are drawn by a hash.
    """

    source: ModelSource
    top_k: int
    windows: int

    def entropies(self, document: Document) -> dict[int, float]:
        """Place in characters -> entropy of the token that follows, in nats, wherever a token of the proxy ends in a part that
        it reads."""
        sizes = {"top_k": self.top_k, "window": self._window, "windows": self.windows}
        path = cache_root() / "entropies" / f"{fingerprint([document.text, self._identity, sizes])}.json"
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return {int(place): float(entropy) for place, entropy in kept.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            found = self._computed(document)
            write_json(path, found)
            return found

    @cached_property
    def _identity(self) -> list[Any]:
        return [self.source.reference, self.source.fingerprint(), self.source.loading.model_dump()]

    @cached_property
    def _window(self) -> int:
        return min(self.source.context_length() or _LONGEST, _LONGEST)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from rlllm.launch.local import prepare
        from rlllm.policies.loading import load_policy, load_tokenizer, placed

        hardware = prepare()
        return placed(load_policy(self.source, bf16=hardware.bf16), hardware).eval(), load_tokenizer(self.source)

    def _computed(self, document: Document) -> dict[int, float]:
        model, tokenizer = self._loaded
        ids, ends = _ends(tokenizer, document.text)
        half = self._window // 2
        of_token: dict[int, float] = {}
        for number in drawn(range(max(1, -(-len(ids) // half) - 1)), self.windows, document, 0):
            start, context = number * half, half if number else 0
            found = next_token_entropies(model, ids[start : start + self._window], context, self.top_k)
            of_token.update(enumerate(found, start=start + context))
        return {place: round(of_token[number], 4) for place, number in ends if number in of_token}


def next_token_entropies(model: Any, ids: Sequence[int], context: int, top_k: int) -> list[float]:
    """The entropy (nats) of the `top_k` most likely tokens, as if there were no others, behind each token but the first ones.

    Args:
        model: a causal language model.
        ids: token ids.
        context: how many of them come first, and have no entropy.
        top_k: tokens that are told apart.
    """
    import torch

    sign()
    with torch.inference_mode():
        logits = (
            model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False).logits[0, context:].float()
        )
        logps = torch.log_softmax(logits.topk(min(top_k, logits.size(-1)), dim=-1).values, dim=-1)
        return list(map(float, -(logps.exp() * logps).sum(-1)))


def as_task(row: Any) -> PromptTask:
    """A position to be predicted, of a row of either kind."""
    return row if isinstance(row, PromptTask) else PromptTask(row.prompt, row.completion, row.meta)
