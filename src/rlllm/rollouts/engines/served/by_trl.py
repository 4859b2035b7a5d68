"""The proof for TRL's own use of vLLM (`rollout.engine=hf use_vllm=true`), which brings weights over in its own way.

TRL's generation gives completions and their log-probabilities, and nothing else, in each of its arrangements: a server, a copy
in each process, one over several GPUs, one that sleeps. So the copy writes by that path, and the policy scores what it wrote.
Every process takes part, since the policy's weights may be spread over all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rlllm.core.errors import WeightSyncError
from rlllm.policies.sharded_weights import spread_again
from rlllm.rollouts.config import ServingConfig
from rlllm.rollouts.engines.served.proof import TOLERANCES, Finding, Scores, judge, scores_by
from rlllm.rollouts.engines.served.sync import TRIAL_SEED, has_adapters, number_format, probes, without_adapters
from rlllm.rollouts.engines.served.weights import shifted

_IGNORED = "it computes with the base model, and ignores the adapter"
_WRITTEN = 16
"""Tokens that the copy writes after each row."""
_PLAIN: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "structured_outputs_regex": None,
    "max_completion_length": _WRITTEN,
    "logprobs": 0,
    "generation_kwargs": {"ignore_eos": True},
}
"""Attributes of TRL's generation while the copy is asked: it draws from the policy's own distribution, to a fixed length."""


class TRLSyncProof:
    """Follows each of TRL's syncs with a look at what the copy writes; before the first one there is a trial.

    Args:
        tokenizer: of the policy.
        config: its `tolerance` and `trial`.
    """

    def __init__(self, tokenizer: Any, config: ServingConfig) -> None:
        self._tokenizer = tokenizer
        self._config = config
        self._tried = not config.trial
        self._count = 0
        self.metrics: dict[str, float] = {}
        """Of the last sync: `sync/seconds`, `sync/max_abs_dlogp`, `sync/mean_abs_dlogp`."""

    def bring(self, generation: Any, stock: Callable[[], None]) -> None:
        """Sync as TRL does, and prove that the weights arrived.

        Args:
            generation: TRL's `VLLMGeneration`.
            stock: its own `sync_weights`.

        Raises:
            WeightSyncError: the copy did not take them; every process raises it.
        """
        started = time.monotonic()
        if not self._tried:
            with shifted(generation.model, TRIAL_SEED):
                _sync(generation, stock)
                self._prove(generation, "in the trial before the first step")
            self._tried = True
        _sync(generation, stock)
        self._prove(generation, f"in sync {self._count}")
        if getattr(generation, "_llm_weights_sleeping", False):
            _sync(generation, stock)  # a copy that sleeps between rollouts threw its weights away after it wrote
        self._count += 1
        self.metrics["sync/seconds"] = time.monotonic() - started

    def _prove(self, generation: Any, when: str) -> None:
        model = generation.model
        tolerance = self._config.tolerance or TOLERANCES[number_format(model)]
        rows = self._rows(generation)
        with _asked_plainly(generation):
            _, written, reported, _ = generation.generate(prompts=rows, images=None, num_generations=1)
        said = [math.nan if token[0] is None else token[0] for completion in reported for token in completion]
        own = Scores(_written_by(model, rows, written), torch.tensor(said, dtype=torch.float64))
        scores = _of_all_processes(generation.accelerator, own)
        self.metrics["sync/max_abs_dlogp"] = float(scores.distance.max())
        self.metrics["sync/mean_abs_dlogp"] = float(scores.distance.mean())
        finding = judge(scores, None, tolerance)
        if finding is not None:
            ignored = has_adapters(model) and _ignores_adapter(
                model, rows, written, own, min(tolerance, finding.mean / 4)
            )
            raise WeightSyncError(
                f"vLLM, as TRL uses it, does not sample with the policy's weights, {when}: {finding.describe()}",
                given=f"likely cause: {_IGNORED if ignored else _cause(generation, finding)}",
                hint="rollout.engine=vllm-server or vllm bring weights over in another way; if it is rounding alone, "
                f"rollout.serving.tolerance={max(2 * finding.mean, 1e-4):.1g}",
            )

    def _rows(self, generation: Any) -> list[list[int]]:
        rows, long = probes(generation.model, self._tokenizer)
        room = getattr(generation, "max_model_length", None) or max(map(len, long)) + _WRITTEN
        return [row[: max(room - _WRITTEN, 1)] for row in (*rows[::2], *long)]


def _sync(generation: Any, stock: Callable[[], None]) -> None:
    """TRL's own, which expects the parts of weights that processes share, and not what a forward pass left gathered."""
    spread_again(generation.model)
    stock()


@contextmanager
def _asked_plainly(generation: Any) -> Iterator[None]:
    before = {name: getattr(generation, name) for name in _PLAIN}
    for name, value in _PLAIN.items():
        setattr(generation, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(generation, name, value)


def _written_by(model: Any, rows: Sequence[list[int]], written: Sequence[list[int]]) -> Tensor:
    """Log-probabilities by the model of all tokens that were written."""
    parts = [scores_by(model, [[*row, *ids]])[-len(ids) :] for row, ids in zip(rows, written, strict=True)]
    return torch.cat(parts)


def _of_all_processes(accelerator: Any, own: Scores) -> Scores:
    """What all processes found: the copy of one of them may be the wrong one, and all have to stop."""
    policy, copy = (accelerator.gather(part.to(accelerator.device)).cpu() for part in (own.policy, own.copy))
    return Scores(policy, copy)


def _ignores_adapter(
    model: Any, rows: Sequence[list[int]], written: Sequence[list[int]], own: Scores, tolerance: float
) -> bool:
    with without_adapters(model):
        base = _written_by(model, rows, written)
    return float((own.copy - base).abs().mean()) < tolerance


def _cause(generation: Any, finding: Finding) -> str:
    own = str(number_format(generation.model)).removeprefix("torch.")
    llm = getattr(generation, "llm", None)
    theirs = own if llm is None else str(llm.llm_engine.model_config.dtype).removeprefix("torch.")
    if theirs != own and finding.mean < 1:
        return f"it computes in {theirs}, and the policy in {own}"
    return "the weights, or a part of them, did not arrive; or it has another model or number format"
