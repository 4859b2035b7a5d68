"""What a slot component is: one base class for each slot, with every optional attribute declared and its neutral value.

A component is a subclass of its slot's base, or a plain function of the same arguments (`as_component` wraps it). It gets
tensors and returns tensors; it does not see the trainer. A base has no abstract part beyond its call, so a subclass overrides
what it needs and nothing else. Torch is imported when a component is called, so that a plan can make one without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from rlllm.core.records import Prompt, PromptTask, Sample, Score

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch
    from rlllm.algorithms.losses.base import LossInputs
    from rlllm.algorithms.signals.base import Signal
    from rlllm.algorithms.stored_group import StoredGroup
    from rlllm.rollouts.dialogue.play import Judge, Speak


@dataclass(frozen=True, slots=True)
class Setup:
    """What is known of a run before anything is loaded; the argument of `Component.check`."""

    group_size: int
    """Completions of each prompt."""
    tasks: Sequence[PromptTask]
    """Training rows."""
    reward_names: Sequence[str]
    reward_weights: Sequence[float]
    """One for each name; 0 for a reward that is only monitored."""
    kl_in: str
    """Where the KL term enters: `loss`, `reward` or `nowhere`."""
    off_policy: bool
    """Whether completions of the data stand in the groups."""
    loss: PolicyLoss | None = None
    """The loss of the run."""
    erase: Erasure | None = None
    """What erases segments; None in a run that samples completions whole."""
    reflect: Reflection | None = None
    """What asks for a second answer; None in a run of single answers."""
    signals: Mapping[str, Signal] = field(default_factory=dict)
    """Name -> signal, of every signal that a component needs."""
    sampler: Sampler | None = None
    """The sampler of the run."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """TRL's settings, as far as they are given or follow from a method or the model."""


class Component:
    """What a component of any slot may declare."""

    @property
    def needs(self) -> Sequence[str | Signal]:
        """Signals to compute for it, by name (`rlllm methods ls --signals`) or as objects with parameters of their own.

        A subclass may set a class attribute: `needs = ("entropies",)`.
        """
        return ()

    @property
    def trl_settings(self) -> Mapping[str, Any]:
        """TRL settings that go with it; the user's own take precedence. A subclass may set a class attribute."""
        return {}

    compares_group: bool = False
    """Whether completions of one prompt are compared, so that `group_size` is at least 2."""

    def check(self, setup: Setup) -> None:
        """Raise ConfigError where the component cannot work in this run. Called when a run is planned."""

    def same_as(self, settings: Mapping[str, Any]) -> str:
        """Name of the component of its slot, without fields, that does the same to the bit in this run; empty for none.

        Args:
            settings: TRL's.
        """
        return ""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Numbers for the log, read after each rollout."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What changes from rollout to rollout, as JSON values; saved with each checkpoint. Empty: nothing does."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""


class Sampler(Component):
    """Which prompts are completed, in which order, and which groups are learned from.

    The base completes every prompt once an epoch, shuffled. Prompts are rows of the data set. N prompts and G completions a
    prompt are those of all processes; every process sees the same numbers, so that its sampler stays equal to the others'.
    """

    max_rounds: int = 0
    """Further rollouts at most that may replace groups which are not accepted (dynamic sampling)."""
    reward: str = ""
    """Name of the run's reward by which groups are judged: what `accepts` and `observe` are given. A subclass that judges
    groups makes it a field, so that a recipe can set it. Default: the first reward that verifies."""
    replays: ClassVar[bool] = False
    """Whether groups are stored, and replayed in the place of groups that are not accepted."""

    @property
    def start_samples(self) -> int:
        """Completions of each row by the start model that are judged before training, for `measured`."""
        return 0

    @property
    def reward_factors(self) -> Mapping[str, float]:
        """Name of a reward -> what its weight is multiplied by in the next rollout; 1 where it is not named."""
        return {}

    def begin(self, rows: int, seed: int) -> None:
        """Called once with the size of the data set and the run's seed, before a state is loaded."""

    def measured(self, tasks: Sequence[PromptTask], values: Sequence[Sequence[float | None]]) -> None:
        """Called once after `begin`: the training rows, and the values of the reward `reward` of `start_samples` completions of
        each, None where undefined. A resumed run is given the values of its first start."""

    def advance(self, share: float) -> None:
        """Called before each rollout with the share of the run's optimizer steps that have been made."""

    def __call__(self, rows: int, seed: int, epoch: int) -> list[int]:
        """Order of an epoch, a permutation or selection of `range(rows)`: a pure function of its arguments."""
        import torch

        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        return torch.randperm(rows, generator=generator).tolist()

    def propose(self, rows: Sequence[int]) -> list[int]:
        """The N prompts to complete instead of those that come next in the order."""
        return list(rows)

    def show(self, row: int, task: PromptTask) -> Prompt:
        """The prompt as the model shall see it. Rewards judge by `task`."""
        return task.prompt

    def draw(self, count: int, tried: Collection[int]) -> list[int]:
        """`count` prompts of a further rollout; `tried` have been completed in this step. An empty list ends the step."""
        return []

    def accepts(self, rewards: Tensor) -> Tensor:
        """(N, G) values of the reward `reward`, NaN where undefined, to (N,) bool: the groups to learn from."""
        return rewards.new_ones(len(rewards)).bool()

    def replay(self, count: int) -> list[StoredGroup]:
        """At most `count` stored groups to learn from in the place of groups that are not accepted."""
        return []

    def store(self, groups: Sequence[StoredGroup]) -> None:
        """Called with the accepted groups at the end of a rollout."""

    def observe(self, rows: Sequence[int], rewards: Tensor) -> None:
        """Called with the (N, G) values of the reward `reward` of N prompts after each rollout, NaN where undefined."""

    @property
    def judges_groups(self) -> bool:
        """Whether rewards decide which prompts or groups are learned from."""
        return type(self).accepts is not Sampler.accepts or type(self).observe is not Sampler.observe


class Advantage(Component):
    """Advantage estimator: from the rewards of a rollout to the advantage of each completion or token.

    Call: `RolloutBatch` -> (B,) or (B, T) float tensor; 0 where nothing is to be learned, never NaN.
    """

    ignores_rewards: bool = False
    """Whether the signal is the policy's own: rewards are only monitored, and a constant one is no failure."""
    per_completion: bool = False
    """Whether it gives one number a completion, (B,), in every run."""
    per_token: bool = False
    """Whether what it says is in the differences between a completion's tokens, so that a loss whose tokens share one ratio
    (`PolicyLoss.shares_ratio`) is refused: it would average them away."""
    reads_kl_penalty: bool = True
    """Whether a KL penalty in the reward (`kl.where=reward`) reaches the advantage."""

    @property
    def costs(self) -> Sequence[str]:
        """Names of monitored rewards that the run is to drive down, so that their fall is no alarm."""
        return ()

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return batch.trl_advantages

    def value_targets(self, batch: RolloutBatch) -> Tensor:
        """(B, T) returns that the critic learns, for an estimator that needs `values`."""
        assert batch.values is not None
        return batch.values


class Mask(Component):
    """Which completion tokens learn. Call: `RolloutBatch` -> (B, T) 0/1, a subset of `batch.loss_mask`."""

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return batch.loss_mask


class PolicyLoss(Component):
    """What every component of the slot `loss` declares: a `Loss` of ours, or one that TRL computes (`losses.trl.TRLLoss`)."""

    aggregation: str = "token-mean"
    """How the losses of tokens become one number: a name of `rlllm.algorithms.losses.base.AGGREGATIONS` (verl's names)."""
    rows_are_independent: bool = False
    """Whether the loss of a row depends on that row alone and is 0 where its advantages are 0. Then rows without advantage
    are left out, and a micro-batch may be cut into parts."""
    needs_off_policy: bool = False
    """Whether it is about completions that the policy did not sample, so that a run without them is refused."""
    reads_trl: Collection[str] = ()
    """TRL settings of losses that it reads, out of `rlllm.algorithms.losses.trl.LOSS_SETTINGS`; `LossInputs.trl` has them."""

    def shares_ratio(self, settings: Mapping[str, Any]) -> bool:
        """Whether the tokens of a completion share one importance ratio that has the gradient, as in GSPO.

        Then every token learns by the mean of the completion's advantages, not by its own.

        Args:
            settings: TRL's.
        """
        return False

    def at_ratio_one(self, settings: Mapping[str, Any]) -> str:
        """What its gradient is while every importance ratio is 1, so that nothing is clipped, gated or charged.

        `token`: that of -A log p at each token, which TRL's loss of the same aggregation has as well; `completion`: the same
        where the tokens of a completion share the advantage; empty: another one.

        Args:
            settings: TRL's, with its defaults.
        """
        return ""


class Loss(PolicyLoss, ABC):
    """Policy loss of each token.

    Call: log-probabilities (B, T) with gradient and `LossInputs` -> a tensor (B, T) or (B, 1) to be minimised. The loop
    multiplies it by the mask, adds the KL term (`beta`), aggregates it, and scales it for gradient accumulation.
    """

    @abstractmethod
    def __call__(self, logps: Tensor, inputs: LossInputs) -> Tensor:
        """Loss of each token."""


class OffPolicy(Component):
    """Completions that another model wrote, in the place of some samples of each group."""

    goes_with: Mapping[str, str] = {}
    """Slot -> component to use with it, unless the method or the user chooses another."""

    def places(self, rows: int, group_size: int) -> list[int]:
        """Which of `rows` completions, in contiguous groups, are not sampled."""
        return []

    def ids(self, task: PromptTask, tokenizer: Any, limit: int) -> list[int]:
        """Token ids of a task's completion, at most `limit`."""
        return []


@dataclass(frozen=True)
class Candidates:
    """Candidates for one segment of several completions, the argument of `Erasure.rejects`."""

    segment: int
    """Number of the segment, from 0; equal for all rows."""
    attempt: int
    """How often these candidates' segment was erased before."""
    rows: Sequence[int]
    """n rows of the rollout, rising; row // group size is the group."""
    entropies: Sequence[Tensor]
    """n tensors (tokens,): entropy in nats of the policy's distribution at each token of the candidate, at the run's
    temperature."""


class Erasure(Component):
    """Completions are sampled in segments, and segments that it rejects are erased and sampled again. In training only."""

    segment_length: int = 1024
    """Tokens of a segment."""
    max_erasures: int = 5
    """Candidates of a segment beyond the first; the last one stays. 0 samples in segments and erases nothing."""

    def begin(self, rows: int, group_size: int) -> None:
        """Called before a rollout of so many completions, in contiguous groups."""

    def rejects(self, candidates: Candidates) -> Tensor:
        """(n,) bool: the candidates to erase. All rows that have not ended come with attempt 0, then those rejected."""
        import torch

        return torch.zeros(len(candidates.rows), dtype=torch.bool)

    def end(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Called after a rollout; `reduce` is the sum of a tensor over all processes."""


class Reflection(Component):
    """The policy answers twice, with a text between that it did not write and that does not train. In training only.

    Rewards judge the second answer, and find the first in the column `first_completion` of a sample.
    """

    text: str = ""
    """What is said between the two answers."""


CONTEXT = "dialogue_context"
"""Column of a sample that completes a turn of a dialogue: what its `Context` says."""


@dataclass(frozen=True)
class Context:
    """What a group completes in the place of its task's own prompt."""

    prompt: Prompt
    says: Mapping[str, Any]
    """The column `dialogue_context` of each sample, such as the role; JSON values."""
    role: str = ""
    """Whose adapter completes it, where `Dialogue.role_adapters` names roles."""


class Dialogue(Component):
    """Several roles work on each problem of a rollout, and each group learns what one of them says. In training only."""

    turns: int = 1
    """Utterances of a dialogue at most."""

    @property
    def utterances_behind(self) -> int:
        """How many utterances at most `scores` samples behind each completion."""
        return 0

    @property
    def role_adapters(self) -> Sequence[str]:
        """Roles with a LoRA adapter of their own each: `speak` is called with one of them, and every context names one. A model
        that is asked without a dialogue answers as the first. Empty: one policy for all."""
        return ()

    def contexts(
        self,
        tasks: Sequence[PromptTask],
        speak: Speak,
        judge: Judge,
    ) -> list[Context]:
        """Play one dialogue on each task; what each group is to complete.

        Args:
            tasks: of the groups, in their order.
            speak: one sample of each task's prompt by the policy.
            judge: whether samples are right answers, by the run's first reward that verifies.
        """
        return [Context(task.prompt, {}) for task in tasks]

    def score(self, sample: Sample) -> Score | None:
        """What a completion that is no answer is worth, from 0 to 1, in the place of the reward that verifies; the others do
        not judge it. None for an answer, which the run's rewards judge."""
        return None

    def scores(self, samples: Sequence[Sample], speak: Speak, judge: Judge) -> list[Score | None]:
        """`score` of each completion of what `contexts` chose, in whole groups; a dialogue may go on behind them."""
        return [self.score(sample) for sample in samples]

    def learns(self, sample: Sample) -> int | None:
        """Characters at the beginning of a completion that hold its decision, where only their tokens learn; None: all do."""
        return None

    def end(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Called after a rollout was played; `reduce` is the sum of a tensor over all processes."""

    def answers(self, tasks: Sequence[PromptTask], speak: Speak) -> list[Sample]:
        """The answer of one dialogue on each task, by what was learned. Columns that it adds are JSON."""
        return speak(tasks)


SLOTS: Mapping[str, type[Component]] = {
    "sampler": Sampler,
    "advantage": Advantage,
    "mask": Mask,
    "loss": PolicyLoss,
    "off_policy": OffPolicy,
    "erase": Erasure,
    "dialogue": Dialogue,
    "reflect": Reflection,
}
"""Slot -> base of its components."""


@dataclass(frozen=True)
class _FunctionSampler(Sampler):
    """A function (rows, seed, epoch) -> order as a sampler."""

    function: Callable[[int, int, int], list[int]]

    def __call__(self, rows: int, seed: int, epoch: int) -> list[int]:
        return self.function(rows, seed, epoch)


@dataclass(frozen=True)
class _FunctionAdvantage(Advantage):
    """A function `RolloutBatch` -> advantages as an estimator."""

    function: Callable[[RolloutBatch], Tensor]

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return self.function(batch)


@dataclass(frozen=True)
class _FunctionMask(Mask):
    """A function `RolloutBatch` -> mask as a mask."""

    function: Callable[[RolloutBatch], Tensor]

    def __call__(self, batch: RolloutBatch) -> Tensor:
        return self.function(batch)


@dataclass(frozen=True)
class FunctionLoss(Loss):
    """A function (logps, `LossInputs`) -> per-token loss as a loss."""

    function: Callable[[Tensor, LossInputs], Tensor]
    aggregation: str = "token-mean"

    def __call__(self, logps: Tensor, inputs: LossInputs) -> Tensor:
        return self.function(logps, inputs)


_OF_FUNCTION: Mapping[str, Callable[..., Component]] = {
    "sampler": _FunctionSampler,
    "advantage": _FunctionAdvantage,
    "mask": _FunctionMask,
    "loss": FunctionLoss,
}


def as_component(slot: str, part: Any, **fields: Any) -> Component:
    """A component of the slot: `part` itself, or the wrapped function.

    Args:
        slot: name in `SLOTS`.
        part: a component, or a function of the arguments that its base is called with.
        fields: of the object that wraps a function, such as the `aggregation` of a loss.

    Raises:
        TypeError: `part` is neither.
    """
    if isinstance(part, SLOTS[slot]):
        return part
    if callable(part) and not isinstance(part, type) and slot in _OF_FUNCTION and _is_function(part):
        return _OF_FUNCTION[slot](part, **fields)
    raise TypeError(f"a {type(part).__name__} is neither a function nor a subclass of {SLOTS[slot].__name__}")


def _is_function(part: Any) -> bool:
    from functools import partial
    from types import BuiltinFunctionType, FunctionType, MethodType

    return isinstance(part, FunctionType | MethodType | BuiltinFunctionType | partial)
