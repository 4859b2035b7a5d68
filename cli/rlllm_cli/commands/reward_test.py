"""`rlllm rewards test`: options become settings, and the card is printed as text or as one JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import completion, console, options, outcome
from rlllm_cli.progress import listening

if TYPE_CHECKING:
    from rlllm.training.reward_findings import Card, Example


Reward = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A name, file.py:function, a reward model, or {name: ..., ...} with arguments.",
        show_default=False,
        autocompletion=completion.rewards,
    ),
]
Cases = Annotated[
    Path | None,
    typer.Option(
        "--cases", metavar="FILE", help="Rows with prompt, completion and label or score.", show_default=False
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Rows with prompt and answer, to derive cases from; NAME#N takes N rows.",
        show_default=False,
        autocompletion=completion.datasets,
    ),
]
Style = Annotated[
    str | None,
    typer.Option(
        "--style", metavar="NAME", help="Mark answers as: hash, boxed, tag, fence, plain.", show_default=False
    ),
]


def reward_test(
    reward: Reward,
    cases: Cases = None,
    data: Data = None,
    columns: options.Columns = None,
    style: Style = None,
    accept: Annotated[float, typer.Option("--accept", metavar="SCORE", help="Least score that passes.")] = 1.0,
    min_precision: Annotated[
        float, typer.Option("--min-precision", metavar="SHARE", help="Least share of right ones in what passes.")
    ] = 0.99,
    min_recall: Annotated[
        float, typer.Option("--min-recall", metavar="SHARE", help="Least share of right ones that pass.")
    ] = 0.95,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the order of the second scoring.")] = 0,
    json: options.Json = False,
) -> None:
    """Try a reward on right, wrong, rewritten and hostile answers; write its card."""
    from rlllm.core.errors import ConfigError
    from rlllm.tools.rewards_test import RewardTestConfig, run_reward_test

    if columns is not None and data is None:
        raise ConfigError("--columns says what the columns of --data are", given=columns, hint="add --data FILE")
    config = RewardTestConfig.of(
        reward,
        cases=cases,
        data=None if data is None else {"name": data, **({"columns": columns} if columns else {})},
        style=style,
        accept=accept,
        min_precision=min_precision,
        min_recall=min_recall,
        seed=seed,
    )
    with listening() as listener:
        tested = run_reward_test(config, listener)
    card = tested.card
    if json:
        console.emit_json({**card.to_json(), "path": str(tested.path)})
    else:
        _show(card, tested.path)
    if not card.ok:
        raise typer.Exit(1)


def _show(card: Card, path: Path) -> None:
    console.heading(f"{card.reward}: {'passes' if card.ok else 'FAILS'}")
    console.fields([*_lines(card), ("card", path)])
    console.emit("")
    console.table(
        ("kind", "expected", "cases", "passed", "mean", "None", "errors"),
        [
            (row.kind, row.expected, row.n, row.passed, row.mean, row.unjudged or None, row.errors or None)
            for row in card.kinds
        ],
    )
    for name, examples in card.examples.items():
        console.emit("")
        console.heading(f"{name}, for example")
        for example in examples:
            console.fields(_of_example(example))
            console.emit("")
    for reason in card.reasons:
        console.say(f"error: {reason}")


def _lines(card: Card) -> Iterator[tuple[str, Any]]:
    marked = f"; answers marked as: {card.style}" if card.style else ""
    yield "cases", f"{card.n}, {card.cases}{marked}"
    if card.recall:
        yield "precision", f"{outcome.interval(card.precision)}, {card.false_accepts} false accepts"
        yield "recall", f"{outcome.interval(card.recall)}, {card.false_rejects} false rejects"
    elif card.false_accepts:
        yield "precision", f"{outcome.interval(card.precision)}, {card.false_accepts} false accepts"
    if card.as_stated:
        yield "scores as stated", outcome.interval(card.as_stated)
    yield "errors", f"{card.errors} ({card.errors / card.n:.1%})"
    yield "None", f"{card.unjudged} ({card.unjudged / card.n:.1%})"
    yield "scored again", f"{card.changed} changed" if card.changed else "the same"
    yield "latency", ", ".join(f"{name} {value:.3g}" for name, value in card.latency_ms.items()) + " ms"
    correlated = card.length_correlation
    yield "score and length", "no relation, the label held fixed" if correlated is None else f"r = {correlated:+.3f}"


def _of_example(example: Example) -> Iterator[tuple[str, Any]]:
    yield "kind", example.kind
    yield "completion", repr(example.completion)
    yield "expected", example.expected
    if example.answer is not None:
        yield "reference", example.answer
    read = f", read as {example.parsed!r}" if example.parsed is not None else ""
    yield "given", f"{'None' if example.value is None else format(example.value, 'g')}{read}"
    if example.note:
        yield "note", example.note
