"""What a verb says that is typed without anything: what it needs, and three lines to begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlllm_cli.invocation import program


class Usage(NamedTuple):
    """The usage of one verb.

    Args:
        needs: what has to be named.
        examples: three command lines, without the program.
    """

    needs: str
    examples: tuple[str, str, str]


USAGE: Mapping[str, Usage] = {
    "pretrain": Usage(
        "a recipe, or a model and a text: a file, a folder, a table with a column of texts, or a Hub id",
        (
            "pretrain quickstart",
            "pretrain --model nano --data text:rlllm --max_steps 60 --learning_rate 2e-4",
            "pretrain --method plain --model nano --data text:rlllm --max_steps 60 --learning_rate 1e-3",
        ),
    ),
    "sft": Usage(
        "a recipe, or a model and data with example completions",
        (
            "sft quickstart",
            "sft --model nano --data arithmetic --max_steps 100 --learning_rate 1e-4",
            "sft --model nano --data arithmetic lora.r=16 --max_steps 100 --learning_rate 1e-3",
        ),
    ),
    "train-rm": Usage(
        "a recipe, or a model and data with preference pairs (labelled steps for --kind process)",
        (
            "train-rm quickstart",
            "train-rm --model nano --data arithmetic --max_steps 100 --learning_rate 1e-4",
            "train-rm --kind process --model nano --data arithmetic --max_steps 100 --learning_rate 1e-3",
        ),
    ),
    "align": Usage(
        "a recipe, or a model with preference data, or with prompts and a reward (--method ppo and others)",
        (
            "align quickstart",
            "align --model nano --data arithmetic --method dpo --max_steps 100 --learning_rate 1e-4",
            "align --model nano --data arithmetic --method ppo --reward exact --max_steps 60 --learning_rate 1e-4",
        ),
    ),
    "reason": Usage(
        "a recipe, or a model and data whose answers a reward can check",
        (
            "reason quickstart",
            "reason quickstart method=dr-grpo",
            "reason --model nano --data arithmetic --reward exact --max_steps 60 --learning_rate 2e-4",
        ),
    ),
    "eval": Usage(
        "a model, and tasks, data or a recipe to measure it on",
        (
            "eval arithmetic --model nano",
            "eval --model nano --data arithmetic --samples 4",
            "eval arithmetic --model nano data.level=3 --samples 4",
        ),
    ),
}

_SAYS_NOTHING = frozenset({"output_dir", "seed", "fail_on"})
"""Settings that do not say what to train or to measure."""


def is_bare(recipe: str | None, keys: Sequence[str]) -> bool:
    """Whether a line names nothing to train or to measure.

    Args:
        recipe: the recipe, if one is named.
        keys: of all settings that are typed.
    """
    return recipe is None and _SAYS_NOTHING.issuperset(key.replace("-", "_") for key in keys)


def usage_lines(verb: str, summary: str) -> list[str]:
    """The usage of a verb, as lines for a person."""
    name, usage = program(), USAGE[verb]
    return [
        f"usage: {name} {verb} [{'TASK|' if verb == 'eval' else ''}RECIPE] [KEY=VALUE ...] [--KEY VALUE ...]",
        "",
        summary,
        f"It needs {usage.needs}. For example:",
        "",
        *(f"  {name} {example}" for example in usage.examples),
        "",
        f"recipes: {name} recipes ls; every setting: {name} {verb} --help; add --dry-run to see what a line would do",
    ]
