"""`rlllm rewards replay`: score the stored completions of a run with other rewards, and report what these would have changed.

Scores depend only on the stored samples and the run's data, so a finished, a killed and a running run can all be replayed.
The columns that rewards read are those of the sample's row in the data. The data are read again and must be what the run
trained on. Where they are not available, rewards that read no column are still replayed, and one that reads a column is an
error: a reward never sees an empty row in place of an unknown one.

Advantages are computed anew for both rewards: by the run's own advantage where it is a function of the rewards alone (`group`
under the run's `scale_rewards`, and `rloo`), else by that of GRPO.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError

from rlllm.algorithms.registry import METHODS
from rlllm.core.errors import ConfigError, DataError, RlllmError, RunDirectoryError
from rlllm.core.recipes import find_recipe, is_file_reference, read_recipe
from rlllm.core.records import PromptTask, Sample, prompt_text
from rlllm.core.runs import Run, open_run, read_jsonl, write_jsonl
from rlllm.data.config import DataConfig
from rlllm.data.load import load
from rlllm.rewards.composition import Composition, Scores, build
from rlllm.rewards.config import RewardSpec
from rlllm.rollouts.environments.base import STORED
from rlllm.training.reward_specs import named_models

if TYPE_CHECKING:
    from numpy import ndarray

_NEEDED = ("step", "prompt", "completion", "reward")
"""Columns of `samples.jsonl` without which nothing can be replayed."""
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Advantage:
    """How advantages are made of rewards: `group` under TRL's `scale_rewards`, or `rloo`."""

    name: str = "group"
    scale: str = "group"

    def __call__(self, rewards: ndarray, group_size: int) -> ndarray:
        """(B,) advantages of the (B,) rewards of one rollout, NaN where undefined."""
        import torch

        from rlllm.algorithms.advantages.group import leave_one_out
        from rlllm.algorithms.batch import group_advantages

        values = torch.tensor(rewards, dtype=torch.float64)
        if self.name == "rloo":
            advantages = leave_one_out(values.view(-1, group_size)).view(-1)
        else:
            advantages = group_advantages(values[:, None], torch.ones(1, dtype=torch.float64), group_size, self.scale)
        return advantages.numpy()


@dataclass(frozen=True, slots=True)
class Replayed:
    """A run's samples under other rewards."""

    run: str
    samples: int
    groups: int
    left_out: int
    """Completions of groups that the file does not hold whole, which a killed run leaves at its end."""
    advantage: str
    notes: list[str]
    rewards: list[dict[str, Any]]
    """For each reward asked for: `name`, the numbers of `evals.reward_replay.comparison`, `errors`, and `most_changed`."""
    rows: list[_Row] = field(repr=False)
    """The stored rows with `replayed`: name -> `reward`, `rewards`, `advantage`, and the stored reward's `advantage_before`."""

    def to_json(self) -> dict[str, Any]:
        shown = asdict(self)
        del shown["rows"]
        return shown


def rescore(
    run: Path | str,
    rewards: Sequence[str | Mapping[str, Any]],
    *,
    out: Path | None = None,
    shown: int = 5,
    seed: int = 0,
) -> Replayed:
    """Score a run's stored samples with other rewards.

    Args:
        run: directory of a run of the loop, or of one that still runs.
        rewards: each a reward as typed (`exact`, `file.py:function`, a reward model), a mapping with its settings, or a recipe
            file whose `rewards` are scored together.
        out: file to write the rows with their new scores to; it must not exist.
        shown: how many of the most changed completions to name.
        seed: of the intervals.

    Raises:
        RunDirectoryError: no run, or one that stored no samples.
        ConfigError: a reward that does not exist, takes other arguments, or reads columns that cannot be had.
        DataError: a `samples.jsonl` that is not readable.
        RewardError: a reward failed on too many samples.
    """
    opened = open_run(run)
    if out is not None:
        _check_free(out)
    compositions = _named(rewards)
    stored = _stored(opened)
    settings = _settings(opened)
    advantage, notes = advantage_of(settings)
    groups = whole_groups(stored, _group_size(settings))
    if not groups:
        raise RunDirectoryError("this run has not stored one whole group of completions yet", given=run)
    rows = [row for group in groups for row in group]
    samples = list(_samples(opened, settings, rows, notes))
    replayed: list[_Row] = [{**row, "replayed": {}} for row in rows]
    results = [
        _one(name, composition, groups, samples, advantage, replayed, shown, seed)
        for name, composition in compositions.items()
    ]
    if out is not None:
        write_jsonl(out, replayed)
    return Replayed(
        run=str(opened.path),
        samples=len(rows),
        groups=len(groups),
        left_out=len(stored) - len(rows),
        advantage=advantage.name if advantage.name == "rloo" else f"{advantage.name}, scale_rewards={advantage.scale}",
        notes=notes,
        rewards=results,
        rows=replayed,
    )


def _check_free(out: Path) -> None:
    if out.exists():
        raise ConfigError("the output file exists", given=out, hint="name another, or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write there: {error.strerror}", given=out) from error


def _one(
    name: str,
    composition: Composition,
    groups: Sequence[Sequence[_Row]],
    samples: Sequence[Sample],
    advantage: Advantage,
    replayed: Sequence[_Row],
    shown: int,
    seed: int,
) -> dict[str, Any]:
    """The entry of one reward; adds its scores to the rows."""
    from rlllm.evals.reward_replay import comparison

    described, totals = _scored(composition, groups, samples)
    before, after = _array([row["reward"] for row in replayed]), _array(totals)
    then, now = (_advantages(side, groups, advantage) for side in (before, after))
    for index, (row, total) in enumerate(zip(replayed, totals, strict=True)):
        pushed = {"advantage": float(now[index]), "advantage_before": float(then[index])}
        row["replayed"][name] = {"reward": total, "rewards": described[index], **pushed}
    numbers = [number for number, group in enumerate(groups) for _ in group]
    changed = comparison(
        before,
        after,
        (then, now),
        groups=numbers,
        prompts=[prompt_text(row["prompt"]) for row in replayed],
        steps=[row["step"] for row in replayed],
        seed=seed,
    )
    errors = {reward: tally.failed for reward, tally in composition.tallies.items() if tally.failed}
    return {"name": name, **changed, "errors": errors, "most_changed": _most_changed(replayed, name, shown)}


def _array(values: Sequence[float | None]) -> ndarray:
    import numpy as np

    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _scored(
    composition: Composition, groups: Sequence[Sequence[_Row]], samples: Sequence[Sample]
) -> tuple[list[dict[str, Any]], list[float | None]]:
    """What each reward said of every sample, and the totals; the completions of one step are one batch, as in training."""
    described: list[dict[str, Any]] = []
    totals: list[float | None] = []
    for _, members in groupby(groups, key=lambda group: group[0]["step"]):
        size = sum(len(group) for group in members)
        scores: Scores = composition.score(samples[len(totals) : len(totals) + size])
        described += [scores.describe(index) for index in range(size)]
        totals += scores.totals
    return described, totals


def _advantages(rewards: ndarray, groups: Sequence[Sequence[_Row]], advantage: Advantage) -> ndarray:
    """Advantages of all samples, rollout by rollout."""
    import numpy as np

    parts, start = [], 0
    for _, members in groupby(groups, key=lambda group: (group[0]["step"], len(group))):
        sizes = [len(group) for group in members]
        parts.append(advantage(rewards[start : start + sum(sizes)], sizes[0]))
        start += sum(sizes)
    return np.concatenate(parts)


def _most_changed(replayed: Sequence[_Row], name: str, shown: int) -> list[_Row]:
    """The rows whose advantage moved furthest, then those whose reward did, each group once."""

    def distance(row: _Row) -> tuple[float, float]:
        new = row["replayed"][name]
        rewards = [0.0 if value is None else value for value in (row["reward"], new["reward"])]
        return abs(new["advantage"] - new["advantage_before"]), abs(rewards[1] - rewards[0])

    rows_by_prompt: dict[str, _Row] = {}
    for row in sorted(replayed, key=distance, reverse=True):
        if len(rows_by_prompt) == shown or distance(row) == (0.0, 0.0):
            break
        rows_by_prompt.setdefault(f"{row['step']} {prompt_text(row['prompt'])}", row)
    columns = ("step", "prompt", "completion", "answer", "reward")
    return [
        {**{key: row.get(key) for key in columns}, "replayed": row["replayed"][name]} for row in rows_by_prompt.values()
    ]


def _named(rewards: Sequence[str | Mapping[str, Any]]) -> dict[str, Composition]:
    """A name for the reader -> what scores. Raises ConfigError."""
    if not rewards:
        raise ConfigError("no reward to replay the run with", hint="--with NAME; list them with: rlllm rewards ls")
    return {_label(reward): build(named_models(_specs(reward))) for reward in rewards}


def _label(reward: str | Mapping[str, Any]) -> str:
    """`length, budget=40` of a mapping."""
    if isinstance(reward, str):
        return reward
    settings = (f"{key}={value}" for key, value in reward.items() if key != "name")
    return ", ".join([str(reward.get("name")), *settings])


def _specs(reward: str | Mapping[str, Any]) -> list[RewardSpec]:
    given: Any = [reward]
    if isinstance(reward, str) and is_file_reference(reward):
        given = read_recipe(find_recipe(reward).path).get("rewards") or []
    try:
        return [RewardSpec.model_validate(value) for value in (given if isinstance(given, list) else [given])]
    except ValidationError as error:
        raise ConfigError(f"not a reward: {error.errors()[0]['msg']}", given=reward) from error


def _stored(run: Run) -> list[_Row]:
    """All rows of `samples.jsonl`. Raises for a run without, or whose rows cannot be read."""
    try:
        rows = list(read_jsonl(run.path / "samples.jsonl"))
    except (ValueError, OSError) as error:
        raise DataError(f"samples.jsonl cannot be read: {error}", given=run.path / "samples.jsonl") from error
    if not rows:
        inner = sorted(path.parent.name for path in run.path.glob("*/samples.jsonl"))
        raise RunDirectoryError(
            "this run has stored no completions",
            given=run.path,
            exists=inner,
            hint=f"rlllm rewards replay {run.path / inner[0]} --with NAME"
            if inner
            else "runs of reason, and of align with a method that samples, store them",
        )
    for number, row in enumerate(rows, start=1):
        missing = [name for name in _NEEDED if name not in row]
        if missing:
            raise DataError(
                f"line {number} of samples.jsonl has no {', '.join(missing)}",
                given=run.path / "samples.jsonl",
                hint="the run is too old to be replayed, or the file was changed",
            )
    return rows


def _settings(run: Run) -> Mapping[str, Any]:
    return run.config.get("settings") or {} if (run.path / "config.json").exists() else {}


def _group_size(settings: Mapping[str, Any]) -> int | None:
    return (settings.get("rollout") or {}).get("group_size")


def advantage_of(settings: Mapping[str, Any]) -> tuple[Advantage, list[str]]:
    """The advantage to compute advantages by, and what there is to say where it is not quite the run's own."""
    try:
        method = METHODS.load(settings.get("method", "grpo"))
    except RlllmError:
        return Advantage(), [f"the run's method {settings.get('method')} does not load: advantages are those of GRPO"]
    own = (settings.get("advantage") or {}).get("name") or method.components.get("advantage", "group")
    trl = {**method.settings, **(settings.get("trainer") or {})}
    scale, notes = trl.get("scale_rewards", "group"), []
    if own not in ("group", "rloo"):
        notes.append(f"the run's advantage {own} is more than a function of the rewards: advantages are those of GRPO")
    if trl.get("multi_objective_aggregation", "sum_then_normalize") != "sum_then_normalize":
        notes.append("the run normalises each reward by itself: advantages here are those of the weighted sum")
    return Advantage("rloo" if own == "rloo" else "group", scale), notes


def whole_groups(rows: Sequence[_Row], size: int | None) -> list[list[_Row]]:
    """The rows cut into groups of completions that compete.

    Args:
        rows: of `samples.jsonl`, where a group stands together.
        size: completions of a group; with 1 those of a whole step compete, and None takes all of one prompt in a row.
            A group that is not whole is left out.
    """

    def key(row: _Row) -> Any:
        return (
            (row["step"], row.get("kept", True)) if size == 1 else (row["step"], row.get("kept", True), row["prompt"])
        )

    groups: list[list[_Row]] = []
    for _, members in groupby(rows, key=key):
        together = list(members)
        each = len(together) if size in (None, 1) else size
        assert each is not None
        groups += [together[start : start + each] for start in range(0, len(together) - each + 1, each)]
    return groups


def _samples(run: Run, settings: Mapping[str, Any], rows: Sequence[_Row], notes: list[str]) -> Iterator[Sample]:
    """What the rewards are given: the task of the run's data with the stored completion."""
    tasks = _tasks(run, settings, rows)
    if isinstance(tasks, str):
        notes.append(f"{tasks}: rewards that read a row's columns cannot be replayed")
    for row in rows:
        columns = {name: row[name] for name in STORED if name in row}
        stored = row["completion"], row.get("tokens"), bool(row.get("truncated"))
        if isinstance(tasks, str):
            yield Sample(row["prompt"], stored[0], row.get("answer"), _UnknownColumns(tasks, columns), *stored[1:])
        else:
            task = tasks[row["row"]]
            yield Sample(task.prompt, stored[0], task.answer, {**task.meta, **columns}, *stored[1:])


def _tasks(run: Run, settings: Mapping[str, Any], rows: Sequence[_Row]) -> list[PromptTask] | str:
    """The tasks of the training rows, or why they cannot be had."""
    if not all("row" in row for row in rows):
        return "the run does not say which rows of its data it sampled (it is older than replay)"
    lineage = run.path / "lineage.json"
    trained_hash = (run.read("lineage.json").get("data") or {}).get("hash") if lineage.exists() else None
    try:
        loaded = load(DataConfig.model_validate(settings.get("data")), PromptTask)
    except (RlllmError, ValidationError) as error:
        return f"the run's data cannot be read again ({str(error).splitlines()[0]})"
    if loaded.hash != trained_hash or not all(0 <= row["row"] < len(loaded.train) for row in rows):
        return "the data are not those the run trained on any more"
    return loaded.train


class _UnknownColumns(Mapping[str, Any]):
    """Columns of a row that is not known: whatever is asked for, except what the sample itself holds, is an error.

    Args:
        why: the reason, for the error.
        columns: the columns that are known.
    """

    def __init__(self, why: str, columns: Mapping[str, Any]) -> None:
        self.why = why
        self._columns = dict(columns)

    def __getitem__(self, name: str) -> Any:
        return self._columns[name] if name in self._columns else self._refuse(name)

    def __contains__(self, name: object) -> bool:
        return name in self._columns or self._refuse(name)

    def __iter__(self) -> Iterator[str]:
        return self._refuse("all")

    def __len__(self) -> int:
        return self._refuse("all")

    def _refuse(self, name: object) -> NoReturn:
        raise ConfigError(
            f"the reward reads columns of the data ({name}), and {self.why}",
            hint="replay with a reward that reads only prompt, completion and answer, or bring back the data",
        )
