"""The engine protocol: the base class of everything that samples completions, its checks, and how it is called.

Imports no torch, so that an engine can be checked when a run is planned.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rlllm.core.errors import ConfigError, PluginError, closest
from rlllm.core.plugin_errors import plugin_boundary
from rlllm.core.watchdog import sign
from rlllm.policies.chat import stop_ids
from rlllm.policies.vision import PromptWithImages
from rlllm.rollouts.config import SamplingConfig

TokenIds = Sequence[int]


class Engine(ABC):
    """Samples completions with a causal language model. Engines of users inherit from it and write `generate`.

    An engine is made anew for each rollout of a training run, so that it sees the current weights; keep what is expensive and
    does not depend on them in the class or the module. Attributes that are not declared here begin with an underscore. Any
    other is refused when the run is planned, since it may be misspelt, and so is a method whose name is nearly a declared one.

    Args:
        model: a transformers causal language model, perhaps with adapters, on its device, in training or evaluation mode.
        tokenizer: its tokenizer, with a padding token.
    """

    tier: str = ""
    """How the engine decodes this model, where it has several ways; shown in the notes of a run."""
    reason: str = ""
    """Why it does not decode in its best way, as part of a sentence; empty where it does. Shown after `tier`."""

    reads_images: bool = False
    """Whether `generate` takes prompts with images: `rlllm.policies.vision.PromptWithImages`, lists of ids that know them."""

    reports_logps: bool = False
    """Whether `generate` sets `logps`; the mismatch between sampler and trainer is then measured, and can be corrected."""
    logps: list[list[float]] | None = None
    """Of the last `generate`, for each completion and token its log-probability in nats in the distribution that it was drawn
    from, so after temperature, `top_k` and `top_p`; nan where one is not known. None: the last call reports none."""
    seeds: Sequence[int] | None = None
    """Of each prompt of the next `generate`, the seed that an engine may draw its completion from: it depends on no completion
    beside it then. With None, or an engine that cannot do so, draws are from torch's global random generator."""
    metrics: Mapping[str, float] = MappingProxyType({})
    """What to log of the last rollout beside the run's own numbers, such as how long weights took to arrive."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer

    @abstractmethod
    def generate(self, prompts: Sequence[TokenIds], sampling: SamplingConfig) -> list[list[int]]:
        """One completion for each prompt, in the order of `prompts`.

        It draws from torch's global random generator, which the caller has seeded, takes no gradient, and leaves the model in
        the mode it was in. Settings of `sampling` that it does not support are refused with a ConfigError.

        Args:
            prompts: token ids of each prompt, without padding; lengths differ, equal prompts stand side by side (one for each
                sample of a group).
            sampling: `max_new_tokens` (at least 1), `temperature` (0 is greedy), `top_p`, `top_k` (0 is all tokens) and
                `batch_size`, the number of completions to decode at once.

        Returns:
            Token ids of each completion, without the prompt: 1 to `max_new_tokens` of them, up to and including the first token
            of `stop_ids()`. A completion without such a token counts as truncated.
        """

    def sync(self) -> None:
        """Bring the model's weights to where they sample, where that is not the model itself. Called by every process of a run
        before a rollout, by the first one first; a process that samples alone need not call it."""
        return

    def stop_ids(self) -> set[int]:
        """Every token that ends a completion: the tokenizer's, the generation config's and the end of turn of the template."""
        return stop_ids(self.model, self.tokenizer)


_DECLARED = (
    "generate",
    "sync",
    "stop_ids",
    "tier",
    "reason",
    "reads_images",
    "reports_logps",
    "logps",
    "seeds",
    "metrics",
    "model",
    "tokenizer",
)
_NEARLY = 0.8
"""Similarity from which the name of a helper method is taken for a misspelt one."""
_CALLS: dict[str, tuple[str, ...]] = {
    "__init__": ("model", "tokenizer"),
    "generate": ("prompts", "sampling"),
    "sync": (),
    "stop_ids": (),
}
"""Method -> the positional arguments it is called with."""


def checked_engine(kind: Any, name: str) -> type[Engine]:
    """The class behind an engine's name, after a check of its base class, its methods and its attributes. Makes no instance.

    Args:
        kind: what was loaded under that name.
        name: name of the engine, for messages.

    Raises:
        ConfigError: no class derived from `Engine`, no `generate`, a method that cannot be called as it will be, or a public
            attribute that no engine has.
    """
    if not (inspect.isclass(kind) and issubclass(kind, Engine)):
        raise ConfigError(
            f"{name} is not an engine",
            given=kind.__name__ if inspect.isclass(kind) else f"a {type(kind).__name__}",
            hint="from rlllm.plugins import Engine; class MyEngine(Engine), with the method generate(self, prompts, sampling)",
        )
    if inspect.isabstract(kind):
        raise ConfigError(
            f"the engine {name} has no method generate",
            given=kind.__name__,
            hint="def generate(self, prompts, sampling)",
        )
    for attribute in _added_attributes(kind):
        is_helper = callable(getattr(kind, attribute, None))
        near = closest(attribute, _DECLARED, cutoff=_NEARLY if is_helper else 0.6)
        if near or not is_helper:
            raise ConfigError(
                f"the engine {name} has an attribute that no engine has: {attribute}",
                exists=_DECLARED,
                hint=f"did you mean {near}?" if near else f"name it _{attribute} if it is your own",
            )
    for method, arguments in _CALLS.items():
        _check_call(kind, name, method, arguments)
    return kind


def sample_completions(
    engine: Engine, prompts: Sequence[TokenIds], sampling: SamplingConfig, name: str | None = None
) -> list[list[int]]:
    """`engine.generate(prompts, sampling)`, with an exception attributed to the engine and the result checked.

    Args:
        name: name of the engine, for messages; default: that of its class.

    Returns:
        Token ids of one completion for each prompt, in order; none is empty.

    Raises:
        PluginError: the engine raised an exception, or returned something else.
        ConfigError: prompts have images, and the engine reads text.
    """
    name = name or type(engine).__name__
    if any(isinstance(prompt, PromptWithImages) for prompt in prompts) and not engine.reads_images:
        raise blind(name)
    with plugin_boundary("engine", name, engine):
        sign(work=None)
        completions = engine.generate(prompts, sampling)
    sign()
    problem = _problem(completions, len(prompts))
    if problem:
        raise PluginError(
            f"the engine {name} returned {problem}",
            hint="generate returns a list with at least one token id for each prompt, in the order of the prompts",
        )
    return completions


def sampled_logps(engine: Engine, completions: Sequence[TokenIds], name: str | None = None) -> list[list[float]] | None:
    """What the engine reports of the completions that it just returned; None where it reports nothing.

    Raises:
        PluginError: an engine with `reports_logps` has one number for each token of each completion, and this one has not.
    """
    if not engine.reports_logps or engine.logps is None:
        return None
    given = [len(row) for row in engine.logps]
    wanted = [len(ids) for ids in completions]
    if given != wanted:
        numbers = f"{len(given)} rows for {len(wanted)} completions"
        if len(given) == len(wanted):
            place = next(at for at, length in enumerate(wanted) if given[at] != length)
            numbers = f"{given[place]} numbers for the {wanted[place]} tokens of completion {place + 1}"
        raise PluginError(
            f"the engine {name or type(engine).__name__} reports log-probabilities that do not fit: {numbers}",
            hint="generate sets self.logps to a list of one float for each token of each completion, nan where unknown",
        )
    return engine.logps


def blind(name: str) -> ConfigError:
    """What to say of an engine that is given images and reads text."""
    return ConfigError(
        f"the engine {name} reads text, and prompts have images",
        given="reads_images = False",
        hint="engine=hf, or native, which gives such prompts to it",
    )


def refuse_blind(kind: type[Engine], name: str) -> None:
    """Raise ConfigError for an engine that takes no prompts with images."""
    if not kind.reads_images:
        raise blind(name)


def _problem(completions: Any, prompts: int) -> str | None:
    """Why this is no list of completions, as a phrase; None if it is one."""
    if not isinstance(completions, list | tuple):
        return f"{type(completions).__name__}, not a list of lists of token ids"
    if len(completions) != prompts or not all(map(len, completions)):
        return f"{sum(len(ids) > 0 for ids in completions)} completions for {prompts} prompts"
    for number, ids in enumerate(completions):
        if not isinstance(ids, list | tuple) or any(type(ids[place]) is not int for place in (0, -1)):
            return f"no list of token ids as completion {number + 1} of {prompts}: {type(ids).__name__} {str(ids)[:60]}"
    return None


def _added_attributes(kind: type[Engine]) -> list[str]:
    """Public names that the classes below `Engine` define and that it does not declare."""
    below = kind.__mro__[: kind.__mro__.index(Engine)]
    names = dict.fromkeys(name for base in below for name in (*vars(base), *inspect.get_annotations(base)))
    return [name for name in names if not name.startswith("_") and name not in _DECLARED]


def _check_call(kind: type[Engine], name: str, method: str, arguments: Sequence[str]) -> None:
    function = getattr(kind, method)
    try:
        inspect.signature(function).bind(None, *arguments)
    except TypeError as error:
        wanted = ", ".join(("self", *arguments))
        raise ConfigError(
            f"{method} of the engine {name} cannot be called with {' and '.join(arguments) or 'no arguments'}: {error}",
            given=f"{method}{inspect.signature(function)}",
            hint=f"def {method}({wanted})",
        ) from error
    except ValueError:  # a method without a signature, such as one of an extension module
        return
