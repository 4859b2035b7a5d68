"""What the trainer does where roles have adapters of their own: each row is sampled, scored and learned from by its role's.

PEFT computes one adapter at a time in training, so rows of several roles never pass together. A micro-batch is cut by role, and
each part is passed back before the next is computed; the loss is a sum over rows, and the parts add up to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from rlllm.algorithms._trl import disable_dropout_in_model
from rlllm.algorithms.protocols import Context
from rlllm.core.errors import ConfigError
from rlllm.policies.role_adapters import RoleAdapters
from rlllm.rollouts.engines.base import sample_completions

_ROLE = "role"
"""Among the tensors of a rollout: (B, 1) number of the role whose adapter completes a row."""


class RolePolicies:
    """Mixin of the trainer before LossComputation, whose `_parts`, `_part_loss` and `_get_per_token_logps_and_entropies` it
    wraps, and `create_optimizer` of transformers."""

    slots: Any
    model: Any
    model_wrapped: Any
    args: Any
    accelerator: Any
    _tokenizer: Any
    sampling: Any
    _rows_add_up: bool

    roles: RoleAdapters | None = None
    """None where one policy speaks for all roles, or there are none."""
    _role_of_rows: Sequence[str] = ()
    """Of the rollout that TRL has in hand."""

    def _add_roles(self) -> None:
        """Put the adapters of the dialogue's roles on the model, beside the one that TRL has made.

        Raises:
            ConfigError: the loss is no sum over rows.
        """
        names = self.slots.dialogue.role_adapters if self.slots.dialogue else ()
        if not names:
            return
        if not self._rows_add_up:
            raise ConfigError(
                "rows of several roles are learned from one role after another, and this run's loss is no sum over rows",
                given=f"adapters of {', '.join(names)}, loss {type(self.slots.loss).__name__}",
                hint="one adapter for all roles",
            )
        self.roles = RoleAdapters.added(self.model, names)
        if self.args.disable_dropout:
            disable_dropout_in_model(self.model)  # TRL has done so before the later adapters were there

    @contextmanager
    def _completing(self, contexts: Sequence[Context]) -> Iterator[None]:
        """TRL's rollout inside has these rows; none where the model is asked without a dialogue."""
        if self.roles is not None:
            self._role_of_rows = [context.role for context in contexts]
            if not contexts:
                self.roles.activate(self.roles.roles[0])
        try:
            yield
        finally:
            self._role_of_rows = ()

    def _note_roles(self, output: dict[str, Any], contexts: Sequence[Context]) -> None:
        """Have the rows keep their roles wherever TRL shuffles and cuts them."""
        if self.roles is not None and contexts:
            numbers = [[self.roles.roles.index(context.role)] for context in contexts]
            output[_ROLE] = torch.tensor(numbers, device=output["completion_ids"].device)

    def _sampled_by_role(self, prompt_ids: Sequence[list[int]]) -> list[list[int]]:
        """A completion of each row's prompt, by the adapter of its role."""
        assert self.roles is not None
        completions: list[list[int]] = [[] for _ in prompt_ids]
        for role in self.roles.roles:
            places = [place for place, own in enumerate(self._role_of_rows) if own == role]
            if not places:
                continue
            self.roles.activate(role)
            engine = self.slots.engine(self.accelerator.unwrap_model(self.model_wrapped), self._tokenizer)
            said = sample_completions(engine, [prompt_ids[place] for place in places], self.sampling)
            for place, ids in zip(places, said, strict=True):
                completions[place] = ids
        return completions

    def _by_role(self, output: Mapping[str, Any]) -> Iterator[slice]:
        """Neighbouring rows of one role, in order; while a slice is out, their adapter is active. All rows where there are no
        roles."""
        if self.roles is None or _ROLE not in output:
            yield slice(None)
            return
        yield from self._runs([self.roles.roles[number] for number in output[_ROLE][:, 0].tolist()])

    def _runs(self, roles: Sequence[str]) -> Iterator[slice]:
        assert self.roles is not None
        start = 0
        for role, rows in groupby(roles):
            end = start + len(list(rows))
            self.roles.activate(role)
            yield slice(start, end)
            start = end

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        """As TRL's. With its adapters off, the reference is the base for all roles."""
        score = super()._get_per_token_logps_and_entropies  # type: ignore[misc]
        if not self._role_of_rows:
            return score(model, input_ids, attention_mask, *args, **kwargs)
        parts = [
            score(model, input_ids[rows], attention_mask[rows], *args, **kwargs)
            for rows in self._runs(self._role_of_rows)
        ]
        logps, entropies, _ = zip(*parts, strict=True)
        return torch.cat(logps), None if entropies[0] is None else torch.cat(entropies), None

    def _parts(self, inputs: Mapping[str, Any], mask: Tensor) -> Sequence[Tensor | None]:
        parts = super()._parts(inputs, mask)  # type: ignore[misc]
        if self.roles is None or _ROLE not in inputs:
            return parts
        numbers = inputs[_ROLE][:, 0]
        cut = []
        for part in parts:
            rows = torch.arange(len(mask), device=mask.device) if part is None else part
            cut += [rows[numbers[rows] == number] for number in numbers[rows].unique()]
        return cut

    def _part_loss(self, model: Any, inputs: Mapping[str, Any]) -> Tensor:
        """The adapter stays active afterwards: a backward pass may compute layers again (gradient checkpointing)."""
        if self.roles is not None and _ROLE in inputs:
            self.roles.activate(self.roles.roles[int(inputs[_ROLE][0, 0])])
        return super()._part_loss(model, inputs)  # type: ignore[misc]

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        if self.roles is not None:
            self.roles.learn()
        return super().create_optimizer(*args, **kwargs)  # type: ignore[misc]
