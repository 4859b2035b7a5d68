"""Settings the four training verbs share."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from rlllm.core.config import Section, StageConfig
from rlllm.data.config import DataConfig


class HoldoutConfig(Section):
    """Measuring the model before and after training, on rows it never trains on."""

    rows: int = Field(128, ge=0)
    """Held-out rows to measure on; 0 measures nothing. Without a held-out part (`data.holdout`) nothing is measured."""
    samples: int = Field(4, ge=1)
    """Completions sampled for each row."""


class LoraConfig(Section):
    """Train low-rank adapters instead of all weights (Hu et al. 2021, arXiv 2106.09685). Needs no second copy as reference."""

    r: int = Field(16, ge=1)
    """Rank."""
    alpha: int = Field(32, ge=1)
    """Scale; the update is multiplied by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input."""
    target_modules: str | list[str] = "all-linear"
    """Module names to adapt."""


class TrainingConfig(StageConfig):
    """A training verb."""

    data: DataConfig = DataConfig()
    """What to train on; a name, a file, or a section."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """TRL's own settings under TRL's names; everything not given keeps TRL's default."""
    eval: HoldoutConfig = HoldoutConfig()
    """Measurement before and after."""
    lora: LoraConfig | None = None
    """Adapters instead of full weights."""
