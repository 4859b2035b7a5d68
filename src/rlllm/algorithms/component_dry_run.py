"""Calls the components that a user brings once on a small made-up batch when a run is planned, before a model is loaded.

Torch is imported only if there is such a component; built-in ones are tested with rlllm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlllm.algorithms.components import Components
from rlllm.algorithms.protocols import (
    CONTEXT,
    Advantage,
    Candidates,
    Component,
    Context,
    Dialogue,
    Erasure,
    Loss,
    Mask,
    OffPolicy,
    Sampler,
    Setup,
)
from rlllm.core.errors import PluginError
from rlllm.core.plugin_errors import plugin_boundary, public_attributes
from rlllm.core.records import PromptTask, Sample, Score

if TYPE_CHECKING:
    from torch import Tensor

    from rlllm.algorithms.batch import RolloutBatch

_GROUPS = 2
_TOKENS = 5
_PROMPT_TOKENS = 3


def try_out(own: Mapping[str, Component], components: Components, setup: Setup) -> None:
    """Call each of the components in `own` once.

    Args:
        own: slot -> component that does not ship with rlllm.
        components: all components of the run, whose signals the batch holds.
        setup: what is known of the run.

    Raises:
        PluginError: a component raised an exception, or returned something of another type or shape.
    """
    if not own:
        return
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        batch = _batch(components, setup)
        for slot, part in own.items():
            _try(slot, part, batch, components, setup)


def _try(slot: str, part: Component, batch: RolloutBatch, components: Components, setup: Setup) -> None:
    function = getattr(part, "function", part)
    name = getattr(function, "__name__", type(function).__name__)
    with plugin_boundary(slot, name, function, keys=batch.signals, hint=_hint(part)):
        if isinstance(part, Sampler):
            rows = max(len(setup.tasks), 1)
            part.begin(rows, 0)
            _check_order(name, part(rows, 0, 0), rows)
        elif isinstance(part, Advantage):
            _check_tensor(slot, name, part(batch), [(_rows(setup),), (_rows(setup), _TOKENS)])
        elif isinstance(part, Mask):
            _check_tensor(slot, name, part(batch), [(_rows(setup), _TOKENS)])
        elif isinstance(part, Loss):
            _check_loss(name, part, batch, components)
        elif isinstance(part, OffPolicy):
            part.places(_rows(setup), setup.group_size)
        elif isinstance(part, Erasure):
            _check_erasure(name, part, batch)
        elif isinstance(part, Dialogue):
            _check_dialogue(name, part, setup)
        dict(part.metrics)
        part.state_dict()


def _check_erasure(name: str, part: Erasure, batch: RolloutBatch) -> None:
    import torch

    rows = range(len(batch.loss_mask))
    part.begin(len(rows), batch.group_size)
    rejected = part.rejects(Candidates(0, 0, rows, [torch.rand(_TOKENS) for _ in rows]))
    if not isinstance(rejected, torch.Tensor) or rejected.shape != (len(rows),) or rejected.dtype != torch.bool:
        raise PluginError(
            f"the erase {name} returned {getattr(rejected, 'shape', type(rejected).__name__)}",
            hint=f"a tensor of shape ({len(rows)},) of bool is expected for {len(rows)} candidates",
        )
    part.end(lambda values: values)


def _check_dialogue(name: str, part: Dialogue, setup: Setup) -> None:
    tasks, roles = setup.tasks[:_GROUPS], part.role_adapters or ("",)

    def speak(asked: Sequence[PromptTask], role: str = "", /) -> list[Sample]:
        if role not in roles:
            raise PluginError(
                f"the dialogue {name} has another role speak than it has adapters of", given=role, exists=roles
            )
        return [Sample(task.prompt, "", task.answer, task.meta, _TOKENS) for task in asked]

    def judge(answers: Sequence[Sample]) -> list[bool]:
        return [False for _ in answers]

    contexts = part.contexts(tasks, speak, judge)
    if len(contexts) != len(tasks) or not all(isinstance(context, Context) for context in contexts):
        raise PluginError(f"the dialogue {name} did not return a Context for each task", given=str(contexts)[:200])
    if part.role_adapters and not {context.role for context in contexts} <= set(roles):
        raise PluginError(f"a Context of the dialogue {name} has no role with an adapter", given=str(contexts)[:200])
    part.end(lambda values: values)
    samples = [
        Sample(context.prompt, "", task.answer, {**task.meta, CONTEXT: dict(context.says)}, _TOKENS)
        for task, context in zip(tasks, contexts, strict=True)
        for _ in range(setup.group_size)
    ]
    scores = part.scores(samples, speak, judge)
    if len(scores) != len(samples) or not all(score is None or isinstance(score, Score) for score in scores):
        raise PluginError(f"the dialogue {name} did not return a Score or None a completion", given=str(scores)[:200])
    for sample in samples:
        part.learns(sample)


def _rows(setup: Setup) -> int:
    return _GROUPS * setup.group_size


def _hint(part: Component) -> str:
    from rlllm.algorithms.batch import RolloutBatch
    from rlllm.algorithms.losses.base import LossInputs

    kind = LossInputs if isinstance(part, Loss) else RolloutBatch
    return f"{kind.__name__} has: {', '.join(public_attributes(kind))}"


def _batch(components: Components, setup: Setup) -> RolloutBatch:
    import torch

    from rlllm.algorithms.batch import RolloutBatch

    rows = _rows(setup)
    loss_mask = torch.ones(rows, _TOKENS, dtype=torch.long)
    loss_mask[-1, -2:] = 0
    rewards = torch.arange(rows * len(setup.reward_names), dtype=torch.float).view(rows, -1) % 3
    return RolloutBatch(
        prompt_ids=torch.ones(rows, _PROMPT_TOKENS, dtype=torch.long),
        prompt_mask=torch.ones(rows, _PROMPT_TOKENS, dtype=torch.long),
        completion_ids=torch.ones(rows, _TOKENS, dtype=torch.long),
        loss_mask=loss_mask,
        group_size=setup.group_size,
        rewards=rewards,
        weights=torch.tensor(list(setup.reward_weights), dtype=torch.float),
        trl_advantages=torch.linspace(-1, 1, rows),
        extra_fields=[dict(setup.tasks[index % len(setup.tasks)].meta) if setup.tasks else {} for index in range(rows)],
        names=list(setup.reward_names),
        advantages=torch.linspace(-1, 1, rows),
        signals={name: signal.example(rows, _TOKENS) for name, signal in components.signals.items()},
    )


def _check_order(name: str, order: Any, rows: int) -> None:
    if not isinstance(order, list) or not all(isinstance(row, int) and 0 <= row < rows for row in order):
        raise PluginError(
            f"the sampler {name} returned {type(order).__name__} {str(order)[:60]}",
            hint=f"an order is a list of row numbers from 0 to {rows - 1}",
        )


def _check_tensor(slot: str, name: str, value: Any, shapes: list[tuple[int, ...]]) -> Tensor:
    import torch

    if not isinstance(value, torch.Tensor) or tuple(value.shape) not in shapes:
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise PluginError(
            f"the {slot} {name} returned {shape}",
            hint=f"a tensor of shape {' or '.join(map(str, shapes))} is expected for {shapes[0][0]} completions of "
            f"{_TOKENS} tokens",
        )
    if not value.isfinite().all():
        raise PluginError(f"the {slot} {name} returned numbers that are not finite", given=str(value)[:200])
    return value


def _check_loss(name: str, loss: Loss, batch: RolloutBatch, components: Components) -> None:
    import torch

    from rlllm.algorithms.losses.base import LossInputs

    logps = (-torch.rand(batch.loss_mask.shape)).requires_grad_()
    assert batch.advantages is not None
    off_policy = torch.zeros_like(batch.loss_mask, dtype=torch.bool) if "off_policy" in components.by_slot else None
    inputs = LossInputs(
        old_logps=logps.detach() - 0.1,
        advantages=batch.advantages.unsqueeze(1),
        mask=batch.loss_mask,
        off_policy=off_policy,
        ref_logps=logps.detach() - 0.2,
        entropies=torch.rand(logps.shape),
        signals=batch.signals,
    )
    rows = len(batch.loss_mask)
    losses = _check_tensor("loss", name, loss(logps, inputs), [(rows, _TOKENS), (rows, 1)])
    if not losses.requires_grad:
        raise PluginError(
            f"the loss {name} does not depend on the log-probabilities", hint="use `logps` itself, not `logps.detach()`"
        )
