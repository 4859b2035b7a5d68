"""`rlllm rewards replay`: a run's stored completions under other rewards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import completion, console, options, overrides
from rlllm_cli.outcome import interval

if TYPE_CHECKING:
    from rlllm.tools.rewards_replay import Replayed

_PARTS = 8
"""Rows of the table over the steps."""


def replay(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run directory.", autocompletion=completion.runs)],
    rewards: Annotated[
        list[str],
        typer.Option(
            "--with",
            metavar="REWARD",
            help="Repeatable; a name, file.py:function, or a recipe file for several at once.",
            show_default=False,
            autocompletion=completion.rewards,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.jsonl", help="Write every sample with its new scores.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option("-n", min=0, help="How many of the most changed completions to show.")] = 5,
    seed: options.Seed = None,
    json: options.Json = False,
) -> None:
    """Score a run's stored completions with other rewards: what would scores, advantages and gradient signs have been?"""
    from rlllm.tools.rewards_replay import rescore

    replayed = rescore(run, overrides.read_rewards(rewards), out=out, shown=count, seed=seed or 0)
    if json:
        console.emit_json(replayed.to_json())
        return
    _show(replayed)
    if out is not None:
        console.say(f"{len(replayed.rows)} samples with their new scores: {out}")


def _show(replayed: Replayed) -> None:
    console.fields(
        [
            ("run", replayed.run),
            ("samples", f"{replayed.samples} in {replayed.groups} groups"),
            ("advantage", replayed.advantage),
        ]
    )
    if replayed.left_out:
        console.say(f"{replayed.left_out} completions left out: their groups are not stored whole")
    for note in replayed.notes:
        console.say(f"note: {note}")
    for result in replayed.rewards:
        console.emit("")
        console.heading(f"with {result['name']}")
        console.fields(_fields(result))
        console.emit("")
        console.table(("steps", "before", "after", "sign flipped"), _steps(result["steps"]))
        for changed in result["most_changed"]:
            _show_changed(changed)


def _fields(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    judged, mean, signs, groups = (result[name] for name in ("judged", "mean", "signs", "groups"))
    yield "judged", f"{judged['before']} -> {judged['after']} of {result['scored']}"
    yield "mean", f"{_number(mean['before'])} -> {_number(mean['after'])}, change {interval(result['change'])}"
    for then, row in result["confusion"].items():
        if any(row.values()):
            yield f"{then} before", ", ".join(f"{count} {now}" for now, count in row.items())
    yield (
        "rank correlation",
        f"scores {_number(result['rank_correlation'])}, advantages {_number(result['advantage_correlation'])}",
    )
    yield (
        "gradient signs",
        f"{signs['flipped']:.1%} flipped, {signs['silenced']:.1%} to none, {signs['awakened']:.1%} from none, "
        f"{signs['same']:.1%} as before",
    )
    yield (
        "zero-variance groups",
        f"{groups['flat']['before']:.1%} -> {groups['flat']['after']:.1%} of {groups['count']}: "
        f"{groups['become_flat']:.1%} become zero-variance, {groups['become_mixed']:.1%} informative",
    )
    for name, errors in result["errors"].items():
        yield "errors", f"{name} failed on {errors} completions"


def _steps(steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """The steps in at most eight parts, each with the means over its steps."""
    size = -(-len(steps) // _PARTS)
    parts = [steps[start : start + size] for start in range(0, len(steps), size)]
    return [
        (
            f"{part[0]['step']:g} to {part[-1]['step']:g}",
            _number(_mean([step["before"] for step in part])),
            _number(_mean([step["after"] for step in part])),
            f"{_mean([step['flipped'] for step in part]):.1%}",
        )
        for part in parts
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _show_changed(row: Mapping[str, Any]) -> None:
    from rlllm.core.records import prompt_text

    new = row["replayed"]
    console.emit("")
    console.heading(
        f"step {row['step']:g}  reward {_number(row['reward'])} -> {_number(new['reward'])}  "
        f"advantage {new['advantage_before']:+.3f} -> {new['advantage']:+.3f}"
    )
    scores = [
        (name, ", ".join(f"{key} {value}" for key, value in score.items() if value is not None))
        for name, score in new["rewards"].items()
    ]
    parts = [
        ("prompt", prompt_text(row["prompt"])),
        ("completion", row["completion"]),
        ("answer", row["answer"]),
        *scores,
    ]
    console.fields((label, value) for label, value in parts if value is not None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
