"""Prompts with images: what a vision-language model's processor makes of them.

A tokenizer carries the processor that it belongs to, since whatever renders a prompt has the tokenizer. The processor repeats
the token that stands for an image as often as the image has tokens, and gives the pixels in the form that the model takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlllm.core.errors import DataError
from rlllm.core.images import open_image
from rlllm.core.records import Message, images_of
from rlllm.policies.padding import padded

_PROCESSOR = "rlllm_processor"
_OF_TEXT = frozenset({"input_ids", "attention_mask"})


class PromptWithImages(list[int]):
    """Token ids of a prompt, the tokens of its images included, and the messages that they were made of.

    Args:
        ids: token ids.
        messages: as the chat template takes them, with references of images; some prompts of a batch may have none.
        arguments: of the chat template, such as tools.
    """

    def __init__(self, ids: Sequence[int], messages: Sequence[Message], arguments: Mapping[str, Any]) -> None:
        super().__init__(ids)
        self.messages = list(messages)
        self.arguments = dict(arguments)


def with_processor(tokenizer: Any, processor: Any) -> Any:
    """The tokenizer, from now on with its processor."""
    setattr(tokenizer, _PROCESSOR, processor)
    return tokenizer


def processor_of(tokenizer: Any) -> Any:
    """The processor that reads images for a tokenizer; None for that of a model that reads text only."""
    return getattr(tokenizer, _PROCESSOR, None)


def in_parts(messages: Sequence[Message]) -> list[Message]:
    """The messages with every content as a list of parts, as templates of vision-language models take them."""
    return [
        {**message, "content": [{"type": "text", "text": message["content"]}]}
        if isinstance(message.get("content"), str)
        else message
        for message in messages
    ]


def opened(messages: Sequence[Message]) -> list[Message]:
    """The messages with images in the place of references, as TRL's trainers take them.

    Raises:
        DataError: a file is missing, or is no image.
    """
    return [
        message
        if isinstance(message["content"], str)
        else {
            **message,
            "content": [
                {**part, "image": open_image(part["image"])} if part["type"] == "image" else part
                for part in message["content"]
            ],
        }
        for message in messages
    ]


def encode_with_images(tokenizer: Any, messages: Sequence[Message], arguments: Mapping[str, Any]) -> PromptWithImages:
    """The token ids of a prompt, as TRL's trainers make them.

    Args:
        tokenizer: with a processor.
        messages: with references of images.
        arguments: of the chat template.

    Raises:
        DataError: a file is missing, or is no image; or the tokenizer is of a model that reads text only.
    """
    if processor_of(tokenizer) is None:
        raise DataError(
            "a prompt has images, and the model that is to read it reads text only",
            given=str(getattr(tokenizer, "name_or_path", "")),
            hint="a vision-language model; or --columns images=none",
        )
    ids = _processed(tokenizer, [messages], arguments)["input_ids"][0]
    return PromptWithImages(ids, messages, arguments)


def image_tokens(tokenizer: Any, reference: str) -> int | None:
    """How many tokens of a prompt an image takes; None for a processor that does not say which token stands for one.

    Args:
        tokenizer: with a processor.
    """
    token = getattr(processor_of(tokenizer), "image_token_id", None)
    if token is None:
        return None
    asked: list[Message] = [{"role": "user", "content": [{"type": "image", "image": reference}]}]
    return encode_with_images(tokenizer, asked, {}).count(token)


def image_inputs(tokenizer: Any, prompts: Sequence[Sequence[int] | None], device: Any) -> dict[str, Any]:
    """What a model takes beside token ids for these prompts; nothing where none of them has an image.

    Values for each token are padded on the left, as the tokens of prompts are.

    Args:
        prompts: of one batch, as `chat.encode_prompts` gives them; None for one without images.
    """
    import numpy as np
    import torch

    seen = [prompt for prompt in prompts if isinstance(prompt, PromptWithImages)]
    if not any(images_of(prompt.messages) for prompt in seen):
        return {}
    made = _processed(tokenizer, [prompt.messages for prompt in seen], seen[0].arguments)
    inputs = {}
    for name, value in made.items():
        if name in _OF_TEXT:
            continue
        if _is_per_token(name):
            value, _ = padded(value, 0, left=True)
        inputs[name] = torch.as_tensor(value if isinstance(value, torch.Tensor) else np.array(value)).to(device)
    return inputs


def following_image_inputs(tokenizer: Any, prompts: Sequence[Sequence[int] | None], ids: Any) -> dict[str, Any]:
    """`image_inputs` of rows that begin with these prompts and are padded on the right.

    Args:
        ids: (B, W) token ids of the rows.
    """
    import torch

    inputs = image_inputs(tokenizer, prompts, ids.device)
    for name in filter(_is_per_token, list(inputs)):
        whole = torch.zeros_like(ids)
        values = iter(inputs[name])
        for row, prompt in enumerate(prompts):
            if isinstance(prompt, PromptWithImages):
                whole[row, : len(prompt)] = next(values)[-len(prompt) :]
        inputs[name] = whole
    return inputs


def with_text_behind(
    fields: Mapping[str, Any], prompts: Sequence[Sequence[int]], longer: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """A processor's fields of these prompts, for the same prompts with text behind them: 0 for each of its tokens.

    Args:
        fields: as `apply_chat_template` gives them, lists of numbers where there is one for each token.
        longer: the token ids of prompts and text.
    """
    added = [len(whole) - len(prompt) for prompt, whole in zip(prompts, longer, strict=True)]
    return {
        name: [[*row, *[0] * count] for row, count in zip(value, added, strict=True)] if _is_per_token(name) else value
        for name, value in fields.items()
    }


def _is_per_token(name: str) -> bool:
    return name.endswith("token_type_ids")


def _processed(tokenizer: Any, conversations: Sequence[Sequence[Message]], arguments: Mapping[str, Any]) -> Any:
    """The processor's output for a batch: lists for texts, tensors or arrays for images."""
    return processor_of(tokenizer).apply_chat_template(
        [opened(in_parts(messages)) for messages in conversations],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        **arguments,
    )


def image_token(model: Any) -> int | None:
    """The token that stands for an image, which a model must not write: the features of the image would not match."""
    return getattr(model.config, "image_token_id", None)
