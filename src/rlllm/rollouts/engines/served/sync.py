"""Weights brought to the copies of the policy that sample, with a proof that they arrived.

Before the first rollout there is a trial: noise is put on everything that trains, these weights are brought over, and the
copies have to follow. At the start of a run the copy has the policy's weights anyway, and a new adapter changes nothing:
without the trial, a sync that does nothing would be found steps later. Then the true weights are brought over and proven in
the same way, and again after each step.
"""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor

from rlllm.core.errors import EngineError, WeightSyncError, describe
from rlllm.policies.vision import image_token
from rlllm.rollouts.config import ServingConfig
from rlllm.rollouts.engines.served.proof import TOLERANCES, Finding, Scores, judge, probe_rows, scores_by
from rlllm.rollouts.engines.served.weights import checkpoint_weights, shifted, sums_of, version_of, write_weights

_ROWS, _LENGTH = 8, 33
"""Fixed rows that both sides score, and their tokens."""
_LONG_ROWS, _LONG, _WRITTEN = 2, 144, 8
"""Rows that the copies continue, long enough to fill a block of a server's cache, and how many tokens they write."""
_BY_DECODING = 10.0
"""What a copy says of tokens that it writes one by one may be so many times farther off than of a row that it reads at once."""
TRIAL_SEED = 20_260
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of nothing: a server that has repacked a weight has none to hash."""
_FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
"""vLLM's name of a matrix -> those of a checkpoint that it is made of."""
_TEXT = (
    "A train leaves at 9:40 and arrives at 11:05. How long does it take? From 9:40 to 11:00 it is 80 minutes, and 5 more make "
    "85. So the answer is 85 minutes, which is 1 hour and 25 minutes. Check: 40 + 85 = 125, and 125 - 120 = 5, at 11:05. "
)


class Copy(ABC):
    """A model beside the policy that samples for it."""

    name: str
    """For messages: a URL, or where it runs."""
    format: str = ""
    """Number format it computes in, such as `float32`; empty where it does not say."""

    @abstractmethod
    def load(self, folder: Path, version: str) -> None:
        """Take the weights of a checkpoint folder, forget what was computed with the old ones, and be known by this version.

        Raises:
            EngineError: it cannot.
        """

    @abstractmethod
    def score(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probabilities in nats of every token of a row after the first, at temperature 1."""

    @abstractmethod
    def write(self, rows: Sequence[Sequence[int]], tokens: int) -> list[tuple[list[int], list[float]]]:
        """A continuation of each row by so many tokens, sampled at temperature 1, and their log-probabilities as it says."""

    def checksums(self) -> Mapping[str, str] | None:
        """Name -> SHA-256 of each weight as the copy holds it; None where it does not tell."""
        return None


class WeightSync:
    """Brings a policy's weights to its copies, when they changed.

    Args:
        tokenizer: of the policy.
        config: tolerance, folder and what else is checked.
    """

    def __init__(self, tokenizer: Any, config: ServingConfig) -> None:
        self._tokenizer = tokenizer
        self._config = config
        self._sums: dict[str, str] = {}
        self._count = 0
        self._tried: set[str] = set()
        self._rows: list[list[int]] = []
        self._long: list[list[int]] = []
        self._before: dict[str, Scores] = {}
        self._digests: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {}
        self._proven: dict[str, str] = {}
        self._made: Path | None = None
        self.metrics: dict[str, float] = {}
        """Of the last sync: `sync/seconds`, `sync/max_abs_dlogp`, `sync/mean_abs_dlogp`, `sync/copies`."""

    @property
    def version(self) -> str:
        """The weights that were last brought over."""
        return version_of(self._sums)

    def bring(self, model: Any, copies: Sequence[Copy]) -> None:
        """Have the copies sample with the model's weights as they are now. Nothing is done where they do already.

        Raises:
            WeightSyncError: a copy did not take them; it names the copy, the difference and the likely cause.
            EngineError: a copy failed, or the weights cannot be written.
        """
        version = version_of(sums_of(checkpoint_weights(model)))
        if all(self._proven.get(copy.name) == version for copy in copies):
            return
        started = time.monotonic()
        self._prepare(model)
        untried = [copy for copy in copies if copy.name not in self._tried] if self._config.trial else []
        if untried:
            for copy in untried:
                self._before[copy.name] = self._scores(model, copy)
            with shifted(model, TRIAL_SEED):
                self._bring(model, untried, "in the trial before the first step")
            self._tried |= {copy.name for copy in untried}
        self._bring(
            model, [copy for copy in copies if self._proven.get(copy.name) != version], f"in sync {self._count}"
        )
        self.metrics["sync/seconds"] = time.monotonic() - started
        self.metrics["sync/copies"] = float(len(copies))

    def forget(self, copy: Copy) -> None:
        """Take nothing for granted of a copy that was away."""
        self._tried.discard(copy.name)
        for known in (self._proven, self._before, self._digests):
            known.pop(copy.name, None)

    def _prepare(self, model: Any) -> None:
        if self._rows:
            return
        self._rows, self._long = probes(model, self._tokenizer)

    def _bring(self, model: Any, copies: Sequence[Copy], when: str) -> None:
        weights = checkpoint_weights(model)
        sums = sums_of(weights)
        version = version_of(sums)
        folder = self._written(model, weights, version)
        for copy in copies:
            copy.load(folder, version)
        policy = scores_by(model, self._rows)
        worst = [self._prove(model, copy, Scores(policy, self._scored(copy)), sums, when) for copy in copies]
        self.metrics["sync/max_abs_dlogp"] = max(float(scores.distance.max()) for scores in worst)
        self.metrics["sync/mean_abs_dlogp"] = max(float(scores.distance.mean()) for scores in worst)
        self._sums = sums
        self._proven |= {copy.name: version for copy in copies}
        self._count += 1

    def _written(self, model: Any, weights: Mapping[str, Tensor], version: str) -> Path:
        """A folder with these weights. Of the folders before, one stays: a server may have mapped its files."""
        parent = self._config.folder
        if parent is None:
            self._made = self._made or Path(mkdtemp(prefix="rlllm-weights-"))
            parent = self._made
        folder = parent / f"{self._count:06d}-{version}"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            write_weights(model, weights, folder)
            for old in sorted(path for path in parent.iterdir() if path != folder)[:-1]:
                shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise EngineError(
                f"the weights for the servers cannot be written: {describe(error)}",
                given=str(parent),
                hint="rollout.serving.folder=PATH, a folder with room for two checkpoints that the servers see under this path",
            ) from error
        return folder.resolve()

    def close(self) -> None:
        """Remove the folder of weights, where this made it."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
            self._made = None

    # proof ------------------------------------------------------------------------------------------------------------
    def _scores(self, model: Any, copy: Copy) -> Scores:
        return Scores(scores_by(model, self._rows), self._scored(copy))

    def _scored(self, copy: Copy) -> Tensor:
        return torch.tensor([value for row in copy.score(self._rows) for value in row], dtype=torch.float64)

    def _prove(self, model: Any, copy: Copy, now: Scores, sums: Mapping[str, str], when: str) -> Scores:
        tolerance = self._config.tolerance or TOLERANCES[number_format(model)]
        finding = judge(now, self._before.get(copy.name), tolerance)
        if finding is not None:
            raise _error(copy, finding, self._cause(model, copy, finding, now, tolerance), when)
        self._check_written(
            model, copy, min(tolerance, max(_BY_DECODING * float(now.distance.mean()), tolerance / 50)), when
        )
        self._check_digests(copy, sums, when)
        self._before[copy.name] = now
        return now

    def _check_written(self, model: Any, copy: Copy, tolerance: float, when: str) -> None:
        """What a copy says of the tokens it writes is what the policy says of them: the path that rollouts take.

        Args:
            tolerance: of the mean difference; where the copy reads rows exactly, a small one finds a cache of one step before.
        """
        reported, expected = [], []
        for row, (ids, logps) in zip(self._long, copy.write(self._long, _WRITTEN), strict=True):
            reported += logps
            expected.append(scores_by(model, [[*row, *ids]])[-len(ids) :])
        written = Scores(torch.cat(expected), torch.tensor(reported, dtype=torch.float64))
        finding = judge(written, None, tolerance)
        if finding is not None:
            cause = (
                "fixed tokens are scored with the right weights, and what it writes is not: it continues from keys and values "
                "of the old weights (its prefix cache was not emptied), or its log-probabilities are not those it samples with"
            )
            raise _error(copy, finding, cause, when)

    def _check_digests(self, copy: Copy, sums: Mapping[str, str], when: str) -> None:
        """A weight that changed here has another checksum there, where the copy tells."""
        if self._config.checksum == "off" or (self._config.checksum == "first" and self._count > 1):
            return
        digests = copy.checksums()
        if digests is None:
            return
        if copy.name in self._digests:
            earlier_sums, earlier = self._digests[copy.name]
            kept = [
                name
                for name, digest in digests.items()
                if digest != _EMPTY and earlier.get(name) == digest and _changed(name, earlier_sums, sums)
            ]
            told = sum(digest != _EMPTY for digest in digests.values())
            self.metrics["sync/weights_with_checksum"] = float(told)
            if kept:
                raise WeightSyncError(
                    f"{len(kept)} of {told} weights of {copy.name} have the checksum they had before they changed, {when}",
                    given=", ".join(kept[:6]) + (" and more" if len(kept) > 6 else ""),
                    hint="the server did not load them: look for a warning about weights that were not loaded in its log",
                )
        self._digests[copy.name] = (dict(sums), digests)

    def _cause(self, model: Any, copy: Copy, finding: Finding, now: Scores, tolerance: float) -> str:
        if has_adapters(model):
            with without_adapters(model):
                base = scores_by(model, self._rows)
            if float((now.copy - base).abs().mean()) < min(tolerance, finding.mean / 4):
                return "it computes with the base model, and ignores the adapter"
        if finding.kind == "stale":
            return "nothing was loaded: it answers with the weights it had before"
        own = str(number_format(model)).removeprefix("torch.")
        if copy.format and copy.format != own and finding.mean < 1:
            return f"it computes in {copy.format}, and the policy in {own}"
        if finding.kind == "partial":
            return "only a part of the weights was loaded, such as some of the layers"
        return "other weights, another model, or another order of tokens"


def probes(model: Any, tokenizer: Any) -> tuple[list[list[int]], list[list[int]]]:
    """Fixed rows that both sides score, and rows that a copy continues, long enough to fill a block of a server's cache."""
    size = model.get_input_embeddings().weight.shape[0]
    size = size or model.config.get_text_config().vocab_size  # ZeRO-3 leaves each process a part without a shape
    image = image_token(model)
    outside = set() if image is None else {image}
    ids = [token for token in tokenizer(_TEXT, add_special_tokens=False)["input_ids"] if token < size]
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or _LONG + _WRITTEN
    long = probe_rows(size, outside, ids, _LONG_ROWS, min(_LONG, limit - _WRITTEN))
    return probe_rows(size, outside, ids, _ROWS, _LENGTH), long


def number_format(model: Any) -> torch.dtype:
    """What the policy computes in: the format of its weights, or of the mixed precision that accelerate trains it in."""
    dtype = next(weight.dtype for weight in model.parameters() if weight.is_floating_point())
    if dtype == torch.float32 and hasattr(model, "_original_forward"):
        from accelerate.state import AcceleratorState

        mixed = {"bf16": torch.bfloat16, "fp16": torch.float16}
        return mixed.get(AcceleratorState().mixed_precision, dtype)
    return dtype if dtype in TOLERANCES else torch.float32


def _error(copy: Copy, finding: Finding, cause: str, when: str) -> WeightSyncError:
    return WeightSyncError(
        f"{copy.name} does not sample with the policy's weights, {when}: {finding.describe()}",
        given=f"likely cause: {cause}",
        hint="start the server with the policy's own model and --dtype, restart it where it does not load; if it is rounding "
        f"alone, rollout.serving.tolerance={max(2 * finding.mean, 1e-4):.1g}",
    )


def _changed(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether the policy's weight of a copy's name changed; False where no weight of the policy has that name."""
    plain = name.rsplit(":", 1)[-1]
    parts = [plain]
    for fused, members in _FUSED.items():
        if f".{fused}." in plain:
            parts = [plain.replace(f".{fused}.", f".{member}.") for member in members]
    return any(part in now and part in before and now[part] != before[part] for part in parts)


def has_adapters(model: Any) -> bool:
    return any(hasattr(module, "base_layer") for module in model.modules())


@contextmanager
def without_adapters(model: Any) -> Iterator[None]:
    layers = [module for module in model.modules() if hasattr(module, "base_layer") and not module.disable_adapters]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
