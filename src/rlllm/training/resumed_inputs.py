"""What a run that is resumed must find as it was: data, rewards, model, and the Python files that recipe or command line name.

A change is refused with the exact difference, or accepted by name (`--accept-change data`); then `lineage.json` keeps what was
there before under `history`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlllm.core.code_hash import code_hash
from rlllm.core.errors import RunDirectoryError
from rlllm.core.records import fingerprint, record_hash
from rlllm.core.registry import imported_modules, loaded_files
from rlllm.core.runs import Run, read_run_file
from rlllm.training.plan import Plan

CHANGES = ("data", "rewards", "model", "code")
"""What a resume may accept a change of."""
_ROWS = "data_rows.json"
"""Hashes of the rows of the data in a run's directory, in their order."""
_MOST_ROWS = 100_000
"""Of larger data no row is recorded, and a change is said without its place."""


def lineage_of(plan: Plan[Any], tokenizer: Any) -> dict[str, Any]:
    """What a run stands on, for `lineage.json`."""
    rewards = {reward.name: reward.fingerprint for reward in plan.rewards.rewards} if plan.rewards else {}
    code = {name: _hash_of(path) for name, path in _named_files(plan)}
    code |= {file: digest for name in list(code) for file, digest in imported_modules(name).items()}
    specs = [*(getattr(plan.config, "rewards", None) or ()), *filter(None, [getattr(plan.config, "eval_reward", None)])]
    modules = {file: digest for spec in specs for file, digest in imported_modules(spec.name).items()}
    return {
        "parents": [plan.config.model.reference] if plan.source.kind == "run" else [],
        "model": {
            "name": plan.source.name,
            "path": plan.source.reference,
            "weights": plan.source.fingerprint(),
            "trust_remote_code": plan.config.model.trust_remote_code,
        },
        "data": {
            "source": plan.loaded.source,
            "hash": plan.loaded.hash,
            "train": len(plan.loaded.train),
            "holdout": len(plan.loaded.holdout),
            "columns": dict(plan.loaded.columns),
            **({"parts": [asdict(part) for part in plan.loaded.parts]} if plan.loaded.parts else {}),
            "skipped": plan.loaded.skipped,
            "skipped_examples": list(plan.loaded.skipped_examples),
            "undecided": plan.loaded.undecided,
        },
        "rewards": {
            "names": plan.rewards.names,
            "hash": plan.rewards.fingerprint(),
            "each": rewards,
            "modules": modules,
        }
        if plan.rewards
        else None,
        **({"eval_reward": plan.eval_reward.fingerprint()} if plan.eval_reward else {}),
        **({"code": code} if code else {}),
        "template": fingerprint(tokenizer.chat_template) if tokenizer.chat_template else None,
    }


def content_of(plan: Plan[Any]) -> dict[str, str]:
    """Hashes of what a plan reads, by what it is. Where they are equal, the same settings train the same model."""
    return {
        "model": str(plan.source.fingerprint()),
        "data": plan.loaded.hash,
        **({"rewards": plan.rewards.fingerprint()} if plan.rewards else {}),
        **({"eval reward": plan.eval_reward.fingerprint()} if plan.eval_reward else {}),
        **{f"file {name}": _hash_of(path) for name, path in _named_files(plan)},
    }


def write_lineage(run: Run, plan: Plan[Any], tokenizer: Any, *, resume: bool, accepted: Collection[str]) -> list[str]:
    """Write `lineage.json`; of a run that is resumed, first compare it with what is there.

    Args:
        run: its directory is open.
        plan: what is about to run.
        tokenizer: of the model.
        resume: whether the run is continued.
        accepted: parts of `CHANGES` that may have changed.

    Returns:
        What could not be compared or was accepted, one sentence each.

    Raises:
        RunDirectoryError: something else changed. Names it and the difference.
    """
    lineage, rows = lineage_of(plan, tokenizer), _rows_of(plan)
    said: list[str] = []
    if resume:
        before, said = _earlier(run)
        changes = list(_changes(before, lineage, rows, _recorded_rows(run)))
        for part, what, difference in changes:
            if part not in accepted:
                raise RunDirectoryError(
                    f"{what} are not those that the run began with",
                    given=difference,
                    hint=f"put back what was there; or go on with the change by --resume --accept-change {part}; "
                    "or start afresh with --overwrite",
                )
            said.append(f"{what} changed while the run was interrupted, as --accept-change {part} allows: {difference}")
        lineage |= _history(run, before, [part for part, *_ in changes])
        if any(part == "data" for part, *_ in changes) or not (run.path / _ROWS).exists():
            run.write(_ROWS, rows)
    else:
        run.write(_ROWS, rows)
    run.write("lineage.json", lineage)
    return said


def _earlier(run: Run) -> tuple[Mapping[str, Any], list[str]]:
    """What the run began with, and why that is not known."""
    path = run.path / "lineage.json"
    lost = "so that nobody can tell whether data, rewards and model are those that the run began with"
    if not path.exists():
        began = (run.path / "checkpoints").is_dir()
        return {}, [f"lineage.json is not there, {lost}"] if began else []
    try:
        return read_run_file(path), []
    except RunDirectoryError as error:
        return {}, [f"{error.what}, {lost}"]


def _changes(
    before: Mapping[str, Any], now: Mapping[str, Any], rows: Mapping[str, Any], rows_before: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """Part of `CHANGES`, what changed in words, and the difference."""
    if _differ(before, now, "model", "weights"):
        yield "model", "the weights of the model", _from_to(before, now, "model", "weights", now["model"]["path"])
    if _differ(before, now, "data", "hash"):
        rest = _row_difference(rows_before, rows)
        yield "data", "the data", _from_to(before, now, "data", "hash", now["data"]["source"]) + (rest and f": {rest}")
    if _differ(before, now, "rewards", "hash"):
        each = [(lineage.get("rewards") or {}).get("each") or {} for lineage in (before, now)]
        changed = [name for name in each[1] if each[0].get(name, each[1][name]) != each[1][name]]
        modules = _module_difference(before, now)
        text = _from_to(before, now, "rewards", "hash", ", ".join(changed) or "rewards")
        yield "rewards", "the rewards", text + (modules and f": {modules}")
    elif "eval_reward" in before and before["eval_reward"] != now.get("eval_reward"):
        yield "rewards", "the rewards", f"eval_reward (hash {before['eval_reward']}, now {now.get('eval_reward')})"
    code = [(lineage.get("code") or {}) for lineage in (before, now)]
    changed = [name for name in code[1] if code[0].get(name, code[1][name]) != code[1][name]]
    if changed:
        texts = (f"{name} (hash {code[0][name]}, now {code[1][name]})" for name in changed)
        yield "code", "the Python files", ", ".join(texts)
    if before.get("template") and before["template"] != now["template"]:
        yield "model", "the tokens of prompts", f"chat template (hash {before['template']}, now {now['template']})"


def _module_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which modules that rewards import differ, in words; empty where that was not recorded."""
    earlier, later = ((lineage.get("rewards") or {}).get("modules") or {} for lineage in (before, now))
    found = []
    for file in sorted(earlier | later):
        if file not in later:
            found.append(f"{file} is not imported any more")
        elif file not in earlier:
            found.append(f"{file} is imported now")
        elif earlier[file] != later[file]:
            found.append(f"{file} (hash {earlier[file]}, now {later[file]})")
    return ", ".join(found)


def _differ(before: Mapping[str, Any], now: Mapping[str, Any], part: str, key: str) -> bool:
    earlier, later = ((lineage.get(part) or {}).get(key) for lineage in (before, now))
    return earlier is not None and later is not None and earlier != later


def _from_to(before: Mapping[str, Any], now: Mapping[str, Any], part: str, key: str, name: str) -> str:
    return f"{name} ({key} {before[part][key]}, now {now[part][key]})"


def _history(run: Run, before: Mapping[str, Any], changed: Sequence[str]) -> dict[str, Any]:
    """The earlier entries of what changed, after those of earlier changes."""
    history = list(before.get("history") or [])
    if changed:
        steps = [row["step"] for row in run.metrics()]
        parts = {"rewards": ("rewards", "eval_reward"), "model": ("model", "template")}
        replaced = {name: before.get(name) for part in changed for name in parts.get(part, (part,)) if name in before}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
        history.append({"time": stamp, "step": max(steps, default=0), "accepted": list(changed), "before": replaced})
    return {"history": history} if history else {}


def _rows_of(plan: Plan[Any]) -> dict[str, Any]:
    parts = {"train": plan.loaded.train, "holdout": plan.loaded.holdout}
    if sum(map(len, parts.values())) > _MOST_ROWS:
        return {}
    return {name: [record_hash(row) for row in rows] for name, rows in parts.items()}


def _recorded_rows(run: Run) -> Mapping[str, Any]:
    path = run.path / _ROWS
    try:
        return read_run_file(path) if path.is_file() else {}
    except RunDirectoryError:
        return {}


def _row_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which rows differ, in words; empty where that was not recorded."""
    found = []
    for part in ("train", "holdout"):
        earlier, later = before.get(part), now.get(part)
        if not isinstance(earlier, list) or later is None or earlier == later:
            continue
        place = next((at for at, pair in enumerate(zip(earlier, later, strict=False)) if pair[0] != pair[1]), None)
        first = min(len(earlier), len(later)) if place is None else place
        gone, added = (_count(one, other) for one, other in ((earlier, later), (later, earlier)))
        what = f"{gone} rows gone and {added} new" if gone or added else "the same rows in another order"
        found.append(f"{what} in {part}, from row {first + 1} of {len(later)} (before: {len(earlier)})")
    return "; ".join(found)


def _count(rows: Sequence[str], others: Sequence[str]) -> int:
    return (Counter(rows) - Counter(others)).total()


def _named_files(plan: Plan[Any]) -> Iterator[tuple[str, Path]]:
    """Python files of components that the settings name, but for those of rewards and data, which have hashes of their own."""
    texts = set(_texts(plan.config.model_dump(mode="json")))
    own = {spec.name for spec in getattr(plan.config, "rewards", None) or ()} | {plan.config.data.name}
    for name, path in sorted(loaded_files().items()):
        if name in texts and name not in own:
            yield name, path


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _hash_of(path: Path) -> str:
    """Of what a file does; of its bytes where it is no Python."""
    try:
        return code_hash([path], path.parent)
    except (SyntaxError, OSError):
        return fingerprint(str(path))
