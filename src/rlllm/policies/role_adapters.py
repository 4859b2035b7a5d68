"""One LoRA adapter for each role, all on one base: which of them computes, and where they are stored.

The first role's adapter is PEFT's first: TRL makes it, and merged models and checkpoints have it where a single one is. Imports
no torch, so that a stored model can be checked when an evaluation is planned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlllm.core.errors import ModelError
from rlllm.core.runs import file_hash
from rlllm.policies.adapters import FIRST, save_adapter
from rlllm.policies.model_sources import ModelSource, resolve_model

FOLDER = "adapters"
"""In a model's folder: a folder of PEFT's for each role."""


@dataclass(frozen=True)
class RoleAdapters:
    """Adapters on a model.

    Args:
        model: a PeftModel with one adapter for each role.
        roles: the first one's adapter is PEFT's first, the others have the names of their roles.
    """

    model: Any
    roles: Sequence[str]

    @classmethod
    def added(cls, model: Any, roles: Sequence[str]) -> RoleAdapters:
        """Give every role after the first an adapter like the first one's, which changes nothing yet."""
        for role in roles[1:]:
            model.add_adapter(role, deepcopy(model.peft_config[FIRST]))
        return cls(model, tuple(roles))

    def activate(self, role: str) -> None:
        """Have the passes that follow computed with a role's adapter, which alone takes gradients in them."""
        self.model.set_adapter(self._name(role))

    def learn(self) -> None:
        """Have the adapters of all roles take gradients, as an optimizer that is made now has to find them."""
        self.model.set_requires_grad([self._name(role) for role in self.roles])

    def save(self, folder: Path) -> None:
        """Write a folder for each role."""
        for role in self.roles:
            save_adapter(self.model, folder / role, self._name(role))

    def _name(self, role: str) -> str:
        return FIRST if role == self.roles[0] else role


@dataclass(frozen=True)
class StoredRoles:
    """Adapters that stand in a model's folder.

    Args:
        folders: role -> folder of its adapter, in the order of the roles.
        base: the model that they were trained on.
    """

    folders: Mapping[str, Path]
    base: ModelSource

    @property
    def identity(self) -> dict[str, Any]:
        """What the roles compute depends on, as JSON values."""
        hashes = {role: file_hash(folder / _WEIGHTS) for role, folder in self.folders.items()}
        return {"base": [self.base.reference, self.base.fingerprint()], "adapters": hashes}


_WEIGHTS = "adapter_model.safetensors"


def stored_roles(model: Path | None, roles: Sequence[str]) -> StoredRoles | None:
    """The adapters of these roles in a model's folder; None where it has none.

    Args:
        model: a folder; None for a model of the Hub.

    Raises:
        ModelError: one is missing, or their base cannot be used.
    """
    if model is None or not (model / FOLDER).is_dir():
        return None
    folders = {role: model / FOLDER / role for role in roles}
    missing = [role for role, folder in folders.items() if not (folder / _WEIGHTS).is_file()]
    if missing:
        raise ModelError(
            f"the model lacks the adapter of the {missing[0]}",
            given=f"{model / FOLDER}",
            exists=sorted(path.name for path in (model / FOLDER).iterdir()),
        )
    base = resolve_model(str(folders[roles[0]])).base
    assert base is not None, "an adapter has a base"
    return StoredRoles(folders, base)
