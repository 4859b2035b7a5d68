"""The tokenizer of a folder for a look, by the package `tokenizers` and jinja alone: a fraction of transformers' import.

It gives the ids and the rendered texts that transformers gives of the same files. Training and sampling use transformers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rlllm.core.records import Message

_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class StoredTokenizer:
    """Texts and conversations to token ids, as far as checks of chat templates need it.

    Args:
        folder: with `tokenizer.json`.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        named = {name: settings.get(name) for name in _NAMED}
        self._named = {
            name: token["content"] if isinstance(token, dict) else token for name, token in named.items() if token
        }
        self.chat_template = _template(folder, settings)
        self.added_tokens_decoder = self._tokenizer.get_added_tokens_decoder()
        special = {number for number, token in self.added_tokens_decoder.items() if token.special}
        ids = (self._tokenizer.token_to_id(token) for token in self._named.values())
        self.all_special_ids = sorted(special | {number for number in ids if number is not None})
        self.eos_token_id = self._tokenizer.token_to_id(self._named.get("eos_token", ""))
        self._compiled = _compiled(self.chat_template) if self.chat_template else None

    def __call__(self, text: str | Sequence[str], add_special_tokens: bool = True) -> dict[str, Any]:
        """`input_ids` of a text, or of each of several."""
        if isinstance(text, str):
            return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}
        encoded = self._tokenizer.encode_batch(list(text), add_special_tokens=add_special_tokens)
        return {"input_ids": [row.ids for row in encoded]}

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def convert_ids_to_tokens(self, token: int) -> str | None:
        """The token with an id; None where there is none."""
        return self._tokenizer.id_to_token(token)

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        tokenize: bool = True,
        add_generation_prompt: bool = False,
        return_dict: bool = True,
        **arguments: Any,
    ) -> Any:
        """A conversation, or each of several, rendered by the template; with `tokenize` its `input_ids`.

        Raises:
            jinja2.TemplateError: the template refuses it.
        """
        assert self._compiled is not None
        several = bool(conversation) and isinstance(conversation[0], list)
        own = {"tools": None, "documents": None, **self._named, **arguments}
        texts = [
            self._compiled.render(messages=_aliased(messages), add_generation_prompt=add_generation_prompt, **own)
            for messages in (conversation if several else [conversation])
        ]
        rendered = self(texts, add_special_tokens=False)["input_ids"] if tokenize else texts
        whole = rendered if several else rendered[0]
        return {"input_ids": whole} if tokenize and return_dict else whole


def _aliased(messages: Sequence[Message]) -> list[Message]:
    """Reasoning under the names that templates read, as transformers gives it to them."""
    aliased = []
    for message in messages:
        reasoning = next((message[key] for key in _REASONING_FIELDS if message.get(key) is not None), None)
        more = {} if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}
        aliased.append({**message, **more})
    return aliased


def _template(folder: Path, settings: dict[str, Any]) -> str | None:
    """The chat template of a folder; of several that are named the default one. None where there is none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):
        return next((entry["template"] for entry in template if entry["name"] == "default"), None)
    return template


def _compiled(template: str) -> Any:
    """The template in an environment as transformers makes it: sandboxed, without blank lines of blocks, with its functions."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The block `generation`, which marks what the assistant wrote, and is rendered as it is."""

        tags = {"generation"}  # noqa: RUF012 -- declared so by jinja

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_rendered"), [], [], body).set_lineno(line)

        def _rendered(self, caller: Any) -> Any:
            return caller()

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def as_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = as_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)
