"""A turn of the user behind a completion, in token ids: text that no policy wrote, after which the policy answers again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.policies.chat import end_of_turn, is_chat

_ANSWER = "rlllmanswer"


def following_turn(tokenizer: Any, text: str) -> list[int]:
    """Ids that stand behind the assistant's content: the end of its turn, a user turn of this text, the next turn's beginning.

    Without a chat template: the text on lines of its own.

    Raises:
        ConfigError: the chat template does not write a user turn behind an assistant's.
    """
    if not is_chat(tokenizer):
        return tokenizer(f"\n{text}\n", add_special_tokens=False)["input_ids"]
    turns = [
        {"role": "user", "content": "a question"},
        {"role": "assistant", "content": _ANSWER},
        {"role": "user", "content": text},
    ]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    behind = rendered.rpartition(_ANSWER)[2]
    if text not in behind:
        raise ConfigError(
            "the chat template does not write a turn of the user behind one of the assistant",
            given=f"{text[:60]!r} is not in {behind[:80]!r}",
            hint="a model whose template renders several turns",
        )
    return tokenizer(behind, add_special_tokens=False)["input_ids"]


def behind_completion(
    tokenizer: Any, completion: Sequence[int], following: Sequence[int], stops: Collection[int]
) -> list[int]:
    """`following` as it stands behind this completion: without an end of turn that the completion has written itself.

    Args:
        stops: tokens that end a completion.
    """
    own_end = bool(completion) and completion[-1] in stops
    begins_with_end = bool(following) and following[0] == end_of_turn(tokenizer)
    return list(following[1:] if own_end and begins_with_end else following)
