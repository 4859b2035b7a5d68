"""One frozen backbone for all models of PPO: policy, reference, critic and reward models differ by their adapters and heads.

The policy's adapter is PEFT's `default`; with all adapters off the backbone is the reference. Any other adapter is active
only inside the forward pass that needs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

_POLICY = "default"
_HEAD = "base_model.model.score.weight"


@dataclass(frozen=True)
class Trunk:
    """The backbone under one adapter: hidden states, no head.

    Args:
        model: the policy, a PeftModel of a causal language model.
        adapter: name of the adapter.
    """

    model: Any
    adapter: str

    def __call__(self, **inputs: Any) -> Any:
        base = self.model.get_base_model()
        trunk = getattr(base, base.base_model_prefix)
        with active(self.model, self.adapter), _whole_graph(trunk):
            return trunk(**inputs)

    def named_parameters(self) -> list[tuple[str, Any]]:
        """The adapter's own weights."""
        return [(name, p) for name, p in self.model.named_parameters() if f".{self.adapter}." in name]


@dataclass(frozen=True)
class AdapterScorer:
    """A reward model on the shared backbone, with the part of a sequence classifier's interface that scoring uses."""

    trunk: Trunk
    head: Any

    @property
    def device(self) -> Any:
        return self.trunk.model.device

    @property
    def config(self) -> Any:
        return self.trunk.model.config

    @property
    def training(self) -> bool:
        return bool(self.trunk.model.training)

    def train(self, mode: bool = True) -> None:
        """Switch dropout, which all adapters of the backbone share."""
        self.trunk.model.train(mode)

    def eval(self) -> None:
        """Score without dropout."""
        self.train(False)

    def __call__(self, *, input_ids: Tensor, attention_mask: Tensor, use_cache: bool) -> Any:
        """`logits` (B, 1) at each sequence's last real token; padding is on the right."""
        hidden = self.trunk(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache).last_hidden_state
        last = attention_mask.sum(1) - 1
        ends = hidden[torch.arange(len(last), device=hidden.device), last]
        return SimpleNamespace(logits=self.head(ends.to(self.head.weight.dtype)))


@contextmanager
def _whole_graph(trunk: Any) -> Iterator[None]:
    """Run without gradient checkpointing: the backward pass would compute the layers again, under the policy's adapter."""
    checkpointed = [module for module in trunk.modules() if getattr(module, "gradient_checkpointing", False)]
    for module in checkpointed:
        module.gradient_checkpointing = False
    try:
        yield
    finally:
        for module in checkpointed:
            module.gradient_checkpointing = True


@contextmanager
def active(model: Any, adapter: str) -> Iterator[None]:
    """Run with one adapter and come back to the policy's.

    PEFT takes gradients away from adapters it switches off, and a backward pass that follows would drop theirs: what could
    learn before can learn afterwards.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.set_adapter(adapter)
    _learn(model, learning)
    try:
        yield
    finally:
        model.set_adapter(_POLICY)
        _learn(model, learning)


def _learn(model: Any, parameters: list[Any]) -> None:
    chosen = {id(parameter) for parameter in parameters}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in chosen)


def adapter_of(run_model: Path, base: str) -> Path | None:
    """The adapter that is a run's model, or lies beside the merged one, if it was trained on this base; None otherwise."""
    folders = (run_model, run_model.parent / "adapter")
    folder = next((folder for folder in folders if (folder / "adapter_config.json").is_file()), None)
    if folder is None:
        return None
    settings = folder / "adapter_config.json"
    trained_on = json.loads(settings.read_text(encoding="utf-8"))["base_model_name_or_path"]
    return folder if Path(trained_on).resolve() == Path(base).resolve() else None


def new_adapter(model: Any, name: str, config: Any) -> tuple[Trunk, Any]:
    """A fresh adapter and a zero head: the backbone as it is, and every value 0."""
    model.add_adapter(name, config)
    head = torch.nn.Linear(model.config.get_text_config().hidden_size, 1, bias=False)
    torch.nn.init.zeros_(head.weight)
    return _placed(model, name, head)


def stored_adapter(model: Any, name: str, folder: Path) -> tuple[Trunk, Any]:
    """The adapter and head of a reward model trained with `lora`."""
    from safetensors.torch import load_file

    model.load_adapter(str(folder), adapter_name=name)
    weight = load_file(folder / "adapter_model.safetensors")[_HEAD]
    head = torch.nn.Linear(weight.size(1), 1, bias=False)
    head.weight.data.copy_(weight)
    return _placed(model, name, head)


def _placed(model: Any, name: str, head: Any) -> tuple[Trunk, Any]:
    trunk = Trunk(model, name)
    for _, parameter in trunk.named_parameters():
        parameter.requires_grad_(False)
    model.set_adapter(_POLICY)
    return trunk, head.to(model.device).requires_grad_(False)
