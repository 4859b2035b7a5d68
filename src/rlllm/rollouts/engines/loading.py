"""Engines by name: load the class, check it, and make one for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.plugin_errors import plugin_boundary
from rlllm.rollouts.config import EngineSettings, ServingConfig
from rlllm.rollouts.engines.base import Engine, blind, checked_engine, refuse_blind
from rlllm.rollouts.engines.choice import ASKING, FIXED, OUTSIDE, START, chosen_engine, missing
from rlllm.rollouts.registry import ENGINES, SILENT_ENGINES


def check_engine(
    name: str,
    *,
    images: bool = False,
    settings: EngineSettings | None = None,
    trains: bool = False,
    serving: Sequence[str] = (),
) -> None:
    """Check the engine of a recipe when a run is planned. One that ships with rlllm is not imported, since that loads torch.

    Args:
        images: whether prompts have images.
        settings: where it samples; None where nothing says.
        trains: whether the model's weights change between rollouts.
        serving: settings of `rollout.serving` that are read though the engine samples in this process.

    Raises:
        RlllmError: as `load_engine`, this machine lacks something for it, it takes no images, or servers are named for an
            engine that asks none, or none for one that does.
    """
    name = chosen_engine(name)[0]
    if name not in ENGINES.builtins:
        kind = load_engine(name)
        if images:
            refuse_blind(kind, name)
    elif images and name in OUTSIDE:
        raise blind(name)
    lacks = missing(name)
    if lacks is not None:
        raise ConfigError(
            f"the engine {name} cannot run here: {lacks}",
            given=f"rollout.engine={name}",
            hint="rollout.engine=auto takes the best that can; rlllm doctor says what each lacks",
        )
    if trains and name in FIXED:
        raise ConfigError(
            f"the engine {name} samples with a model that cannot be given weights, so it would not be the policy that learns",
            given=f"rollout.engine={name}",
            hint="rollout.engine=vllm-server; rlllm eval takes it",
        )
    servers = [] if settings is None else settings.servers
    if name in ASKING and not servers:
        raise ConfigError(
            f"the engine {name} samples with servers, and none is named",
            given=f"rollout.engine={name}",
            hint=f"rollout.servers=http://localhost:8000 after: {START}",
        )
    if servers and name not in ASKING:
        raise ConfigError(
            f"the engine {name} asks no servers",
            given=f"rollout.servers={','.join(servers)}",
            hint="rollout.engine=vllm-server",
        )
    if settings is not None and name not in OUTSIDE:
        _refuse_unread(name, settings.serving, serving)


def _refuse_unread(name: str, settings: ServingConfig, read: Sequence[str]) -> None:
    given = settings.model_dump(exclude_defaults=True, exclude=set(read))
    if not given:
        return
    but = f" but {' and '.join(read)}" if read else ""
    raise ConfigError(
        f"the engine {name} samples in this process, from the model itself, and reads nothing of rollout.serving{but}",
        given=", ".join(f"rollout.serving.{key}={value}" for key, value in given.items()),
        exists=OUTSIDE,
        hint="leave them out, or name the engine",
    )


def reports_logps(name: str) -> bool:
    """Whether an engine reports log-probabilities of what it samples. One that ships with rlllm is not imported for that.

    Raises:
        RlllmError: as `load_engine`.
    """
    name = chosen_engine(name)[0]
    return name not in SILENT_ENGINES if name in ENGINES.builtins else load_engine(name).reports_logps


def load_engine(name: str) -> type[Engine]:
    """The class of an engine.

    Raises:
        UnknownNameError: nobody knows the name.
        ConfigError: a file that does not import, or a class that is no engine; see `checked_engine`.
        PluginError: an installed plugin is broken.
    """
    return checked_engine(ENGINES.load(name), name)


def open_engine(name: str, model: Any, tokenizer: Any, settings: EngineSettings | None = None) -> Engine:
    """An engine for a model.

    Args:
        settings: servers and how they are asked, which engines read that sample outside of the model; others need none.

    Raises:
        RlllmError: as `load_engine`, or its constructor raised an exception (PluginError).
    """
    name = chosen_engine(name)[0]
    kind: Any = load_engine(name)
    with plugin_boundary("engine", name, kind):
        return kind(model, tokenizer, settings) if name in OUTSIDE else kind(model, tokenizer)
