"""The engine `vllm`: vLLM in this process, on the device that trains. Weights reach it as they reach a server, by a folder."""

from __future__ import annotations

import atexit
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from rlllm.core.errors import EngineError, describe
from rlllm.rollouts.config import EngineSettings, SamplingConfig
from rlllm.rollouts.engines.base import Engine
from rlllm.rollouts.engines.served.sync import Copy, WeightSync, number_format
from rlllm.rollouts.engines.served.weights import checkpoint_weights, write_weights

_OPEN: dict[tuple[int, str], tuple[VLLMCopy, WeightSync]] = {}
"""The copy of this process: an engine is made for each rollout, and vLLM takes a minute to start."""


class VLLMCopy(Copy):
    """A vLLM of this process.

    Args:
        folder: model and tokenizer to start with.
        settings: the share of the device's memory it may take, and its limits.
        dtype: number format it computes in, such as `float32`; by itself vLLM halves a model in float32.
    """

    name = "vLLM in this process"

    def __init__(self, folder: Path, settings: EngineSettings, dtype: str) -> None:
        from vllm import LLM

        serving = settings.serving
        self._llm = LLM(
            model=str(folder),
            dtype=dtype,
            gpu_memory_utilization=serving.memory,
            max_model_len=serving.max_length,
            enforce_eager=serving.eager,
            trust_remote_code=False,
            logprobs_mode="processed_logprobs",
            seed=int(os.environ.get("RANK", "0")),
        )
        config = self._llm.llm_engine.model_config
        self.format = str(config.dtype).removeprefix("torch.")
        self.window = int(config.max_model_len)

    def close(self) -> None:
        """End the processes that vLLM started."""
        self._llm.llm_engine.engine_core.shutdown()

    def load(self, folder: Path, version: str) -> None:
        try:
            self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
            self._llm.reset_prefix_cache()
        except Exception as error:
            raise EngineError(
                f"{self.name}: it did not read the weights: {describe(error)[:300]}", given=folder
            ) from error

    def score(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        from vllm import SamplingParams

        outputs = self._generated(rows, [SamplingParams(max_tokens=1, temperature=1.0, prompt_logprobs=0)] * len(rows))
        return [
            [float(known[token].logprob) for token, known in zip(row[1:], output.prompt_logprobs[1:], strict=True)]
            for row, output in zip(rows, outputs, strict=True)
        ]

    def write(self, rows: Sequence[Sequence[int]], tokens: int) -> list[tuple[list[int], list[float]]]:
        from vllm import SamplingParams

        wanted = SamplingParams(max_tokens=tokens, temperature=1.0, logprobs=0, ignore_eos=True)
        return [_written(output) for output in self._generated(rows, [wanted] * len(rows))]

    def checksums(self) -> Mapping[str, str] | None:
        """Those of all workers, each under its own prefix; None where this vLLM has none."""
        try:
            parts = self._llm.collective_rpc("compute_weight_checksums")
        except Exception:  # an older vLLM: the log-probabilities are proof enough
            return None
        return {name: digest for part in parts for name, digest in part.items()}

    def complete(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig, stops: set[int], seeds: Sequence[int | None]
    ) -> list[tuple[list[int], list[float]]]:
        """One completion of each prompt, in order, with the log-probabilities that its tokens were drawn with."""
        from vllm import SamplingParams

        wanted = [
            SamplingParams(
                max_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k or -1,
                logprobs=0,
                stop_token_ids=sorted(stops),
                seed=seed,
                detokenize=False,
            )
            for seed in seeds
        ]
        return [_written(output) for output in self._generated(prompts, wanted)]

    def _generated(self, rows: Sequence[Sequence[int]], wanted: Sequence[Any]) -> list[Any]:
        prompts = [{"prompt_token_ids": list(row)} for row in rows]
        return list(self._llm.generate(prompts, list(wanted), use_tqdm=False))


def _close_all() -> None:
    """Before the interpreter ends, which would wait for vLLM's processes, as these wait for work."""
    for copy, sync in _OPEN.values():
        copy.close()
        sync.close()
    _OPEN.clear()


def _written(output: Any) -> tuple[list[int], list[float]]:
    completion = output.outputs[0]
    ids = list(completion.token_ids)
    return ids, [float(known[token].logprob) for token, known in zip(ids, completion.logprobs, strict=True)]


class VLLMEngine(Engine):
    """Sample completions with vLLM in this process. Every process of a run has one of its own, on its own device."""

    reports_logps = True

    def __init__(self, model: Any, tokenizer: Any, settings: EngineSettings | None = None) -> None:
        super().__init__(model, tokenizer)
        self._settings = settings or EngineSettings()

    def sync(self) -> None:
        """Start vLLM where that has not been done, bring the weights over, and prove that they arrived."""
        copy, sync = self._opened()
        sync.bring(self.model, [copy])
        self.metrics = dict(sync.metrics)

    def _opened(self) -> tuple[VLLMCopy, WeightSync]:
        key = (os.getpid(), self._settings.serving.model_dump_json())
        if key not in _OPEN:
            folder = Path(mkdtemp(prefix="rlllm-vllm-")) / "model"
            if not _OPEN:
                atexit.register(_close_all)
            write_weights(self.model, checkpoint_weights(self.model), folder)
            self.tokenizer.save_pretrained(folder)
            dtype = str(number_format(self.model)).removeprefix("torch.")
            copy = VLLMCopy(folder, self._settings, "float32" if dtype == "float64" else dtype)
            shutil.rmtree(folder.parent)
            _OPEN[key] = copy, WeightSync(self.tokenizer, self._settings.serving)
        return _OPEN[key]

    def generate(self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig) -> list[list[int]]:
        """Completions; sets `logps`. Seeds come from the global torch generator.

        Raises:
            EngineError: a prompt with its completion is longer than vLLM was started for, or the weights did not arrive.
        """
        if not prompts:
            return []
        self.sync()
        copy, _ = self._opened()
        longest = max(map(len, prompts)) + sampling.max_new_tokens
        if longest > copy.window:
            raise EngineError(
                f"vLLM was started for {copy.window} tokens of prompt and completion, and {longest} are needed",
                given=f"rollout.max_new_tokens={sampling.max_new_tokens}",
                hint=f"rollout.serving.max_length={longest}, or lower rollout.max_new_tokens",
            )
        seeds: Sequence[int | None] = [None] * len(prompts)
        if self._settings.serving.seeded:
            seeds = self.seeds or torch.randint(2**31, (len(prompts),)).tolist()
        written = copy.complete(prompts, sampling, self.stop_ids(), seeds)
        self.logps = [logps for _, logps in written]
        return [ids for ids, _ in written]
