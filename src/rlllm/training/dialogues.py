"""Dialogues of a trained model: what is kept beside its weights, and answers by dialogue in measurements and evaluations."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rlllm.algorithms.components import SlotSpec, component, known
from rlllm.algorithms.protocols import Dialogue
from rlllm.core.errors import ConfigError
from rlllm.core.records import PromptTask, Sample
from rlllm.core.runs import read_json, write_json
from rlllm.policies.role_adapters import FOLDER, RoleAdapters, StoredRoles, stored_roles
from rlllm.rollouts.config import SamplingConfig
from rlllm.training.flow import Job
from rlllm.training.plan import RLPlan

if TYPE_CHECKING:
    from rlllm.evals.before_after import Measured

_FILE = "dialogue.json"
"""In a model's folder: name, arguments and state of the dialogue that it was trained with."""
_SLOT = "dialogue"


@dataclass(frozen=True)
class PlannedDialogue:
    """A dialogue by which a model answers.

    Args:
        spec: with the arguments that were stored with the model, where the user gives none.
        state: what it learned; empty where nothing is stored with the model.
        roles: adapters of the roles, where each has its own; the model that answers is then `load_roles` of them.
    """

    spec: SlotSpec
    state: Mapping[str, Any]
    roles: StoredRoles | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What an answer depends on beside the model, the sampling and the task: arguments, state, and the module's source."""
        module = inspect.getmodule(type(self._dialogue()))
        source = inspect.getsource(module) if module else ""
        known = {"name": self.spec.name, "params": self.spec.params, "state": dict(self.state), "source": source}
        return known if self.roles is None else {**known, "roles": self.roles.identity}

    def draw(
        self, model: Any, tokenizer: Any, tasks: Sequence[PromptTask], sampling: SamplingConfig, *, samples: int
    ) -> list[list[Sample]]:
        """`samples` answers to every task, each by a dialogue of its own; the outer list follows `tasks`."""
        from rlllm.rollouts.dialogue.speaking import speaker
        from rlllm.rollouts.engines.loading import open_engine

        adapters = None if self.roles is None else RoleAdapters(model, tuple(self.roles.folders))
        speak = speaker(
            partial(open_engine, sampling.engine, model, tokenizer, sampling), tokenizer, sampling, adapters
        )
        answers = self._dialogue().answers([task for task in tasks for _ in range(samples)], speak)
        return [answers[start : start + samples] for start in range(0, len(answers), samples)]

    def describe(self) -> str:
        """One line of a plan."""
        params = ", ".join(f"{name}={value}" for name, value in self.spec.params.items())
        learned = "with what was learned" if self.state else "nothing learned, so that every role always speaks"
        return f"{self.spec.name}{f' ({params})' if params else ''}, {learned}"

    def _dialogue(self) -> Dialogue:
        dialogue = cast(Dialogue, component(_SLOT, self.spec))
        if self.state:
            dialogue.load_state_dict(self.state)
        return dialogue


def planned_dialogue(spec: SlotSpec, folder: Path | None) -> PlannedDialogue:
    """The dialogue of an evaluation, with what is stored with the model.

    Args:
        folder: of the model; None for one of the Hub.

    Raises:
        ConfigError: no such dialogue, an argument that it does not take, or adapters of roles that the model does not have.
        ModelError: one of these adapters is missing, or their base cannot be used.
    """
    known(_SLOT, spec)
    path = folder and folder / _FILE
    stored = read_json(path) if path and path.is_file() else {}
    if stored.get("name") != spec.name:
        stored = {}
    planned = PlannedDialogue(
        spec.model_copy(update={"params": {**stored.get("params", {}), **spec.params}}), stored.get("state", {})
    )
    roles = cast(Dialogue, component(_SLOT, planned.spec)).role_adapters
    if not roles:
        return planned
    adapters = stored_roles(folder, roles)
    if adapters is None:
        raise ConfigError(
            f"the model has no adapters of {' and '.join(roles)}",
            given=f"dialogue.adapters=per-role, {folder or 'a model of the Hub'}",
            hint="dialogue.adapters=shared, or the model of a run that was trained with dialogue.adapters=per-role",
        )
    return replace(planned, roles=adapters)


def keep(job: Job[RLPlan[Any]], trainer: Any) -> None:
    """`Trainer.keep`: the dialogue of a run, and adapters of its roles, in the model's folder."""
    spec = job.plan.slots.get(_SLOT)
    if spec is not None:
        if trainer.roles is not None:
            trainer.roles.save(job.run.model / FOLDER)
        state = trainer.slots.dialogue.state_dict()
        write_json(job.run.model / _FILE, {"name": spec.name, "params": spec.params, "state": state})


def measure(job: Job[RLPlan[Any]], model: Any) -> list[Measured]:
    """Share of answers by dialogue that pass, and calls on the way to one; nothing in a run without a dialogue."""
    import torch

    from rlllm.evals.before_after import Measured, passed
    from rlllm.evals.dialogue_turns import OF_DIALOGUE
    from rlllm.policies.chat import add_end_of_turn
    from rlllm.policies.loading import load_roles
    from rlllm.rollouts.dialogue.play import DIALOGUE, calls_of

    plan = job.plan
    if _SLOT not in plan.slots:
        return []
    spec = plan.slots[_SLOT]
    dialogue = planned_dialogue(spec, job.run.model) if job.run.model.is_dir() else PlannedDialogue(spec, {})
    if dialogue.roles is not None:  # the trained model is merged, and has one role's adapter in its weights
        model = load_roles(dialogue.roles, bf16=job.hardware.bf16).to(job.hardware.device)
        add_end_of_turn(model, job.tokenizer)
    torch.manual_seed(plan.config.seed)
    groups = dialogue.draw(
        model, job.tokenizer, plan.measured_on, plan.config.rollout.sampling, samples=plan.config.eval.samples
    )
    measures = [passed(f"pass@1{OF_DIALOGUE}", groups, plan.rewards)]
    if all(DIALOGUE in sample.meta for group in groups for sample in group):
        counts = [[float(calls_of(sample)) for sample in group] for group in groups]
        measures.append(Measured("calls per answer", counts))
    return measures
