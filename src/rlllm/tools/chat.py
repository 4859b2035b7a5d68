"""Chat with one or several models: conversations, replies that are streamed as text, and the rewards of each reply.

The chat rule is that of training and evaluation: a model with a chat template gets messages, a model without one continues the
text so far. A conversation that is longer than the model's context is refused; nothing is cut off. The command line prints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Message, Prompt, Sample
from rlllm.policies.chat import encode_prompts, is_chat
from rlllm.policies.loading import context_length
from rlllm.policies.model_sources import resolve_model
from rlllm.policies.vision import image_inputs, processor_of
from rlllm.rewards.composition import Composition, build
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.config import SamplingConfig
from rlllm.training.reward_specs import named_models

TextCallback = Callable[[str], None]
"""Called with each piece of a reply as soon as it can be read."""
_Ending = Literal["end", "length", "interrupted"]
_CUT_CHARACTER = "\ufffd"


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a model, and its rewards."""

    model: str
    text: str
    tokens: int
    ending: _Ending
    """`end`: by itself; `length`: at the limit or the end of the window; `interrupted`: by Ctrl-C."""
    rewards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Reward name -> its `value`, `parsed` answer and `note`; empty for an interrupted reply."""


class Dialogue:
    """The conversation of one model. It holds this model's replies only, not those of other models in the chat.

    Args:
        name: the model's name in replies and messages.
        model: a causal language model.
        tokenizer: its tokenizer.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name, self.model, self.tokenizer = name, model, tokenizer
        self.messages: list[Message] = []

    @property
    def chats(self) -> bool:
        """Whether the model takes messages; else it continues text."""
        return is_chat(self.tokenizer)

    def reset(self, system: str | None = None) -> None:
        """Forget everything, and begin with a system message if there is one.

        Raises:
            ConfigError: a system message for a model without a chat template.
        """
        if system and not self.chats:
            raise ConfigError(
                "a model without a chat template takes no system message", given=self.name, hint="put it into the text"
            )
        self.messages = [{"role": "system", "content": system}] if system else []

    def prompt_for(self, text: str, images: Sequence[str] = ()) -> Prompt:
        """The prompt for the reply to `text`: all messages, or the text so far with `text` on a line of its own.

        Args:
            images: references of images before the text.

        Raises:
            ConfigError: images for a model that reads text only.
        """
        if images and processor_of(self.tokenizer) is None:
            raise ConfigError(
                "the model reads text only", given=f"{self.name}, an image", hint="name a vision-language model"
            )
        if self.chats:
            return [*self.messages, _question(text, images)]
        text_so_far = "".join(turn["content"] + "\n" * (turn["role"] == "assistant") for turn in self.messages)
        return text_so_far + text

    def reply(
        self, text: str, sampling: SamplingConfig, seed: int, on_text: TextCallback, images: Sequence[str] = ()
    ) -> Reply:
        """The model's reply to `text`. Both become part of the conversation.

        A KeyboardInterrupt ends the reply and is not passed on; the text until then is kept.

        Raises:
            DataError: the conversation fills the model's window.
        """
        ids = encode_prompts(self.tokenizer, [self.prompt_for(text, images)])[0]
        streamer = Streamer(self.tokenizer, on_text)
        ending = self._generate(ids, sampling, seed, streamer)
        reply_text = streamer.text()
        self.messages += [_question(text, images), {"role": "assistant", "content": reply_text}]
        return Reply(self.name, reply_text, len(streamer.ids), ending)

    def _generate(self, ids: list[int], sampling: SamplingConfig, seed: int, streamer: Streamer) -> _Ending:
        import torch

        from rlllm.policies.rope import outgrows_cache
        from rlllm.rollouts.engines.hf import HFEngine

        stops = HFEngine(self.model, self.tokenizer).stop_ids()
        sampling_args: dict[str, Any] = {"do_sample": False}
        if sampling.temperature:
            sampling_args = {"do_sample": True, **sampling.model_dump(include={"temperature", "top_p", "top_k"})}
        prompt = torch.tensor([ids], device=self.model.device)
        torch.manual_seed(seed)
        longest = min(sampling.max_new_tokens, self._free_context(len(ids)))
        try:
            self.model.eval().generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                **image_inputs(self.tokenizer, [ids], prompt.device),
                max_new_tokens=longest,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=sorted(stops),
                streamer=streamer,
                use_cache=not outgrows_cache(self.model, len(ids) + longest),
                **sampling_args,
            )
        except KeyboardInterrupt:
            return "interrupted"
        return "end" if streamer.ids and streamer.ids[-1] in stops else "length"

    def _free_context(self, length: int) -> int:
        """Tokens of the model's context that are left after a prompt of `length` tokens."""
        window = context_length(self.model)
        if window is None:
            return sys.maxsize
        if length >= window:
            raise DataError(
                f"the conversation has {length:,} tokens, and {self.name} reads {window:,}",
                hint="/reset begins anew" if self.messages else "ask with fewer words",
            )
        return int(window) - length


# TextStreamer of transformers holds text back until the next space, so a line without spaces (an equation, code, Thai, Japanese
# kana) appears only when it is complete, and after an interruption the text that it held back and the token ids are lost.
class Streamer:
    """The `streamer` of transformers' `generate`: turns tokens into text, and passes on each piece once it is complete.

    A token may hold a part of a character, so text is passed on only up to the last whole one. Each time only the tokens
    since the last two pieces are decoded, because a tokenizer may treat the first token of a text differently.

    Args:
        tokenizer: decodes the tokens.
        on_text: called with each new piece of text.

    Attributes:
        ids: the tokens so far, without the prompt's.
    """

    def __init__(self, tokenizer: Any, on_text: TextCallback) -> None:
        self.tokenizer, self.on_text = tokenizer, on_text
        self.ids: list[int] = []
        self._has_prompt = False
        self._context_start, self._shown_end = 0, 0

    def put(self, value: Any) -> None:
        """Take a tensor of token ids: the prompt's first, then one token at a time."""
        if not self._has_prompt:
            self._has_prompt = True
            return
        self.ids += value.reshape(-1).tolist()
        before = self._decoded(self.ids[self._context_start : self._shown_end])
        now = self._decoded(self.ids[self._context_start :])
        if len(now) > len(before) and not now.endswith(_CUT_CHARACTER):
            self._context_start, self._shown_end = self._shown_end, len(self.ids)
            self.on_text(now[len(before) :])

    def end(self) -> None:
        """Pass on the rest of the text at the end of a reply, also where it ends in a part of a character."""
        rest = self._decoded(self.ids[self._context_start :])[
            len(self._decoded(self.ids[self._context_start : self._shown_end])) :
        ]
        if rest:
            self.on_text(rest)

    def text(self) -> str:
        """All of the reply."""
        return self._decoded(self.ids)

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


@dataclass
class Chat:
    """One model, or several models that get the same questions.

    Args:
        dialogues: one for each model, with different names.
        sampling: how replies are sampled; may be replaced between two questions.
        rewards: score each reply; None for no scores.
        seed: every model samples its reply to the n-th question with the seed `seed + n`.
        system: the system message every conversation begins with.
        answer: the reference answer that rewards compare with.
        images: references of the images before the next question.
    """

    dialogues: list[Dialogue]
    sampling: SamplingConfig
    rewards: Composition | None = None
    seed: int = 0
    system: str | None = None
    answer: str | None = None
    images: list[str] = field(default_factory=list)
    questions: int = 0

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin every conversation anew. Raises ConfigError where a model cannot take the system message."""
        for dialogue in self.dialogues:
            dialogue.reset(self.system)

    def set_system(self, system: str | None) -> None:
        """Set the system message and begin anew. Raises ConfigError, and changes nothing, where a model cannot take it."""
        before, self.system = self.system, system
        try:
            self.reset()
        except ConfigError:
            self.system = before
            raise

    def replies(self, text: str, stream_to: Callable[[str], TextCallback] = lambda name: _ignore) -> Iterator[Reply]:
        """The reply of each model in turn, scored. Ctrl-C ends a reply, and the models after it give none.

        Args:
            text: the question.
            stream_to: called with a model's name when its reply begins; returns the callback for the pieces of its text.

        Raises:
            DataError: the conversation fills a model's window.
            RewardError: a reward fails.
        """
        self.questions += 1
        images, self.images = self.images, []
        for dialogue in self.dialogues:
            prompt = dialogue.prompt_for(text, images)
            reply = dialogue.reply(text, self.sampling, self.seed + self.questions, stream_to(dialogue.name), images)
            yield self._scored(prompt, reply)
            if reply.ending == "interrupted":
                return

    def _scored(self, prompt: Prompt, reply: Reply) -> Reply:
        if self.rewards is None or reply.ending == "interrupted":
            return reply
        truncated = reply.ending == "length"
        sample = Sample(prompt, reply.text, self.answer, {}, reply.tokens, truncated)
        rewards = self.rewards.score([sample]).describe(0)
        return replace(reply, rewards=rewards)

    def save(self, path: Path) -> None:
        """Write every conversation as one JSON line: `model` and `messages`, which `rlllm data show` reads.

        Raises:
            ConfigError: the file exists or cannot be written.
        """
        rows = [{"model": dialogue.name, "messages": dialogue.messages} for dialogue in self.dialogues]
        write_new(path, rows, "the conversation")


def _question(text: str, images: Sequence[str]) -> Message:
    """The message of the user with these images before the text."""
    if not images:
        return {"role": "user", "content": text}
    parts = [{"type": "image", "image": image} for image in images]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def write_new(path: Path, rows: Sequence[Mapping[str, Any]], what: str) -> None:
    """Write rows as JSON lines into a file that does not exist yet.

    Args:
        what: the rows, for messages.

    Raises:
        ConfigError: the file exists or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except FileExistsError as error:
        raise ConfigError("the file exists already", given=path, hint="name another file") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what} cannot be saved: {error}", given=path) from error


def open_chat(
    models: Sequence[str],
    sampling: SamplingConfig,
    *,
    rewards: Sequence[RewardSpec] = (),
    seed: int = 0,
    system: str | None = None,
    answer: str | None = None,
) -> Chat:
    """Load models and rewards for a chat. Names and rewards are checked before anything is loaded.

    Raises:
        RlllmError: a model or reward that does not exist or does not load, or a system message for a model that takes none.
    """
    sources = [resolve_model(reference) for reference in models]
    composition = build(named_models(rewards), monitored_only=True) if rewards else None
    from rlllm.launch import local
    from rlllm.policies.loading import load_policy, load_tokenizer

    hardware = local.prepare()
    names = _unique([source.name for source in sources])
    dialogues = [
        Dialogue(name, load_policy(source, bf16=hardware.bf16).to(hardware.device), load_tokenizer(source))
        for name, source in zip(names, sources, strict=True)
    ]
    return Chat(dialogues, sampling, composition, seed, system, answer)


def _unique(names: Sequence[str]) -> list[str]:
    return [name if name not in names[:place] else f"{name} {place + 1}" for place, name in enumerate(names)]


def _ignore(_: str) -> None:
    return
