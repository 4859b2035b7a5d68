"""Sample completions for an evaluation, block by block, with the chat rule and the engines of training.

Problems are drawn in blocks, each from a random stream of its own that is seeded by the evaluation's seed and the prompts of
the block. An engine decodes many rows at once and draws them all from one generator, so a problem cannot have a stream to
itself without being decoded alone. A block is as many problems as fill one batch of the engine: it is decoded as a whole,
and what it gives depends on nothing outside of it. That is why blocks can be cached, and left out by a run that resumes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any, Protocol

from rlllm.core.records import Prompt, PromptTask, Sample, fingerprint, hashed_prompt, record_hash
from rlllm.evals.sample_cache import Block, BlockStores, Completion
from rlllm.rollouts.config import SamplingConfig
from rlllm.rollouts.engines.loading import open_engine
from rlllm.rollouts.samples import draw


class Rollouts(Protocol):
    """Answers in several turns, in the place of one completion of each prompt."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON values that name everything the turns depend on beside the model, the sampling and the tasks."""

    def draw(
        self, model: Any, tokenizer: Any, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int
    ) -> list[list[Sample]]:
        """`samples` rollouts of every task; the outer list follows `tasks`. Columns that a rollout adds to `meta` are JSON."""


def sample(
    model: Any, tokenizer: Any, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int, seed: int
) -> list[list[Sample]]:
    """`samples` completions of every task, drawn from one seeded stream; the outer list follows `tasks`."""
    import torch

    engine = open_engine(sampling.engine, model, tokenizer, sampling)
    torch.manual_seed(seed)
    return draw(engine, tokenizer, tasks, sampling, samples=samples)


def blocks(tasks: Sequence[PromptTask], sampling: SamplingConfig, samples: int) -> list[Sequence[PromptTask]]:
    """The tasks in their order, as many at a time as fill a batch of the engine; at least one."""
    size = max(1, sampling.batch_size // samples)
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


@dataclass
class CompletionSampler:
    """Draws the completions of one model, block by block, and never a block that is kept already.

    Args:
        policy: gives (causal model, tokenizer); called when a block has to be sampled.
        identity: hash of all of the model that shapes what it writes; None where that is not known, and nothing is kept.
        stores: where blocks are kept.
        progress: hears which block is next, and how many there are.
        rollouts: plays several turns; None draws one completion of each prompt.
    """

    policy: Callable[[], tuple[Any, Any]]
    identity: Callable[[], str | None] = lambda: None
    stores: BlockStores = field(default_factory=BlockStores)
    progress: Callable[[int, int], None] = lambda block, blocks: None
    rollouts: Rollouts | None = None

    def draw(
        self, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int, seed: int
    ) -> list[list[Sample]]:
        """`samples` completions of every task; the outer list follows `tasks`."""
        return [row for block in self.each_block(tasks, sampling, samples=samples, seed=seed) for row in block]

    def each_block(
        self, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int, seed: int
    ) -> Iterator[list[list[Sample]]]:
        """The same, as soon as each block is there. What was given is kept, whatever happens afterwards."""
        parts, seen = blocks(tasks, sampling, samples), Counter[str]()
        for number, part in enumerate(parts, 1):
            prompts = fingerprint([hashed_prompt(task.prompt) for task in part])
            stream = block_seed(seed, prompts, seen[prompts])
            seen[prompts] += 1
            self.progress(number, len(parts))
            block = self._block(part, sampling, samples, stream)
            yield [[_sample(task, completion) for completion in row] for task, row in zip(part, block, strict=True)]

    def _block(self, tasks: Sequence[PromptTask], sampling: SamplingConfig, samples: int, stream: int) -> Block:
        model = self._identity
        key = model and self._key(model, tasks, sampling, samples, stream)
        block = self.stores.get(key, (len(tasks), samples)) if key else None
        if block is None:
            rows = self._sampled(tasks, sampling, samples, stream)
            block = [[_completion(task, sampled) for sampled in row] for task, row in zip(tasks, rows, strict=True)]
            if key:
                self.stores.put(key, block)
        return block

    def _key(self, model: str, tasks: Sequence[PromptTask], sampling: SamplingConfig, samples: int, stream: int) -> str:
        key = block_key(model, [hashed_prompt(task.prompt) for task in tasks], sampling, samples=samples, stream=stream)
        if self.rollouts is None:
            return key
        # an environment reads the answer and the other columns as well
        return fingerprint([key, self.rollouts.identity, [record_hash(task) for task in tasks]])

    def _sampled(
        self, tasks: Sequence[PromptTask], sampling: SamplingConfig, samples: int, stream: int
    ) -> list[list[Sample]]:
        if self.rollouts is None:
            return sample(*self.policy(), tasks, sampling, samples=samples, seed=stream)
        import torch

        policy = self.policy()
        torch.manual_seed(stream)
        return self.rollouts.draw(*policy, tasks, sampling, samples=samples)

    @cached_property
    def _identity(self) -> str | None:
        return self.identity()


def block_seed(seed: int, prompts: str, occurrence: int) -> int:
    """Seed of a block's stream, below 2^63.

    Args:
        seed: of the evaluation.
        prompts: fingerprint of the block's prompts.
        occurrence: how many blocks with just these prompts came before, so that repeated ones differ.
    """
    digest = hashlib.sha256(f"{seed}\0{prompts}\0{occurrence}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def block_key(model: str, prompts: Sequence[Prompt], sampling: SamplingConfig, *, samples: int, stream: int) -> str:
    """SHA-256 of everything that the completions of a block depend on; answers and rewards are not among it.

    Greedy decoding does not depend on the seed. The versions of the libraries count, because they change the last bits
    of logits, and so now and then a token; and the engine's own. The size of a batch counts only where it cuts a problem.
    """
    described = {
        "model": model,
        "prompts": list(prompts),
        "sampling": sampling.model_dump(exclude={"batch_size", "servers", "serving"}),
        "samples": samples,
        "together": min(samples, sampling.batch_size),
        "stream": stream if sampling.temperature else None,
        "stops": "end of turn",  # blocks of before the template's end was one ran to the limit
        "text": "with call markers",  # earlier texts had none where these are special tokens
        "versions": [version(name) for name in ("rlllm", "torch", "transformers")],
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


def _completion(task: PromptTask, sampled: Sample) -> Completion:
    columns = {
        name: value for name, value in sampled.meta.items() if name not in task.meta or value is not task.meta[name]
    }
    return Completion(sampled.completion, sampled.tokens or 0, sampled.truncated, columns)


def _sample(task: PromptTask, completion: Completion) -> Sample:
    meta = {**task.meta, **completion.columns}
    return Sample(task.prompt, completion.text, task.answer, meta, completion.tokens, truncated=completion.truncated)
