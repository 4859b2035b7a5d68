"""Models of an evaluation: each is loaded once, when it is first needed, and identified by a hash for the sample cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rlllm.core.hardware import Hardware
from rlllm.core.records import fingerprint
from rlllm.core.runs import file_hash
from rlllm.policies.model_sources import ModelSource
from rlllm.policies.role_adapters import StoredRoles

_CONTENT_SUFFIXES = {".safetensors", ".json", ".jinja", ".model", ".txt"}
"""Files of a model folder that shape what it writes: weights, settings, tokenizer, template."""


@dataclass
class LoadedModels:
    """Policies of an evaluation, each loaded once, when first asked for."""

    hardware: Hardware
    choose: Callable[[Any], Hardware]
    """Chooses threads and matrix product for the first model that is loaded; they hold for the others, too."""
    check: Callable[[ModelSource, Any, Any], None]
    """Called with source, model and tokenizer of each model that is loaded."""
    loaded: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    identities: dict[str, str | None] = field(default_factory=dict)

    def loader(self, source: ModelSource, roles: StoredRoles | None = None) -> Callable[[], tuple[Any, Any]]:
        """Gives the (causal model, tokenizer) of a source; with roles, its tokenizer and the model with their adapters."""
        return partial(self._get, source, roles)

    def identity(self, source: ModelSource) -> str | None:
        """Hash of a model's files, device and precision; None for a Hub id that does not say which commit it loaded."""
        if source.reference not in self.identities:
            content = (
                [part for folder in _folders(source) for part in _content(folder)]
                if source.folder
                else self._commit(source)
            )
            described = [content, self.hardware.device, self.hardware.bf16, source.loading.model_dump()]
            self.identities[source.reference] = fingerprint(described) if content else None
        return self.identities[source.reference]

    def _commit(self, source: ModelSource) -> str | None:
        return getattr(self._get(source)[0].config, "_commit_hash", None)

    def _get(self, source: ModelSource, roles: StoredRoles | None = None) -> tuple[Any, Any]:
        from rlllm.policies.loading import load_policy, load_roles, load_tokenizer, placed

        key = source.reference if roles is None else f"{source.reference} by {', '.join(roles.folders)}"
        if key not in self.loaded:
            bf16 = self.hardware.bf16
            model = load_policy(source, bf16=bf16) if roles is None else load_roles(roles, bf16=bf16)
            model = placed(model, self.hardware)
            if not self.loaded:
                self.hardware = self.choose(model)
            tokenizer = load_tokenizer(source)
            self.check(source, model, tokenizer)
            self.loaded[key] = (model, tokenizer)
        return self.loaded[key]


def _folders(source: ModelSource) -> Iterator[Path]:
    """The folder of a model, and under an adapter those of its bases."""
    if source.folder is not None:
        yield source.folder
    if source.base is not None:
        yield from _folders(source.base)


def _content(folder: Path) -> list[list[str]]:
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _CONTENT_SUFFIXES)
    return [[path.name, file_hash(path)] for path in paths]
