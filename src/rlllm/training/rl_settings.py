"""Settings of methods that learn from their own samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from rlllm.algorithms.components import SlotSpec
from rlllm.core.config import Section
from rlllm.rewards.config import RewardSpec, SandboxPlace
from rlllm.rollouts.config import RolloutConfig
from rlllm.training.rollout_correction import RolloutCorrectionConfig
from rlllm.training.settings import ROLLOUT_ALIASES, TrainingConfig


class KLConfig(Section):
    """The KL penalty against the starting model. Its coefficient is TRL's `beta`; 0 means no reference model at all."""

    where: Literal["loss", "reward", "nowhere"] = "loss"
    """`loss` adds it to every token's loss (GRPO), `reward` takes it off every token's reward (PPO); `nowhere` only keeps the
    reference."""
    target: float | None = Field(None, gt=0)
    """Moves the coefficient so that a completion's KL stays near this many nats (Ziegler et al. 2019, arXiv 1909.08593).
    Default: fixed."""
    horizon: int = Field(2000, ge=1)
    """Completions over which the adaptive coefficient reacts."""


class CriticConfig(Section):
    """The value model behind `advantage=gae` (PPO)."""

    init: str = "policy"
    """Where its weights start: `policy`, `reward` (the first reward model, if it has the policy's tokenizer), or a model."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate, on the policy's schedule. Default: five times the policy's."""
    warmup_steps: int = Field(0, ge=0)
    """Steps from the start in which only the critic learns (value pretraining: VC-PPO, arXiv 2503.01491)."""
    clip: float | None = Field(0.2, gt=0)
    """Range around the old value in which a new value may move without loss clipping (Schulman et al.'s code); null: none."""
    share_backbone: bool = False
    """Policy, reference, critic and adapter-trained reward models on one frozen backbone; needs `lora`."""


class OnlineRolloutConfig(RolloutConfig):
    """How groups of completions are sampled while the policy learns."""

    staleness: int = Field(0, ge=0)
    """Optimizer steps that the weights which sample may be behind those that train, as in asynchronous training: the sampler
    gets new ones when its own would be older. 0 samples from the newest."""


class RLSettings(TrainingConfig):
    """What every trainer reads that samples completions and learns from their rewards."""

    aliases: ClassVar[Mapping[str, str]] = ROLLOUT_ALIASES
    trl_configs: ClassVar[tuple[str, ...]] = ("GRPOConfig",)

    rewards: list[RewardSpec] = Field(default_factory=list)
    """What a completion is worth: names, reward-model runs, folders or Hub ids, weighted. A reward of weight 0 is monitored."""
    require_card: bool = False
    """Refuse to train on a reward whose card is missing, stale or failed; see `rlllm rewards test`."""
    sandbox: SandboxPlace = "full"
    """How rewards isolate programs that the model wrote. `none` runs them as you, with your files and your network; a URL has
    them run by a server of SandboxFusion's protocol."""
    rollout: OnlineRolloutConfig = OnlineRolloutConfig()
    """How completions are sampled."""
    rollout_correction: RolloutCorrectionConfig = RolloutCorrectionConfig()
    """What is done where sampler and trainer compute different probabilities. Default: it is measured alone."""
    sampler: SlotSpec | None = None
    """Which prompts, how often. Default: the method's."""
    advantage: SlotSpec | None = None
    """Advantage of each completion or token. Default: the method's."""
    mask: SlotSpec | None = None
    """Which tokens learn. Default: the method's."""
    loss: SlotSpec | None = None
    """Policy loss of each token and how it is aggregated. Default: the method's."""
    off_policy: SlotSpec | None = None
    """Completions of the data in the place of some samples of each group. Default: the method's, mostly none."""
    erase: SlotSpec | None = None
    """Which segments of a completion are erased and sampled again. Default: the method's, mostly none."""
    dialogue: SlotSpec | None = None
    """Roles that work on each problem in turns, of which each group learns one. Default: the method's, mostly none."""
    reflect: SlotSpec | None = None
    """A text after which the policy answers again, in training; rewards judge the second answer. Default: the method's, mostly
    none."""
    kl: KLConfig = KLConfig()
    """Where the KL term enters and how its coefficient moves."""
    critic: CriticConfig = CriticConfig()
    """The value model, for methods whose advantage is `gae`."""
    max_tokens: int | None = Field(None, ge=1)
    """Stop at the step that brings the tokens of prompts and completions, rejected ones included, to this number (metric
    `num_tokens`). Makes methods comparable that sample more a step. Default: max_steps alone decides."""
    stop_when_flat: int = Field(20, ge=0)
    """Stop after this many steps in a row in which no two completions to compare had different rewards; 0 never stops."""

    @classmethod
    def unread_keys(cls, components: Mapping[str, str]) -> frozenset[str]:
        """The settings of a critic, where the method's advantage needs none."""
        critic = CriticConfig.model_fields.keys() - {"share_backbone"}
        return frozenset() if components.get("advantage") == "gae" else frozenset(f"critic.{name}" for name in critic)
