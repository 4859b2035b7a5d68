"""`rlllm data from-run`: right completions that a run sampled, as a file of rows to imitate, with its lineage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlllm.core.errors import ConfigError
from rlllm.core.runs import file_hash, write_json, write_jsonl
from rlllm.data.from_run import FromRunParams, lineage, rows_of_run


@dataclass(frozen=True, slots=True)
class RowsFromRun:
    """What `rlllm data from-run` wrote.

    Args:
        out: the file of rows.
        rows: how many it has.
        samples: completions that were looked at.
        right: how many of them were right.
        prompts: how many prompts they answer.
        run: hash of all that the run sampled.
    """

    out: str
    rows: int
    samples: int
    right: int
    prompts: int
    run: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def data_from_run(
    run: str | Path, *, out: str | Path, choose: str = "best", overwrite: bool = False, **params: Any
) -> RowsFromRun:
    """Write right completions of a run as rows with `prompt` and `completion`, and a `.lineage.json` beside them.

    Args:
        run: directory of a run that sampled completions.
        out: the file, `.jsonl`.
        choose: `best`, `short` or `hard`.
        overwrite: replace a file that exists.
        **params: further parameters of the data set `from-run`, such as `each`.

    Raises:
        ConfigError: the file exists, or a parameter is unknown.
        DataError: nothing of the run is right.
    """
    path = Path(out)
    if path.suffix != ".jsonl":
        raise ConfigError("rows of a run are written as .jsonl", given=out, hint=f"--out {path.with_suffix('.jsonl')}")
    if path.exists() and not overwrite:
        raise ConfigError("the file exists", given=out, hint="add --overwrite, or choose another --out")
    checked = FromRunParams.checked({"run": str(run), "choose": choose, **params})
    found = rows_of_run(checked)
    rows = [
        {"prompt": item.row["prompt"], "completion": item.row["completion"], **lineage(item, found.run)}
        for item in found.chosen
    ]
    write_jsonl(path, rows)
    written = RowsFromRun(str(path), len(rows), found.samples, found.right, found.prompts, found.run)
    record = {**written.to_json(), "from": str(run), "params": checked.model_dump(), "hash": file_hash(path)[:16]}
    write_json(path.with_name(f"{path.name}.lineage.json"), record)
    return written
