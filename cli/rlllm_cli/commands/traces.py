"""`rlllm traces`: check, show and score traces of agents, and get them from runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rlllm_cli import completion, console, options, overrides

app = typer.Typer(no_args_is_help=True, help="Traces of agents: check, show, score, export, capture.")
Place = Annotated[
    Path,
    typer.Argument(
        metavar="FILE|RUN", help="A file of traces, or a run with an environment.", autocompletion=completion.runs
    ),
]


class Credit(StrEnum):
    """What an advantage is given to."""

    team = "team"
    agent = "agent"
    role = "role"
    orchestrator = "orchestrator"
    turn = "turn"
    tool = "tool"


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, a trace each.")], json: options.Json = False
) -> None:
    """Check every line against the schema, and say where it does not fit."""
    from rlllm.core.errors import DataError
    from rlllm.core.traces import lines, parse

    faults, good = [], 0
    for place, value in lines(file):
        try:
            parse(value, place)
            good += 1
        except DataError as error:
            faults.append(error.what)
    if json:
        console.emit_json({"ok": not faults, "traces": good, "faults": faults})
    else:
        for fault in faults:
            console.emit(fault)
        console.emit(f"{good} of {good + len(faults)} traces fit the schema")
    if faults or not good:
        raise typer.Exit(1)


@app.command()
def show(
    place: Place,
    trace: Annotated[list[str] | None, typer.Option("--trace", metavar="ID", help="Only this one. Repeatable.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many, from the first.")] = 1,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Also write them as an HTML page.")
    ] = None,
) -> None:
    """Draw traces as timelines."""
    from rlllm.core.errors import UnknownNameError
    from rlllm.core.runs import write_text
    from rlllm.tools.traces.of_runs import traces_in
    from rlllm.tools.traces.timeline import html, rows

    found = traces_in(place)
    known = {one.trace_id: one for one in found}
    if unknown := [name for name in trace or () if name not in known]:
        raise UnknownNameError("no trace has this id", given=unknown[0], exists=list(known))
    chosen = [known[name] for name in trace] if trace else found[:count]
    for one in chosen:
        console.heading(f"{one.trace_id}  {', '.join(f'{name} {value:g}' for name, value in one.rewards.items())}")
        console.table(("t", "agent", "did", "what"), [[console.visible(cell) for cell in row] for row in rows(one)])
        console.emit("")
    if len(chosen) < len(found) and not trace:
        console.say(f"{len(chosen)} of {len(found):,} traces; more with --count, one with --trace ID")
    if page is not None:
        write_text(page, html(chosen))
        console.say(f"page: {page}")


@app.command()
def score(
    place: Place,
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Weights of the reward families, such as team=0.7.")
    ] = None,
    credit: Annotated[
        Credit | None, typer.Option("--credit", help="Advantages of this unit over the other runs of a task.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Compute measures and reward families of traces, or the advantages of a unit of credit."""
    from rlllm.core.errors import ConfigError
    from rlllm.tools.traces.measures import measures
    from rlllm.tools.traces.of_runs import traces_in
    from rlllm.tools.traces.rewards import Weights, advantages, rewards

    typed = overrides.read_words("traces score", settings or [])
    if typed.bare:
        raise ConfigError("weights are written KEY=VALUE", given=typed.bare[0], hint="for example team=0.7")
    overrides.refuse_repeats(typed.overrides)
    weights = Weights.checked(dict(typed.overrides))
    found = traces_in(place)
    if credit is not None:
        rows = advantages(found, credit.value, weights)
        if json:
            console.emit_json(rows)
            return
        table = [
            (row["task_id"], row["trace_id"], row["of"], f"{row['value']:.4g}", f"{row['advantage']:+.3f}")
            for row in rows
        ]
        console.table(("task", "trace", "of", "value", "advantage"), table)
        return
    values = {one.trace_id: {**rewards(one, weights).families, **measures(one)} for one in found}
    if json:
        console.emit_json(values)
        return
    names = list(dict.fromkeys(name for own in values.values() for name in own))
    body = [
        (trace_id, *(f"{own[name]:.3g}" if name in own else None for name in names)) for trace_id, own in values.items()
    ]
    console.table(("trace", *names), body)


@app.command()
def export(
    place: Place,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="JSON lines, a trace each.")],
    rows: Annotated[
        bool, typer.Option("--rows", help="Write conversations to train on, in the place of traces.")
    ] = False,
) -> None:
    """Write the rollouts of a run as traces, or the conversations of traces as rows for sft."""
    from rlllm.core.errors import DataError
    from rlllm.core.runs import write_jsonl
    from rlllm.tools.traces.conversations import rows_of
    from rlllm.tools.traces.of_runs import traces_in

    found = traces_in(place)
    if not rows:
        write_jsonl(output, [one.to_json() for one in found])
        console.emit(f"{len(found):,} traces in {output}")
        return
    conversations = [row for one in found if (row := rows_of(one))]
    if not conversations:
        raise DataError(
            "no trace keeps the messages that it was made from",
            given=str(place),
            hint="traces that were captured, and those of runs with an environment, do",
        )
    write_jsonl(output, conversations)
    console.emit(f"{len(conversations):,} conversations of {len(found):,} traces in {output}")


@app.command()
def capture(
    upstream: Annotated[
        str, typer.Option("--upstream", metavar="URL", help="The agent's endpoint, such as http://localhost:8000/v1.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="JSON lines, a trace each.")],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of this machine; 0 takes a free one.")
    ] = 0,
) -> None:
    """Record an agent's calls of its OpenAI-compatible endpoint until Ctrl-C."""
    from rlllm.tools.traces.capture import Capture

    proxy = Capture(upstream, output, port)
    console.say(f"set the agent's base URL: OPENAI_BASE_URL={proxy.url}")
    proxy.serve()
    console.emit(f"{len(proxy.traces):,} traces in {output}")
