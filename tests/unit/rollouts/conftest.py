"""One step of training in an environment, for the environments of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rlllm


@pytest.fixture
def one_step(nano: str, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Train one step of eight completions in an environment on some data; the run's samples."""

    def train(data: dict[str, Any], environment: dict[str, Any]) -> list[dict[str, Any]]:
        run = rlllm.reason(
            model=nano,
            data={"holdout": 0, **data},
            eval={"rows": 0},
            environment={"rounds": 1, **environment},
            output_dir=tmp_path / "run",
            max_steps=1,
            num_generations=4,
            per_device_train_batch_size=8,
            max_completion_length=16,
        )
        assert run.verdict["diagnostics"]["steps_done"] == 1
        samples = list(run.samples())
        assert len(samples) >= 8
        return samples

    return train
