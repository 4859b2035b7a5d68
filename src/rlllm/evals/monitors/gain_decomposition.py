"""Decomposition of a reward's gain over training: the part that length and form of the completions explain, and the rest.

Early completions (the first fifth of the steps) and late ones (the last) are put into cells x by length and form. With p and q
the early and late shares of the cells, and m the mean rewards in them,

    gain = sum_x q(x) m_late(x) - sum_x p(x) m_early(x)
         = sum_x (q(x) - p(x)) m_early(x)            explained: the early policy's rewards at late lengths and forms
         + sum_x q(x) (m_late(x) - m_early(x))       the rest: better at the same length and form

which is Kitagawa's decomposition, the Oaxaca-Blinder one on indicators of the cells. Cells are made of length alone, of form
alone, and of both. The intervals are percentiles of a bootstrap over prompts. A late cell in which no early completion lies
borrows the early mean of its form, or else of all; `unsupported` is the late share of such cells, and where it is large,
the split rests on that guess. "Explained" is arithmetic, not a cause: a policy that learns to state an answer changes form.

Sources: Kitagawa, J. Am. Stat. Assoc. 50 (1955), 1168; Oaxaca, Int. Econ. Rev. 14 (1973), 693; Blinder, J. Hum. Resour. 8
(1973), 436.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlllm.core.records import prompt_text
from rlllm.evals.monitors.overoptimization import END_SHARE, MIN_STEPS, TRAINING_REWARD
from rlllm.evals.statistics.intervals import Interval, blocks_of
from rlllm.parsing.answers import has_answer_at_end, marked_answers

if TYPE_CHECKING:
    from numpy import ndarray

BINS = 5
"""Bins of length, at the quintiles of early and late completions together."""
FORMS = ("cut off", "no marked answer", "one marked answer at the end", "other marked answers")
_RESAMPLES = 2000
_MAX_UNITS = 2000
"""Units that the bootstrap draws at most: of more prompts, several go together, which changes no mean and keeps it quick."""


def decompose_gains(
    rows: Iterable[Mapping[str, Any]], monitored: Sequence[str], *, seed: int = 0
) -> list[dict[str, Any]]:
    """`decompose` for the weighted total and every monitored reward; rewards about which nothing can be said are left out.

    Args:
        rows: rows of `samples.jsonl`. Traces, which the policy did not write, do not count.
        monitored: display names of the rewards of weight 0.
        seed: of the bootstrap.
    """
    import numpy as np

    own = [row for row in rows if not row.get("demonstration")]
    steps = sorted({float(row["step"]) for row in own})
    end = round(END_SHARE * len(steps))
    if end < MIN_STEPS:
        return []
    early, late = set(steps[:end]), set(steps[-end:])
    compared = [row for row in own if float(row["step"]) in early or float(row["step"]) in late]
    at_end = np.array([float(row["step"]) in late for row in compared])
    lengths = np.array([length_of(row) for row in compared])
    forms = np.array([FORMS.index(form_of(row)) for row in compared])
    prompts = np.unique([prompt_text(row["prompt"]) for row in compared], return_inverse=True)[1]
    decompositions = []
    for name in (TRAINING_REWARD, *monitored):
        values = np.array([_value(row, name) for row in compared])
        judged = ~np.isnan(values)
        split = decompose(*(column[judged] for column in (values, at_end, lengths, forms, prompts)), seed=seed)
        if split is not None:
            decompositions.append({"reward": name, "steps": end, **split})
    return decompositions


def form_of(row: Mapping[str, Any]) -> str:
    """Which of `FORMS` a row of `samples.jsonl` has, whether right or wrong."""
    if row.get("truncated"):
        return FORMS[0]
    if has_answer_at_end(row["completion"]):
        return FORMS[2]
    return FORMS[3] if marked_answers(row["completion"]) else FORMS[1]


def length_of(row: Mapping[str, Any]) -> int:
    """Tokens of the completion, or characters where their number is not known."""
    tokens = row.get("tokens")
    return len(row["completion"]) if tokens is None else int(tokens)


def decompose(
    values: ndarray, late: ndarray, lengths: ndarray, forms: ndarray, prompts: ndarray, *, seed: int = 0
) -> dict[str, Any] | None:
    """The gain and its parts, each with a 95 % interval.

    Args:
        values: (N,) finite rewards of the completions.
        late: (N,) bool, whether each is of the late part.
        lengths, forms: (N,) whole numbers, what each is like; forms are below `len(FORMS)`.
        prompts: (N,) numbers of what each answers; the unit that the bootstrap draws.

    Returns:
        `gain`, `length`, `form`, `both` (explained by each alone and by the two together), `rest` (gain minus both) and
        `unsupported`; None where one part is empty, all completions answer one prompt, or all are worth the same.
    """
    import numpy as np

    names, owner = np.unique(prompts, return_inverse=True)
    if len(names) < 2 or late.all() or not late.any() or np.ptp(values) == 0:
        return None
    inner = np.unique(np.quantile(lengths, np.arange(1, BINS) / BINS))
    cells = np.searchsorted(inner, lengths) * len(FORMS) + forms
    tables = _tables(owner % _MAX_UNITS, late, cells, values, min(len(names), _MAX_UNITS))
    estimate = {name: float(part[0]) for name, part in _parts(tables.sum(0)[None]).items()}
    resampled = _bootstrap(tables, seed)
    unsupported = estimate.pop("unsupported")
    return {
        **{
            name: Interval(value, *_percentiles(resampled[name]), len(names), "bootstrap").to_json()
            for name, value in estimate.items()
        },
        "unsupported": unsupported,
    }


def _tables(owner: ndarray, late: ndarray, cells: ndarray, values: ndarray, prompts: int) -> ndarray:
    """(prompts, 2, 2, C): for each prompt, early then late, the number and the sum of rewards in every cell."""
    import numpy as np

    shape = (prompts, 2, BINS * len(FORMS))
    place = np.ravel_multi_index((owner, late.astype(int), cells), shape)
    sums = [np.bincount(place, weights=each, minlength=math.prod(shape)) for each in (np.ones(len(values)), values)]
    return np.stack([column.reshape(shape) for column in sums], axis=2)


def _bootstrap(tables: ndarray, seed: int) -> dict[str, ndarray]:
    """Parts of `_RESAMPLES` draws of the prompts; NaN where a draw left one side empty."""
    import numpy as np

    generator = np.random.default_rng(seed)
    prompts, flat = len(tables), tables.reshape(len(tables), -1)
    blocks = [
        generator.multinomial(prompts, np.full(prompts, 1 / prompts), size=size) @ flat
        for size in blocks_of(_RESAMPLES, prompts)
    ]
    return _parts(np.concatenate(blocks).reshape(_RESAMPLES, *tables.shape[1:]))


def _parts(tables: ndarray) -> dict[str, ndarray]:
    """The parts of the gain, (N,) each, from (N, 2, 2, C) numbers and sums; NaN where a side is empty."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        before, after = (tables[:, side, 1].sum(1) / tables[:, side, 0].sum(1) for side in (0, 1))
        by_cell = tables.reshape(len(tables), 2, 2, BINS, len(FORMS))
        by_length, by_form = by_cell.sum(4), by_cell.sum(3)
        overall = before[:, None]
        of_form = _means(by_form[:, 0], overall)
        of_cell = _means(by_cell[:, 0].reshape(tables[:, 0].shape), np.tile(of_form, BINS))
        explained = {
            "length": _reweighted(_means(by_length[:, 0], overall), by_length[:, 1, 0]) - before,
            "form": _reweighted(of_form, by_form[:, 1, 0]) - before,
            "both": _reweighted(of_cell, tables[:, 1, 0]) - before,
        }
        strange = (tables[:, 1, 0] * (tables[:, 0, 0] == 0)).sum(1) / tables[:, 1, 0].sum(1)
    gain = after - before
    return {"gain": gain, **explained, "rest": gain - explained["both"], "unsupported": strange}


def _means(table: ndarray, fallback: ndarray) -> ndarray:
    """(N, C) means from (N, 2, C) numbers and sums; the fallback where a cell is empty."""
    import numpy as np

    return np.where(table[:, 0] > 0, table[:, 1] / table[:, 0], fallback)


def _reweighted(means: ndarray, counts: ndarray) -> ndarray:
    return (means * counts).sum(1) / counts.sum(1)


def _percentiles(resampled: ndarray) -> tuple[float, float]:
    import numpy as np

    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def _value(row: Mapping[str, Any], name: str) -> float:
    """NaN where the reward could not judge."""
    value = row.get("reward") if name == TRAINING_REWARD else ((row.get("rewards") or {}).get(name) or {}).get("value")
    return float(value) if value is not None and math.isfinite(value) else math.nan
