"""The engine `vllm-server`: completions by running vLLM servers, whose weights are brought over and proven at every step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from rlllm.core.errors import ConfigError, EngineError
from rlllm.core.processes import is_main
from rlllm.rollouts.config import EngineSettings, SamplingConfig
from rlllm.rollouts.engines.base import Engine
from rlllm.rollouts.engines.served.client import Group
from rlllm.rollouts.engines.served.fleet import Fleet

_FLEETS: dict[tuple[Any, ...], Fleet] = {}
"""Those of this process: an engine is made for each rollout, and what the servers have outlives it."""


class ServerEngine(Engine):
    """Sample completions with vLLM servers. Each knows which weights it has; they are brought over where these changed.

    Raises:
        ConfigError: no server is named.
    """

    reports_logps = True

    def __init__(self, model: Any, tokenizer: Any, settings: EngineSettings | None = None) -> None:
        super().__init__(model, tokenizer)
        settings = settings or EngineSettings()
        key = (os.getpid(), *settings.servers, settings.serving.model_dump_json())
        if key not in _FLEETS:
            _FLEETS[key] = Fleet(settings.servers, tokenizer, settings.serving)
        self._fleet = _FLEETS[key]

    def sync(self) -> None:
        """Of several processes the first brings the weights over, and the others use what it brought."""
        if is_main():
            self._fleet.bring(self.model)
        else:
            self._fleet.join()
        self.metrics = dict(self._fleet.sync.metrics)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig) -> list[list[int]]:
        """Completions; sets `logps` to the log-probabilities that the servers drew their tokens with.

        Equal prompts that stand side by side are asked for together. Without `seeds` they come from the global generator.

        Raises:
            ConfigError: a prompt with its completion is longer than a server takes, or a server's log-probabilities are not
                those it samples with.
            EngineError: no server is left, or one did not take the weights.
        """
        if not prompts:
            return []
        self.sync()
        self._check(prompts, sampling)
        groups = _groups(prompts, self._seeds(len(prompts)))
        ids: list[list[int]] = [[] for _ in prompts]
        logps: list[list[float]] = [[] for _ in prompts]
        for group, written in zip(groups, self._fleet.complete(groups, sampling, self.stop_ids()), strict=True):
            for place, (tokens, values) in zip(group.places, written, strict=True):
                ids[place], logps[place] = tokens, values
        self._check_ids(ids)
        self.logps = logps
        return ids

    def _seeds(self, count: int) -> Sequence[int | None]:
        """Of each completion; that of a group is its first one's."""
        if not self._fleet.config.seeded:
            return [None] * count
        return self.seeds or torch.randint(2**31, (count,)).tolist()

    def _check(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig) -> None:
        longest = max(map(len, prompts)) + sampling.max_new_tokens
        plain = sampling.temperature in (0.0, 1.0) and sampling.top_p == 1 and not sampling.top_k
        for server in self._fleet.alive:
            if server.window is not None and longest > server.window:
                raise ConfigError(
                    f"{server.name} takes {server.window} tokens of prompt and completion, and {longest} are needed",
                    given=f"rollout.max_new_tokens={sampling.max_new_tokens}",
                    hint=f"start it with --max-model-len {longest}, or lower rollout.max_new_tokens",
                )
            if not plain and server.logprobs_mode != "processed_logprobs":
                raise ConfigError(
                    f"{server.name} reports log-probabilities before temperature, top_p and top_k: not those it samples with",
                    given=f"--logprobs-mode {server.logprobs_mode}, temperature={sampling.temperature:g}",
                    hint="start it with --logprobs-mode processed_logprobs",
                )

    def _check_ids(self, completions: Sequence[Sequence[int]]) -> None:
        """Refuse tokens that the policy has no vector for, such as those of a padded vocabulary."""
        size = self.model.get_input_embeddings().weight.shape[0]
        largest = max(max(ids) for ids in completions)
        if largest >= size:
            raise EngineError(
                "a server wrote a token that the policy does not have",
                given=f"token {largest} of {size}",
                hint="serve the policy's own model",
            )


def _groups(prompts: Sequence[Sequence[int]], seeds: Sequence[int | None]) -> list[Group]:
    """Equal prompts side by side as one group."""
    starts = [place for place, prompt in enumerate(prompts) if place == 0 or list(prompt) != list(prompts[place - 1])]
    ends = [*starts[1:], len(prompts)]
    return [Group(prompts[start], range(start, end), seeds[start]) for start, end in zip(starts, ends, strict=True)]
