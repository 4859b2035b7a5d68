"""The dataset `from-run`: completions that a run sampled and its rewards found right, as rows to imitate (`from-run:RUN`).

Rejection sampling: of each training prompt the best completions, the right and short ones, or right ones of prompts that were
seldom solved. Problems that were only measured are left out, since they are held out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from rlllm.core.config import Section
from rlllm.core.errors import ConfigError, DataError
from rlllm.core.records import Conversation, PromptTask, Record, fingerprint, prompt_key
from rlllm.core.runs import Run, file_hash
from rlllm.data.procedural.procedural_task import parse_params
from rlllm.data.request import DataRequest

Choice = Literal["best", "short", "hard"]
SAMPLES = "samples.jsonl"
_HELD_OUT = 10
"""One prompt of so many is held out: those with the smallest hashes."""
_NOT_META = frozenset({"prompt", "completion", "answer", "row", "rewards", "advantage", "truncated", "transcript"})


class FromRunParams(Section):
    """What `data.params` may hold for `from-run`."""

    run: str = Field(min_length=1)
    """Directory of a run that sampled completions to train on: `rlllm reason`, or an online method of `align`."""
    choose: Choice = "best"
    """`best` takes the completions with the highest reward; `short` the right ones with the fewest tokens; `hard` is `best`, of
    prompts that were solved seldom."""
    each: int = Field(1, ge=1)
    """Completions for each prompt, at most; equal texts count once."""
    least: float = 1.0
    """The first reward gives at least this where a completion is right."""
    hardest: float = Field(0.5, gt=0, le=1)
    """Of `hard`: prompts of which at most this share of the completions was right."""
    since_step: int = Field(0, ge=0)
    """Completions of this step and later ones, since early ones are those of another policy."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A completion that was chosen.

    Args:
        row: of `samples.jsonl`.
        solved: share of the completions of its prompt that were right.
        sample: hash of its prompt and completion.
    """

    row: Mapping[str, Any]
    solved: float
    sample: str


@dataclass(frozen=True, slots=True)
class RunRows:
    """What was chosen of a run.

    Args:
        chosen: the completions, by prompts in the order in which they were first sampled.
        run: hash of all that the run sampled.
        samples: how many completions were looked at.
        right: how many of them were right.
        prompts: how many prompts they answer.
    """

    chosen: list[Chosen]
    run: str
    samples: int
    right: int
    prompts: int


def rows_of_run(params: FromRunParams) -> RunRows:
    """Choose among the completions of a run.

    Raises:
        DataError: the run sampled nothing, or nothing in it was right.
    """
    run = Run(Path(params.run).expanduser())
    path = run.path / SAMPLES
    if not path.is_file():
        why = (
            "an evaluation's problems are held out, and no rows to train on"
            if (run.path / "items.jsonl").exists()
            else None
        )
        raise DataError(
            "the run sampled no completions to train on", given=run.path, hint=why or "name a run of rlllm reason"
        )
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in run.samples():
        if row.get("step", 0) >= params.since_step and not row.get("demonstration"):
            groups.setdefault(prompt_key(row["prompt"]), []).append(row)
    rights = {key: [row for row in rows if _right(row, params.least)] for key, rows in groups.items()}
    chosen = [item for key, rows in groups.items() for item in _chosen(rows, rights[key], params)]
    samples, right = (sum(map(len, found.values())) for found in (groups, rights))
    if not chosen:
        raise DataError(
            f"none of {samples:,} completions of the run is chosen",
            given=f"choose={params.choose} least={params.least:g} since_step={params.since_step}, {right:,} are right",
            hint="lower least, raise hardest, or train longer",
        )
    return RunRows(chosen, file_hash(path)[:16], samples, right, len(groups))


def _right(row: Mapping[str, Any], least: float) -> bool:
    """Whether a completion ended by itself, in one turn, and the first reward of the run found it right."""
    if row.get("truncated") or "transcript" in row or not isinstance(row["completion"], str):
        return False
    value = next((judged.get("value") for judged in row.get("rewards", {}).values()), None)
    return value is not None and value >= least


def _chosen(
    rows: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]], params: FromRunParams
) -> Iterator[Chosen]:
    solved = len(right) / len(rows)
    if params.choose == "hard" and solved > params.hardest:
        return
    by_text = {row["completion"]: row for row in right}
    short = params.choose == "short"
    order = sorted(
        by_text.values(), key=lambda row: (row["tokens"], -row["reward"]) if short else (-row["reward"], row["tokens"])
    )
    for row in order[: params.each]:
        yield Chosen(row, solved, fingerprint([row["prompt"], row["completion"]]))


class _FromRun:
    """Dataset callable."""

    argument: ClassVar[str] = "run"

    def __call__(self, request: DataRequest) -> list[Record]:
        """At most `request.rows` of what is chosen; `meta` says which run and which sample a row is.

        Raises:
            ConfigError: no run, a level, or an unknown parameter.
            DataError: another record type than conversations or prompts, or a run without right completions.
        """
        if "run" not in request.params:
            raise ConfigError("from-run needs a run", given="from-run", hint="write from-run:runs/reason")
        if request.level is not None:
            raise ConfigError("a run has no levels", given=f"level={request.level}", hint="leave data.level out")
        if request.kind not in (PromptTask, Conversation):
            raise DataError(f"from-run cannot make {request.kind.__name__} rows", exists=["Conversation", "PromptTask"])
        found = rows_of_run(parse_params(FromRunParams, request.params))
        held_out = _held_out(found.chosen)
        wanted = request.split == "holdout"
        own = [item for item in found.chosen if (prompt_key(item.row["prompt"]) in held_out) is wanted]
        return [_record(item, found.run, request.kind) for item in own[: request.rows]]


def _held_out(chosen: Sequence[Chosen]) -> set[str]:
    """Keys of the prompts that are held out; one at least, where there are two."""
    keys = sorted({prompt_key(item.row["prompt"]) for item in chosen}, key=fingerprint)
    return set(keys[: max(1, len(keys) // _HELD_OUT)]) if len(keys) > 1 else set()


def lineage(item: Chosen, run: str) -> dict[str, Any]:
    """Where a row comes from."""
    return {
        "run": run,
        "step": item.row["step"],
        "sample": item.sample,
        "reward": item.row["reward"],
        "solved": item.solved,
    }


def _record(item: Chosen, run: str, kind: type[Record]) -> Record:
    row = item.row
    meta = {key: value for key, value in row.items() if key not in _NOT_META} | lineage(item, run)
    if kind is PromptTask:
        return PromptTask(row["prompt"], answer=row.get("answer"), meta=meta)
    return Conversation(row["prompt"], row["completion"], meta)


from_run = _FromRun()
