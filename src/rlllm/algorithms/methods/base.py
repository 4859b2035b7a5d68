"""`Method`: a named preset. Whatever it sets, a recipe or the command line overrides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A named preset of a trainer. This is the only place where a method's texts and settings stand.

    Args:
        name: what users type.
        stages: the verbs that may name it, its own first: `pretrain`, `sft`, `train-rm`, `align`, `reason`.
        trainer: name in `rlllm.training.registry.TRAINERS`.
        summary: one line, shown in listings, plans and `rlllm methods show`.
        formula: the loss or advantage as plain text, in the notation of the docs page.
        paper: author, year and arXiv id of the source.
        page: docs page that explains and measures it: a path from the root of the repository, or an address.
        settings: TRL config fields it sets (names as in TRL).
        components: slot -> component name, where it differs from the default; see `rlllm methods ls --slots`.
        defaults: its values for sections of the stage's settings, e.g. {"rollout": {"group_size": 1}}.
        updates: optimizer steps on each rollout, where neither `steps_per_generation`, `generation_batch_size` nor
            `num_iterations` is given: more than 1 where the method is about importance ratios, which are 1 in the first.
        reward: name of the reward it learns from, where it would be another method without it.
        notes: what differs from the paper, or must be known before use.
        example: further words of a command that runs, where the method cannot do without them.
    """

    name: str
    stages: tuple[str, ...]
    trainer: str
    summary: str
    paper: str = ""
    formula: str = ""
    page: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    components: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    updates: int = 1
    reward: str = ""
    notes: str = ""
    example: str = ""


def links(method: Method) -> list[str]:
    """Addresses of the papers that `paper` names by their arXiv ids, in that order."""
    return [f"https://arxiv.org/abs/{number}" for number in re.findall(r"arXiv (\d{4}\.\d{4,5})", method.paper)]
