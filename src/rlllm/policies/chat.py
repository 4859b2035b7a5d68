"""The chat format of prompts and completions, the same for training, evaluation and rewards.

A tokenizer with a chat template gets messages (a plain prompt becomes one user turn); a tokenizer without one gets plain text.
The tokenizer's own template renders messages, so training and generation use the same text, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.records import Message, Prompt


def is_chat(tokenizer: Any) -> bool:
    return bool(tokenizer.chat_template)


def as_prompt(tokenizer: Any, prompt: Prompt) -> Prompt:
    """The prompt in the form this tokenizer takes: messages if it has a chat template, else text."""
    if is_chat(tokenizer):
        return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if isinstance(prompt, str):
        return prompt
    raise DataError(
        "the data holds chat messages, but the model's tokenizer has no chat template",
        given=str(prompt)[:120],
        hint="use a chat (instruct) model, or give prompts as plain text",
    )


def as_completion(tokenizer: Any, completion: str) -> str | list[Message]:
    """The completion in the form TRL pairs with `as_prompt`."""
    return [{"role": "assistant", "content": completion}] if is_chat(tokenizer) else completion


def completion_text(completion: str | list[Message]) -> str:
    """The text of a completion as TRL hands it to rewards: a string, or messages."""
    if isinstance(completion, str):
        return completion
    return "".join(message.get("content") or "" for message in completion)


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


def encode_prompts(tokenizer: Any, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Token ids of each prompt, generation prompt included."""
    if is_chat(tokenizer):
        conversations = [as_prompt(tokenizer, prompt) for prompt in prompts]
        return tokenizer.apply_chat_template(
            conversations, add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"]
    return tokenizer([as_prompt(tokenizer, prompt) for prompt in prompts])["input_ids"]
