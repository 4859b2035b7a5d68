"""Settings of a rollout, shared by training and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from rlllm.core.config import Section


class ServingConfig(Section):
    """How servers that sample are asked, and how it is proven that they have the policy's weights."""

    model: str | None = None
    """The model's name at the server. Default: the first that it lists."""
    key_env: str | None = None
    """Environment variable that holds the server's key. Default: none is sent."""
    timeout: float = Field(600.0, gt=0)
    """Seconds that one request may take, all completions of a group included."""
    retries: int = Field(2, ge=0)
    """Further attempts after a failure that may pass, before a server is dropped."""
    parallel: int = Field(64, ge=1)
    """Requests under way at each server."""
    seeded: bool = True
    """Send a seed with each request, so that a run can be repeated; costs vLLM some speed on a GPU."""
    folder: Path | None = None
    """Where weights are left for the servers, who must see it under the same path. Default: a temporary folder here."""
    tolerance: float | None = Field(None, gt=0)
    """Mean difference in nats between the policy's log-probabilities and a copy's that rounding may make. Default: by the
    policy's number format, 0.001 for float32, 0.02 for float16, 0.2 for bfloat16."""
    checksum: Literal["first", "every", "off"] = "first"
    """Compare the checksums of single weights, which a server takes long to compute: at the first syncs, at every, or never."""
    memory: float = Field(0.3, gt=0, le=1)
    """Share of the device's memory that vLLM in this process may take (vLLM: gpu_memory_utilization)."""
    max_length: int | None = Field(None, ge=2)
    """Tokens of prompt and completion for which vLLM in this process keeps room. Default: the model's own limit."""
    eager: bool = False
    """Start vLLM in this process without compiling: sooner, and slower afterwards (vLLM: enforce_eager)."""
    trial: bool = True
    """Bring weights with noise over before the first step, which shows at once that they arrive."""


class EngineSettings(Section):
    """What samples, and where."""

    engine: str = "native"
    """What samples, such as `native` or `vllm-server`; `auto` takes the best that is installed. See `rlllm doctor`."""
    servers: list[str] = Field(default_factory=list)
    """Addresses of the servers, for engines that ask some; the load is shared over them."""
    serving: ServingConfig = ServingConfig()
    """How the servers are asked, and how their weights are checked."""

    @field_validator("servers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """`http://a:8000,http://b:8000` as a list, as it is typed."""
        return [url.strip() for url in value.split(",") if url.strip()] if isinstance(value, str) else value


OUTSIDE_SETTINGS = ("engine", "servers", "serving")
"""Settings that say where it is sampled, and nothing of the distribution."""


class SamplingConfig(EngineSettings):
    """How an evaluation samples. A temperature of 0 is greedy."""

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


class CompletionConfig(EngineSettings):
    """How completions are sampled in training, one at a time."""

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
            servers=self.servers,
            serving=self.serving,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
        )


class RolloutConfig(CompletionConfig):
    """How groups of completions are sampled."""

    group_size: int = Field(8, ge=1)
    """Completions sampled for each prompt; most advantages compare these and need two or more (TRL: num_generations)."""
