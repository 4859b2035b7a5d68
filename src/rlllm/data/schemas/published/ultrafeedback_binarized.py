"""UltraFeedback as pairs (Tunstall et al. 2023, arXiv 2310.16944).

The margin is the difference of the two scores. It may be 0, since the data set says itself which completion was chosen.
"""

from __future__ import annotations

from typing import Any

from rlllm.core.records import PreferencePair
from rlllm.data.messages import is_messages
from rlllm.data.schemas.base import Row, RowError, RowSchema, has_columns, number

_has_scores = has_columns("chosen", "rejected", "score_chosen", "score_rejected", lacks=("margin",))


def _fits(row: Row) -> bool:
    return _has_scores(row) and is_messages(row["chosen"]) and is_messages(row["rejected"])


def _convert(row: Row) -> list[dict[str, Any]]:
    better, worse = (number(row[name], name) for name in ("score_chosen", "score_rejected"))
    if better < worse:
        raise RowError(f"scores chosen below rejected: {better:g} and {worse:g}")
    return [{**row, "margin": better - worse}]


SCHEMA = RowSchema(
    name="ultrafeedback-binarized",
    summary="UltraFeedback as pairs with two scores",
    fits=_fits,
    needs="chosen and rejected as messages, score_chosen and score_rejected",
    convert={PreferencePair: _convert},
)
