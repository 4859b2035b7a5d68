"""Settings of a rollout, shared by training and evaluation."""

from __future__ import annotations

from pydantic import Field

from rlllm.core.config import Section


class SamplingConfig(Section):
    """How an evaluation samples. A temperature of 0 is greedy."""

    engine: str = "native"
    """What samples."""
    max_new_tokens: int = Field(512, ge=1)
    """Length limit of a completion in tokens."""
    temperature: float = Field(1.0, ge=0)
    """Sampling temperature; 0 decodes greedily (then more than one sample is pointless)."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus sampling; 1 samples from the whole distribution."""
    top_k: int = Field(0, ge=0)
    """Sample among the k likeliest tokens; 0 means all."""
    batch_size: int = Field(256, ge=1)
    """Completions decoded at once."""


class CompletionConfig(Section):
    """How completions are sampled in training, one at a time."""

    engine: str = "native"
    """What samples; see `rlllm doctor` for what this machine has."""
    max_new_tokens: int = Field(512, ge=1)
    """Length limit of a completion in tokens (TRL: max_completion_length)."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus sampling; 1 samples from the whole distribution."""
    top_k: int = Field(0, ge=0)
    """Sample among the k likeliest tokens; 0 means all."""

    @property
    def sampling(self) -> SamplingConfig:
        """The same for an evaluation: what is measured is sampled as what is trained on."""
        return SamplingConfig(
            engine=self.engine,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
        )


class RolloutConfig(CompletionConfig):
    """How groups of completions are sampled."""

    group_size: int = Field(8, ge=1)
    """Completions sampled for each prompt; most advantages compare these and need two or more (TRL: num_generations)."""
