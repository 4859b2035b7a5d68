"""`rlllm runs`: what has been run, how it ended, what the model wrote."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlllm_cli import completion, console, options, outcome
from rlllm_cli.progress import listening

if TYPE_CHECKING:
    from rlllm.core.runs import Run
    from rlllm.tools.resume_proof.prove import ResumeProof

app = typer.Typer(help="Runs: directories with everything about one execution.")


class Which(StrEnum):
    """Which completions to show."""

    worst = "worst"
    best = "best"
    last = "last"


@app.command("ls")
def ls(
    root: Annotated[Path, typer.Argument(help="Folder to look in.")] = Path("runs"), json: options.Json = False
) -> None:
    """List runs, oldest first."""
    from rlllm.core.runs import list_runs

    rows = [_line(run) for run in list_runs(root)]
    if json:
        console.emit_json(rows)
    elif rows:
        console.table(
            ("run", "stage", "model", "verdict", "outcome", "result", "ended"), [tuple(row.values()) for row in rows]
        )
    else:
        console.say(f"no runs in {root}")


@app.command("show")
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run directory.", autocompletion=completion.runs)],
    samples: Annotated[
        Which | None, typer.Option("--samples", help="Show completions with their rewards.", show_default=False)
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="How many completions.")] = 5,
    json: options.Json = False,
) -> None:
    """Status, outcome, verdict, results with intervals and last metrics of a run."""
    from rlllm.core.runs import open_run

    opened = open_run(run)
    chosen = _samples(opened, samples, count) if samples else []
    if json:
        metrics = opened.metrics()
        last = {"metrics": metrics[-1] if metrics else None, "samples": chosen}
        if evaluations := opened.evaluations():
            last["evaluations"] = evaluations
        console.emit_json({**outcome.to_json(opened), "config": _config(opened), **last})
        return
    if not samples:
        console.fields(
            [*_head(opened), *outcome.measured(opened.results), *_evaluations(opened), *_last_metrics(opened)]
        )
        outcome.show_reasons(opened.verdict)
    elif not chosen:
        console.say("this run has logged no completions")
    for row in chosen:
        _show_sample(row)


@app.command("diff")
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A run directory.", autocompletion=completion.runs)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.", autocompletion=completion.runs)],
    json: options.Json = False,
) -> None:
    """What two runs used that differs: settings, TRL's settings, hardware, versions, data, model and rewards."""
    from rlllm.core.runs import open_run
    from rlllm.report.used_settings import differing, not_recorded, used_settings

    used = [used_settings(open_run(path)) for path in (a, b)]
    differences, missing = differing(used), not_recorded(used)
    if json:
        console.emit_json({"equal": not differences and not missing, "differ": differences, "not_recorded": missing})
        return
    for group, columns in differences.items():
        console.heading(group)
        console.table(
            ("name", a, b),
            [(name, *("-" if value is None else value for value in column)) for name, column in columns.items()],
        )
        console.emit("")
    same = [group for group in used[0] if group not in differences and group not in missing and used[0][group]]
    console.emit(f"the same: {', '.join(same) or 'nothing'}")
    if missing:
        console.emit(f"not recorded by both: {', '.join(missing)}")


@app.command("prove-resume")
def prove_resume(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run directory; it is only read.", autocompletion=completion.runs)
    ],
    kills: Annotated[int, typer.Option("--kills", metavar="N", min=1, help="How many SIGKILLs.")] = 3,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of their moments.")] = 0,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", metavar="DIR", help="Keep both repetitions there.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """Repeat a run undisturbed and with SIGKILLs at random moments, and compare: bit-equal (exit code 0), or where not (1)."""
    from rlllm.core.errors import ExitCode
    from rlllm.tools.resume_proof.prove import prove_resume as prove

    with listening() as progress:
        proof = prove(run, kills=kills, seed=seed, output_dir=output_dir, progress=progress)
    if json:
        console.emit_json(proof.to_json())
    else:
        _show_proof(run, proof)
    if not proof.equal:
        raise typer.Exit(int(ExitCode.FAILED))


def _show_proof(run: str, proof: ResumeProof) -> None:
    from rlllm.tools.resume_proof.prove import KILLED, WHOLE

    if proof.itself:
        found = proof.itself
        console.say(f"{run} itself has, at {found.place}, {found.other}, and its repetition here {found.one}")
        console.say("hint: code, versions or hardware may be others now: rlllm runs diff shows those of two runs")
    if proof.folder:
        console.say(f"kept: {' and '.join(str(proof.folder / name / 'run') for name in (WHOLE, KILLED))}")
    what = f"{run} ({' '.join(filter(None, (proof.stage, proof.method)))}, seed {proof.run_seed})"
    times = f"{len(proof.kills)} SIGKILL{'s' if len(proof.kills) != 1 else ''}"
    if proof.difference is None:
        console.emit(f"{what}: bit-equal after {times}, {proof.files} files compared")
        return
    found = proof.difference
    console.emit(f"{what}: not equal after {times}")
    console.fields([("first", found.place), ("undisturbed", found.one), ("killed", found.other)])


def _model(run: Run) -> str | None:
    from rlllm.core.config import model_reference

    recorded = _config(run).get("settings", {}).get("model")
    return model_reference(recorded) if recorded else None


def _line(run: Run) -> dict[str, Any]:
    measured = next(outcome.measured(run.results), None)
    return {
        "run": str(run.path),
        "stage": _config(run).get("stage"),
        "model": _model(run),
        "verdict": outcome.verdict_words(run).partition(",")[0],
        "outcome": run.outcome.state if run.outcome else None,
        "result": " ".join(measured) if measured else None,
        "ended": run.status.get("time"),
    }


def _config(run: Run) -> dict[str, Any]:
    from rlllm.core.redaction import without_secrets

    return without_secrets(run.read_or_empty("config.json"))


def _head(run: Run) -> Iterator[tuple[str, str]]:
    config = _config(run)
    yield "run", str(run.path)
    yield "stage", config.get("stage", "unknown")
    yield "state", ", ".join(filter(None, (run.state, run.status.get("time"))))
    yield from outcome.headline(run)
    if not run.verdict and run.status.get("error"):
        yield "error", str(run.status["error"])
    if config.get("command"):
        yield "command", config["command"]
    yield from (("damaged", text) for text in run.damages())
    if (run.path / "report.html").exists():
        yield "report", str(run.path / "report.html")


def _evaluations(run: Run) -> Iterator[tuple[str, str]]:
    """The evaluations during training, one a line: the main measure with its interval, and its change since the start."""
    from rlllm.training.evaluations import evaluation_text

    evaluations, kept = run.evaluations(), (run.results.get("evaluations") or {}).get("kept")
    if evaluations:
        yield "", ""
    for row in evaluations:
        yield f"step {row['step']}", evaluation_text(row) + (" (kept)" if row["step"] == kept else "")


def _last_metrics(run: Run) -> Iterator[tuple[str, str]]:
    metrics = run.metrics()
    if metrics:
        last = metrics[-1]
        yield "", ""
        yield "last step", str(last.get("step"))
        yield from ((name, f"{value:.6g}") for name, value in last.items() if name != "step" and _is_number(value))


def _samples(run: Run, which: Which, count: int) -> list[dict[str, Any]]:
    """Completions of training, else of the evaluation. Those no reward could judge are neither best nor worst."""
    rows = list(run.samples()) or list(_evaluated(run))
    if which is Which.last:
        return rows[-count:]
    judged = sorted((row for row in rows if _is_number(row.get("reward"))), key=lambda row: row["reward"])
    return judged[:count] if which is Which.worst else judged[::-1][:count]


def _evaluated(run: Run) -> Iterator[dict[str, Any]]:
    from rlllm.core.runs import read_jsonl

    for item in read_jsonl(run.path / "items.jsonl", []):
        for text, score in zip(item.get("completions") or (), item["scores"], strict=False):
            yield {key: item.get(key) for key in ("task", "prompt", "answer")} | {"completion": text, "reward": score}


def _show_sample(row: dict[str, Any]) -> None:
    from rlllm.core.records import prompt_text

    head = [f"{name} {row[name]}" for name in ("step", "task") if row.get(name) is not None]
    reward = row.get("reward")
    head.append(f"reward {reward:.4g}" if _is_number(reward) else "reward none")
    console.heading("  ".join(head))
    parts = [("prompt", prompt_text(row["prompt"])), ("completion", row["completion"]), ("answer", row.get("answer"))]
    console.fields((label, value) for label, value in [*parts, *_scores(row)] if value is not None)
    console.emit("")


def _scores(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each reward's score and what it read, as the composition described them."""
    for name, score in (row.get("rewards") or {}).items():
        yield (
            name,
            ", ".join(f"{key} {value}" for key, value in score.items() if value is not None)
            if isinstance(score, dict)
            else str(score),
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
