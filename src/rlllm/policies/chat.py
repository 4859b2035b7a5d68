"""The chat format of prompts and completions, the same for training, evaluation and rewards.

A tokenizer with a chat template gets messages (a plain prompt becomes one user turn); a tokenizer without one gets plain text.
The tokenizer's own template renders messages, so training and generation use the same text, byte for byte. Tools of a record
(its column `tools`) and its `chat_template_kwargs` go to the template as TRL passes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import Completion, Message, Prompt, images_of, tools_of
from rlllm.policies.vision import encode_with_images, in_parts

_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Names under which chat templates read the reasoning of a message."""
_PROBE = "rlllmprobe"
_USER: Message = {"role": "user", "content": "a"}
_PROBE_CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "123456789", "type": "function", "function": {"name": "f", "arguments": {"x": _PROBE}}}],
}
_TEMPLATE_TRAITS: dict[tuple[str, str], bool] = {}
"""(name of a trait, chat template) -> whether the template has it."""


def is_chat(tokenizer: Any) -> bool:
    return bool(tokenizer.chat_template)


def as_prompt(tokenizer: Any, prompt: Prompt) -> Prompt:
    """The prompt in the form this tokenizer takes: messages if it has a chat template, else text.

    Raises:
        DataError: messages without a chat template, or with tool calls or results that it does not render.
    """
    if is_chat(tokenizer):
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return _for_template(tokenizer, messages)
    if isinstance(prompt, str):
        return prompt
    raise _no_template(prompt)


def as_completion(tokenizer: Any, completion: Completion) -> Completion:
    """The completion in the form TRL pairs with `as_prompt`.

    Raises:
        DataError: the chat template drops the completion's reasoning, as a field and as `<think>`; or as `as_prompt`.
    """
    if not is_chat(tokenizer):
        if isinstance(completion, str):
            return completion
        raise _no_template(completion)
    if isinstance(completion, str):
        return _for_template(tokenizer, [{"role": "assistant", "content": completion}])
    reasons = any(message.get("reasoning_content") for message in completion)
    if reasons and not (renders_reasoning(tokenizer) or _keeps_think(tokenizer)):
        raise DataError(
            "the chat template drops the reasoning of a completion: it renders neither a field for it nor <think>",
            given=str(completion)[:120],
            hint="use a model whose template keeps it; sft takes another template with chat_template_path=FILE.jinja",
        )
    return _for_template(tokenizer, completion)


def as_turns(tokenizer: Any, prompt: Prompt, completion: Completion) -> list[Message]:
    """Prompt and completion as the messages of one conversation, for a tokenizer with a chat template."""
    return [*as_prompt(tokenizer, prompt), *as_completion(tokenizer, completion)]


def end_of_turn(tokenizer: Any) -> int | None:
    """The token by which the chat template ends an assistant's turn: the first special token that it writes behind the content.

    None where there is no template, or where it writes no such token: nothing in the text then says that the turn is over.
    """
    if not is_chat(tokenizer):
        return None
    from jinja2 import TemplateError

    content = "an answer"
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "a question"}, {"role": "assistant", "content": content}], tokenize=False
        )
    except TemplateError:
        return None
    behind = tokenizer(text.rpartition(content)[2], add_special_tokens=False)["input_ids"]
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return next((token for token in behind if token in special), None)


def stop_ids(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a completion: the tokenizer's, the generation config's and the end of turn of the template."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    stops = set(configured if isinstance(configured, list | tuple) else [configured])
    stops |= {tokenizer.eos_token_id, end_of_turn(tokenizer)}
    return {token for token in stops if token is not None}


def add_end_of_turn(model: Any, tokenizer: Any) -> str | None:
    """Make the template's end of turn one of the tokens at which a model's generation config ends a completion.

    Engines, TRL's loop and a saved model read that config. Without it a model that ends its turns as it was taught would be
    sampled on to the length limit.

    Returns:
        A sentence about it, where it was no stop token before; None otherwise.
    """
    config = getattr(model, "generation_config", None)
    token = end_of_turn(tokenizer)
    if config is None or token is None:
        return None
    before = config.eos_token_id
    stops = list(before) if isinstance(before, list | tuple) else [] if before is None else [before]
    if token in stops or (token == tokenizer.eos_token_id and not stops):
        return None
    config.eos_token_id = [*stops, token]
    if token == tokenizer.eos_token_id:
        return None
    return (
        f"the chat template ends a turn with {tokenizer.convert_ids_to_tokens(token)}, which was no stop token of the model: "
        "completions end there from now on"
    )


def template_arguments(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a record gives the chat template beside messages: `tools`, and the items of its column `chat_template_kwargs`."""
    tools, given = tools_of(meta), meta.get("chat_template_kwargs")
    return {**(given if isinstance(given, Mapping) else {}), **({"tools": tools} if tools else {})}


def encode_prompts(
    tokenizer: Any, prompts: Sequence[Prompt], metas: Sequence[Mapping[str, Any]] | None = None
) -> list[list[int]]:
    """Token ids of each prompt, generation prompt included.

    Args:
        metas: of each prompt, the record's other columns; by default none has tools.

    Returns:
        Lists of ids; `vision.PromptWithImages` where a prompt has images.
    """
    if not is_chat(tokenizer):
        return tokenizer([as_prompt(tokenizer, prompt) for prompt in prompts])["input_ids"]
    conversations = [as_prompt(tokenizer, prompt) for prompt in prompts]
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True}
    arguments = [template_arguments(meta) for meta in metas or ()]
    if any(map(images_of, prompts)):
        each = arguments or [{}] * len(prompts)
        pairs = zip(conversations, each, strict=True)
        return [encode_with_images(tokenizer, list(conversation), own) for conversation, own in pairs]  # type: ignore[arg-type]
    if not any(arguments):
        return tokenizer.apply_chat_template(conversations, **options)["input_ids"]
    return [
        tokenizer.apply_chat_template(conversation, **options, **own)["input_ids"]
        for conversation, own in zip(conversations, arguments, strict=True)
    ]


def renders_reasoning(tokenizer: Any) -> bool:
    """Whether the template renders the reasoning of the last turn under one of the names that templates use."""
    turn = {"role": "assistant", "content": "b", **dict.fromkeys(_REASONING_KEYS, _PROBE)}
    return _trait("reasoning", tokenizer, [_USER, turn])


def _renders_text(tokenizer: Any) -> bool:
    """Whether the template renders a content that is text; some of vision-language models take lists of parts alone."""
    return _trait("text", tokenizer, [{**_USER, "content": _PROBE}])


def renders_tools(tokenizer: Any) -> bool:
    """Whether the template renders the descriptions of tools."""
    parameters = {"type": "object", "properties": {}}
    function = {"name": _PROBE, "description": _PROBE, "parameters": parameters}
    tool = {"type": "function", **function, "function": function}
    return _trait("tools", tokenizer, [_USER], tools=[tool])


def reads_key(tokenizer: Any, key: str) -> bool:
    """Whether the template renders a key of a message."""
    turn = {"role": "assistant", "content": "b", key: _PROBE}
    return _trait(f"key {key}", tokenizer, [{**_USER, key: _PROBE}, turn])


def _keeps_think(tokenizer: Any) -> bool:
    """Whether the template renders `<think>` in the content of the last turn; those of DeepSeek-R1's kind cut it out."""
    return _trait("think", tokenizer, [_USER, {"role": "assistant", "content": _as_think(_PROBE, "b")}])


def _takes_argument_objects(tokenizer: Any) -> bool:
    """Whether the template renders the arguments of tool calls given as an object; DeepSeek-V3's takes JSON text only."""
    return _trait("arguments", tokenizer, [_USER, _PROBE_CALL])


def _takes_argument_text(tokenizer: Any) -> bool:
    return _trait("argument text", tokenizer, [_USER, _with_text_arguments(_PROBE_CALL)])


def _renders_results(tokenizer: Any) -> bool:
    """Whether the template renders what a tool returned."""
    call = _PROBE_CALL if _takes_argument_objects(tokenizer) else _with_text_arguments(_PROBE_CALL)
    result = {"role": "tool", "name": "f", "tool_call_id": "123456789", "content": _PROBE + "2"}
    return _trait("results", tokenizer, [_USER, call, result], probe=_PROBE + "2")


def _trait(name: str, tokenizer: Any, messages: list[Message], probe: str = _PROBE, **options: Any) -> bool:
    """Whether the template renders the probe that stands in these messages or options."""
    key = (name, str(tokenizer.chat_template))
    if key not in _TEMPLATE_TRAITS:
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False, **options)
        except Exception:  # a template raises what it likes for what it does not take
            text = ""
        _TEMPLATE_TRAITS[key] = probe in text
    return _TEMPLATE_TRAITS[key]


def _for_template(tokenizer: Any, messages: list[Message]) -> list[Message]:
    """The messages with text, reasoning and calls in the form that the tokenizer's template renders."""
    if not _renders_text(tokenizer) and _trait("parts", tokenizer, in_parts([{**_USER, "content": _PROBE}])):
        messages = in_parts(messages)
    if all(message.keys() == {"role", "content"} and message["role"] != "tool" for message in messages):
        return messages
    if any(message["role"] == "tool" for message in messages) and not _renders_results(tokenizer):
        raise _not_rendered("the results of tools", messages)
    return [_with_calls(tokenizer, _with_reasoning(tokenizer, message)) for message in messages]


def _with_reasoning(tokenizer: Any, message: Message) -> Message:
    """Reasoning under the names that templates read; where they render none, as `<think>` in front of the content."""
    reasoning = message.get("reasoning_content")
    if reasoning is None:
        return message
    if renders_reasoning(tokenizer):
        return {**message, **dict.fromkeys(_REASONING_KEYS, reasoning)}
    rest = {key: value for key, value in message.items() if key != "reasoning_content"}
    content = message["content"]
    return rest if reasoning in content else {**rest, "content": _as_think(reasoning, content)}


def _as_think(reasoning: str, content: str) -> str:
    return f"<think>\n{reasoning}\n</think>\n\n{content}"


def _with_calls(tokenizer: Any, message: Message) -> Message:
    if "tool_calls" not in message or _takes_argument_objects(tokenizer):
        return message
    if _takes_argument_text(tokenizer):
        return _with_text_arguments(message)
    raise _not_rendered("tool calls", [message])


def _with_text_arguments(message: Message) -> Message:
    """The message with the arguments of its calls as JSON text."""
    calls = []
    for call in message["tool_calls"]:
        arguments = call["function"]["arguments"]
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        calls.append({**call, "function": {**call["function"], "arguments": text}})
    return {**message, "tool_calls": calls}


def _not_rendered(what: str, messages: list[Message]) -> DataError:
    return DataError(
        f"the chat template of the tokenizer renders nothing of {what}, which the data holds",
        given=str(messages)[:120],
        hint="use a model whose template knows tools; sft takes another template with chat_template_path=FILE.jinja",
    )


def _no_template(messages: Any) -> DataError:
    return DataError(
        "the data holds chat messages, but the model's tokenizer has no chat template",
        given=str(messages)[:120],
        hint="use a chat (instruct) model, or give prompts as plain text; columns.system=none leaves a system column out, "
        "columns.reasoning=none one of reasoning; data.row_schema=hh-rlhf-text keeps the dialogues of hh-rlhf as text",
    )
