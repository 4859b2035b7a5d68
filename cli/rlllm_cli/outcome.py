"""The end of a run: its result on stdout, the reasons for a failure on stderr, and the exit code."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from rlllm_cli import console
from rlllm_cli.invocation import Invocation, as_typed

if TYPE_CHECKING:
    from rlllm.core.runs import Run


def conclude(run: Run, invocation: Invocation, as_json: bool) -> None:
    """Print a finished run. Raises typer.Exit where it was interrupted (130), failed or got worse (1)."""
    if run.status.get("state") == "queued":
        console.fields(
            [("run", str(run.path)), ("status", "queued"), ("next", as_typed(f"rlllm runs show {run.path}"))]
        )
        return
    interrupted = run.status.get("state") == "interrupted"
    following = [*map(as_typed, [invocation.to_resume(run.path)] if interrupted else next_commands(run))]
    if as_json:
        console.emit_json({**to_json(run), "next": following, "serve": serving(run)})
    else:
        commands = [*(("next", command) for command in following), *(("serve", command) for command in serving(run))]
        console.fields([*summary(run), *commands])
    if interrupted:
        console.say(f"interrupted; continue with: {following[0]}")
        raise typer.Exit(130)
    show_reasons(run.verdict)
    if not run.ok:
        raise typer.Exit(1)


def to_json(run: Run) -> dict[str, Any]:
    """Everything about a run's end, for scripts."""
    return {
        "run": str(run.path),
        "state": run.state,
        "ok": run.ok,
        "outcome": run.verdict.get("outcome"),
        "status": run.status,
        "verdict": run.verdict,
        "results": run.results,
        "model": str(run.model) if run.model.is_dir() else None,
    }


def summary(run: Run) -> Iterator[tuple[str, str]]:
    """Where it is, what became of its main measure, how it ended, and what was measured."""
    yield "run", str(run.path)
    yield from headline(run)
    yield from measured(run.results)
    yield from gain_decomposition((run.verdict.get("diagnostics") or {}).get("gain_decomposition") or ())


def gain_decomposition(decompositions: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The gain of each reward over training, and how much of it length and form alone explain."""
    for gain in decompositions:
        parts = f"{interval(gain['both'])} by length and form alone, {interval(gain['rest'])} beyond"
        yield f"gain of {gain['reward']}", f"{interval(gain['gain'])}: {parts}"


def headline(run: Run) -> Iterator[tuple[str, str]]:
    """The outcome, where the run trains, and whether it was carried out."""
    if run.outcome:
        yield "outcome", str(run.outcome)
    yield "verdict", verdict_words(run)


def verdict_words(run: Run) -> str:
    """`ok`, or `failed` with the names of the reasons against it, or the state of a run that has not ended."""
    state, verdict = run.state, run.verdict
    if state in ("interrupted", "killed", "running"):  # its verdict is that of an earlier start
        return state
    codes = [reason["code"] for reason in verdict.get("reasons", ()) if reason.get("fatal")]
    return "ok" if verdict.get("ok") else f"failed: {', '.join(codes)}" if codes else state


def measured(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Estimates with their 95 % intervals: before and after training, or each task of an evaluation."""
    for row in results.get("measures") or ():
        yield row["name"], _change(row)
    if text := (results.get("evaluations") or {}).get("text"):
        yield "kept", text
    for text in results.get("findings") or ():
        yield "finding", text
    for task, details in (results.get("tasks") or {}).items():
        for name, value in (details.get("values") or {}).items():
            yield f"{task} {name}", interval(value)
        yield from ((f"{task}", text) for text in details.get("remarks") or ())


def interval(value: Mapping[str, Any] | None) -> str:
    """An interval with three decimals, as `core.interval_text` writes it."""
    from rlllm.core.interval_text import interval_text

    return interval_text(value)


def show_reasons(verdict: Mapping[str, Any]) -> None:
    """Why a run failed, and its warnings, to stderr."""
    for reason in verdict.get("reasons", ()):
        console.say(f"{'error' if reason['fatal'] else 'warning'}: {reason['text']}")
        if reason.get("hint"):
            console.say(f"hint: {reason['hint']}")


def serving(run: Run) -> list[str]:
    """How other programs serve the model that a run has made; nothing for one that scores, or where there is none."""
    if not run.carried_out or not run.model.is_dir():
        return []
    from rlllm.core.errors import ModelError
    from rlllm.policies.model_sources import resolve_model
    from rlllm.tools.export.serve import serve_commands

    try:
        return list(serve_commands(str(run.model), resolve_model(str(run.path))))
    except ModelError:
        return []  # an ensemble


def next_commands(run: Run) -> list[str]:
    """What to type next, given how the run ended: measure the model it made, or look at what happened."""
    config = run.config
    settings, stage = config["settings"], config["stage"]
    if not run.ok or stage == "pretrain":  # which goes on with a text, and eval asks a chat model questions
        return [f"rlllm runs show {run.path}"]
    if stage == "eval":
        return [f"rlllm runs show {run.path} --samples worst"]
    words, rewards = ["rlllm", "eval", "--model", str(run.path)], settings.get("rewards")
    if stage == "train-rm":
        from rlllm.evals.registry import metric_for_reward_model

        words.insert(2, metric_for_reward_model(settings.get("method", "")))
        rewards = None  # a metric of models that score takes none
    elif stage == "align":
        from rlllm.core.config import model_reference

        judged = any(row["name"].endswith("win rate") for row in run.results.get("measures") or ())
        if not judged:  # nothing to win by was measured
            return [f"rlllm runs show {run.path}"]
        words.insert(2, "reward-win-rate")
        words += ["--baseline", model_reference(settings["model"])]
        rewards = [settings["eval_reward"]] if settings.get("eval_reward") else None
    return [shlex.join([*words, *_data_words(settings["data"]), *_reward_words(rewards)])]


def _data_words(data: Mapping[str, Any]) -> Iterator[str]:
    """The options that name the same data again."""
    for part in data.get("mix") or [{"data": data}]:
        weight = part.get("weight")
        yield from ("--data", part["data"]["name"] + (f":{weight:g}" if weight is not None else ""))
    if data.get("row_schema"):
        yield f"data.row_schema={data['row_schema']}"
    if data.get("columns"):
        yield from ("--columns", ",".join(f"{field}={column}" for field, column in data["columns"].items()))
    from rlllm.data.registry import DATASETS

    if (
        data.get("holdout") and data["name"].partition(":")[0] not in DATASETS
    ):  # else a file is measured where it trained
        yield f"data.holdout={data['holdout']}"
    if data.get("level") is not None:
        yield f"data.level={data['level']}"
    if data.get("on_bad_row") == "skip":
        yield from ("--on-bad-row", "skip")
    if data.get("streaming"):
        yield "data.streaming=true"
    yield from (f"data.params.{key}={value}" for key, value in (data.get("params") or {}).items())


def _reward_words(rewards: Sequence[Mapping[str, Any]] | None) -> Iterator[str]:
    """The options that name the same rewards again; what is as it would be anyway is left out."""
    if any(reward.get("params") or reward.get("deadline") is not None for reward in rewards or ()):
        yield f"rewards={json.dumps([_in_short(reward) for reward in rewards or ()])}"
        return
    for reward in rewards or ():
        weight = reward.get("weight", 1.0)
        yield from ("--reward", reward["name"] if weight == 1.0 else f"{reward['name']}={weight:g}")


def _in_short(reward: Mapping[str, Any]) -> Any:
    usual = {"weight": 1.0, "deadline": None}
    given = {key: reward[key] for key, value in usual.items() if reward.get(key, value) != value}
    own = {**(reward.get("params") or {}), **given}
    return {"name": reward["name"], **own} if own else reward["name"]


def _change(row: Mapping[str, Any]) -> str:
    if row.get("before") is None:
        return interval(row["after"])
    change = f"{interval(row['before'])} -> {interval(row['after'])}"
    return f"{change}, change {interval(row['difference'])}" if row.get("difference") else change
