"""Whether a tokenizer gives only tokens that the model has a vector for. Read from the files of a folder, without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlllm.core.errors import DataError, ModelError
from rlllm.core.records import Prompt, prompt_text

_NAMED = ("eos_token", "pad_token", "bos_token")
_SHOWN = 3


def check_vocabulary(folder: Path, settings: Mapping[str, Any], reference: str) -> None:
    """Refuse a folder whose tokenizer gives tokens of ordinary text beyond the model's embedding.

    Args:
        folder: with a `tokenizer.json`; without one nothing is known before the tokenizer is loaded.
        settings: content of config.json.
        reference: as the user named it.

    Raises:
        ModelError: with tokens and numbers. Added tokens that no template writes may lie beyond; `refuse_rows` looks for them.
    """
    text: Mapping[str, Any] = settings.get("text_config") or settings
    size = text.get("vocab_size")
    if not isinstance(size, int) or not (folder / "tokenizer.json").is_file():
        return
    plain, added = _stored_tokens(folder)
    refuse_tokenizer(plain, added, size, _template(folder), _named_tokens(folder), reference)


def refuse_tokenizer(
    plain: Mapping[str, int], added: Mapping[str, int], size: int, template: str, named: Iterable[str], given: str
) -> None:
    """Raise ModelError where tokens that every text may hold have no row in the embedding.

    Args:
        plain: token -> id, of the vocabulary that ordinary text is made of.
        added: the same of added tokens.
        size: rows of the embedding.
        template: the chat template.
        named: tokens with a role, such as the end-of-sequence token.
        given: the model, for the message.
    """
    named = set(named)
    beyond = {token: number for token, number in plain.items() if number >= size and token not in added}
    used = {token: number for token, number in added.items() if token in template or token in named}
    beyond |= {token: number for token, number in used.items() if number >= size}
    if not beyond:
        return
    first = sorted(beyond.items(), key=lambda item: item[1])[:_SHOWN]
    raise ModelError(
        f"{len(beyond):,} tokens of the tokenizer have no vector in the model: its embedding has {size:,} rows, and "
        f"{', '.join(f'{token!r} has the id {number}' for token, number in first)}",
        given=given,
        hint="tokenizer and weights are of two models, or tokens were added and the embedding was not resized: "
        "model.resize_token_embeddings(len(tokenizer))",
    )


def beyond_embedding(tokenizer: Any, size: int) -> dict[str, int]:
    """Added tokens of a loaded tokenizer that have no row in an embedding of this size: token -> id."""
    return {str(token): number for number, token in tokenizer.added_tokens_decoder.items() if number >= size}


def refuse_rows(texts: Iterable[tuple[Prompt, Iterable[str]]], tokens: Mapping[str, int], size: int) -> None:
    """Raise DataError for the first row whose text holds one of these tokens.

    Args:
        texts: prompt and completions of each row.
        tokens: as from `beyond_embedding`.
        size: rows of the embedding.
    """
    if not tokens:
        return
    for row, (prompt, completions) in enumerate(texts, start=1):
        whole = "\n".join([prompt_text(prompt), *completions])
        token = next((token for token in tokens if token in whole), None)
        if token is not None:
            raise DataError(
                f"row {row} holds the token {token}, which the model has no vector for: its id is {tokens[token]}, and the "
                f"embedding has {size:,} rows",
                given=whole[:200],
                hint="leave the token out of the data, or take a model whose embedding was resized to its tokenizer",
            )


def check_loaded(model: Any, tokenizer: Any, given: str) -> None:
    """`check_vocabulary` of a model and a tokenizer that are loaded. Raises ModelError."""
    embedding = model.get_input_embeddings()
    size = getattr(embedding, "num_embeddings", None)
    if not isinstance(size, int):
        return
    vocabulary = tokenizer.get_vocab()
    if max(vocabulary.values(), default=0) < size:
        return
    added = {str(token): number for number, token in tokenizer.added_tokens_decoder.items()}
    named = [str(getattr(tokenizer, name)) for name in _NAMED if getattr(tokenizer, name, None)]
    refuse_tokenizer(vocabulary, added, size, str(tokenizer.chat_template or ""), named, given)


def _stored_tokens(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Token -> id of the vocabulary and of the added tokens; nothing of a file that cannot be read."""
    path = folder / "tokenizer.json"
    return _read_tokens(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_tokens(path: Path, changed: int) -> tuple[dict[str, int], dict[str, int]]:
    """Reading takes half a second for 250,000 tokens, and a plan resolves its model more than once; `changed` is a time."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = content.get("model", {}).get("vocab", {})
        added = {entry["content"]: entry["id"] for entry in content.get("added_tokens") or ()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, {}
    if isinstance(vocabulary, list):  # of unigram models: pairs of token and log-probability
        vocabulary = {entry[0]: number for number, entry in enumerate(vocabulary)}
    return vocabulary, added


def _template(folder: Path) -> str:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8", errors="replace")
    template = _tokenizer_settings(folder).get("chat_template")
    return template if isinstance(template, str) else json.dumps(template) if template else ""


def _named_tokens(folder: Path) -> list[str]:
    values = (_tokenizer_settings(folder).get(name) for name in _NAMED)
    texts = (value.get("content") if isinstance(value, dict) else value for value in values)
    return [text for text in texts if isinstance(text, str)]


def _tokenizer_settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}
