"""Dropout that is no module: a number that a layer hands to a function. TRL's `disable_dropout` finds modules only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_functional_dropout(model: Any) -> Iterator[None]:
    """Run with every dropout rate of a model's layers and config at 0, and put the rates back, which the saved config needs.

    OPT, Bloom and others drop by `functional.dropout(x, p=self.dropout)`; layers that are dropped whole have a rate as well.
    """
    rates = [
        (owner, name, rate)
        for owner in (*model.modules(), *_configs(model))
        for name, rate in list(vars(owner).items())
        if "drop" in name and isinstance(rate, float) and rate > 0
    ]
    for owner, name, _ in rates:
        setattr(owner, name, 0.0)
    try:
        yield
    finally:
        for owner, name, rate in rates:
            setattr(owner, name, rate)


def _configs(model: Any) -> list[Any]:
    """The config of a model and that of its text part, each once."""
    config = model.config
    text = config.get_text_config()
    return [config] if text is config else [config, text]
