"""What a method is: a name, the paper, and the choices it presets. Anything it sets, a recipe or the command line overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Method:
    """A preset for one stage.

    Args:
        name: what users type.
        stage: the verb it belongs to: sft, train-rm, align or reason.
        summary: one line.
        paper: author, year and arXiv id of the source.
        settings: TRL config fields it sets (names as in TRL).
        slots: slot name -> component name, for methods of the loop; see `rlllm methods ls --slots`.
        notes: what differs from the paper, or must be known before use.
        family: what trains it, a name in `training.families`; the stage's own where it is empty.
        also: further stages that may name it.
        sections: presets of the stage's own sections, e.g. {"rollout": {"group_size": 1}}.
        reward: name of the reward it learns from, where it would be another method without it.
        example: further words of a command that runs, where the method cannot do without them.
    """

    name: str
    stage: str
    summary: str
    paper: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    slots: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    family: str = ""
    also: tuple[str, ...] = ()
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reward: str = ""
    example: str = ""
