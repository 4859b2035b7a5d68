"""The dataset `text`: any text as positions, each a prefix and its continuation. `text:FILE`, `text:FOLDER` or `text:HUB-ID`.

Without a tokenizer a position stands between words. `rlllm pretrain` cuts by the tokens of its model instead, and takes the
positions that a proxy model is uncertain of.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

from pydantic import Field

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, PromptTask, Record
from rlllm.data.corpus.documents import Document, documents, split_documents
from rlllm.data.corpus.positions import Window, drawn, places, position, word_ends
from rlllm.data.procedural.procedural_task import parse_params
from rlllm.data.request import DataRequest, Split


class TextParams(Section):
    """What `data.params` may hold for `text`."""

    path: str = Field(min_length=1)
    """A text file, a folder of them, a table or a folder of tables, or a Hub id."""
    column: str | None = None
    """Column of a table that holds the text. Default: `text`, `content`, or another usual name."""
    split: str = "train"
    """Split of a Hub corpus, or of a folder that has several."""
    subset: str | None = None
    """Configuration name of a Hub corpus."""
    context: int = Field(64, ge=1)
    """Tokens before a position, at most; words, where no tokenizer cuts."""
    least_context: int = Field(8, ge=1)
    """Tokens before a position, at least."""
    continuation: int = Field(8, ge=1)
    """Tokens that follow a position and are the truth."""
    per_document: int = Field(64, ge=1)
    """Positions of one document, at most."""
    held_out: float = Field(0.1, gt=0, lt=1)
    """Share of the documents that is held out; of the blocks, where there are fewer than ten documents."""
    block: int = Field(2000, ge=200)
    """Characters of a block."""

    @property
    def window(self) -> Window:
        return Window(self.context, self.least_context, self.continuation)

    def documents(self, split: Split) -> Iterator[Document]:
        """The documents of one split of the text."""
        found = documents(self.path, self.column, self.split, self.subset)
        return split_documents(found, split, self.held_out, self.block)


class _Text:
    """Dataset callable."""

    argument: ClassVar[str] = "path"
    rewards: ClassVar[tuple[str, ...]] = ("next-token",)

    def __call__(self, request: DataRequest) -> list[Record]:
        """At most `request.rows` positions.

        Raises:
            ConfigError: no path, a level, or an unknown parameter.
            DataError: another record type than prompts or conversations, or a text that cannot be read.
        """
        params = text_params(request.params)
        if request.level is not None:
            raise ConfigError("a text has no levels", given=f"level={request.level}", hint="leave data.level out")
        if request.kind not in (PromptTask, Conversation):
            raise DataError(f"text cannot make {request.kind.__name__} rows", exists=["PromptTask", "Conversation"])
        return list(islice(self._positions(params, request), request.rows))

    def _positions(self, params: TextParams, request: DataRequest) -> Iterator[Record]:
        for document in params.documents(request.split):
            ends = word_ends(document.text)
            for number in drawn(
                places(document.text, ends, params.window), params.per_document, document, request.seed
            ):
                yield position(document, ends, number, params.window, {}, request.kind)


def text_params(params: Any) -> TextParams:
    """The parameters. Raises ConfigError for an unknown one, or without a path."""
    if "path" not in params:
        raise ConfigError(
            "text needs a file, a folder or a Hub id", given="text", hint="write text:docs, or text:corpus.txt"
        )
    parsed: TextParams = parse_params(TextParams, params)
    if parsed.least_context > parsed.context:
        raise ConfigError(
            "a position shows at least as many tokens as it shows at most",
            given=f"least_context={parsed.least_context} context={parsed.context}",
            hint=f"data.params.least_context={parsed.context}",
        )
    return parsed


text = _Text()
