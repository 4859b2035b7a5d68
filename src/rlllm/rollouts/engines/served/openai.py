"""The engine `openai`: completions by an endpoint with OpenAI's interface, whose model stays as it is. For evaluations.

The endpoint is given text and gives text: prompts are decoded, with their template, and completions encoded by the tokenizer of
the model that the evaluation names. Only `/v1/completions` is asked: `/v1/chat/completions` puts its own template around.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from rlllm.core.errors import EngineError
from rlllm.network.transport import PassingError, Refusal, Server, in_parallel
from rlllm.rollouts.config import EngineSettings, SamplingConfig
from rlllm.rollouts.engines.base import Engine

_Job = tuple[str, str, int | None]
"""Address, prompt and seed of a completion."""


class OpenAIEngine(Engine):
    """Sample completions with one or several endpoints that serve the same model; `serving.model` is its name there."""

    def __init__(self, model: Any, tokenizer: Any, settings: EngineSettings | None = None) -> None:
        super().__init__(model, tokenizer)
        self._settings = settings or EngineSettings()
        self._addresses = [f"{url.rstrip('/').removesuffix('/v1')}/v1/completions" for url in self._settings.servers]

    def generate(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig) -> list[list[int]]:
        """Completions; seeds come from the global torch generator.

        Raises:
            EngineError: an endpoint gave no completion.
        """
        serving = self._settings.serving
        seeds: Sequence[int | None] = [None] * len(prompts)
        if serving.seeded:
            seeds = self.seeds or torch.randint(2**31, (len(prompts),)).tolist()
        texts = self.tokenizer.batch_decode([list(prompt) for prompt in prompts], skip_special_tokens=False)
        where = [self._addresses[place % len(self._addresses)] for place in range(len(prompts))]
        jobs = list(zip(where, texts, seeds, strict=True))

        async def ask(job: _Job) -> tuple[str, bool]:
            address, text, seed = job
            server = Server(address, serving.key_env, serving.timeout, serving.retries)
            reply = await server.ask(_body(text, seed, sampling, serving.model), _read)
            if isinstance(reply, Refusal):
                raise EngineError(
                    f"the endpoint gave no completion: {reply.reason}",
                    given=address,
                    hint="check the address, rollout.serving.model (sampling.serving.model) and its key",
                )
            return reply

        replies = in_parallel(ask, jobs, serving.parallel * len(self._addresses))
        return [self._encoded(text, ended, sampling.max_new_tokens) for text, ended in replies]

    def _encoded(self, text: str, ended: bool, most: int) -> list[int]:
        """A completion's tokens, with the end of turn that the endpoint took off; an empty text without an end is one."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])[:most]
        stop = self.tokenizer.eos_token_id if self.tokenizer.eos_token_id is not None else min(self.stop_ids())
        if not ids or (ended and len(ids) < most and ids[-1] not in self.stop_ids()):
            ids.append(stop)
        return ids


def _body(text: str, seed: int | None, sampling: SamplingConfig, model: str | None) -> dict[str, Any]:
    return {
        "prompt": text,
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        **({"model": model} if model else {}),
        **({"top_k": sampling.top_k} if sampling.top_k else {}),
        **({} if seed is None else {"seed": seed}),
    }


def _read(raw: bytes) -> tuple[str, bool]:
    """Text of a completion, and whether it ended by itself."""
    try:
        choice = json.loads(raw)["choices"][0]
        return str(choice["text"]), choice.get("finish_reason") == "stop"
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise PassingError(f"a reply that is no completion: {raw[:120]!r}") from error
