"""Multiple choice: ARC and CommonsenseQA, MMLU, and tables with a column for each option.

The prompt lists the options, the answer is a letter, and `meta` holds `choices` as `{"label": [...], "text": [...]}`, which
the reward `choice` reads. Options that are labelled 1, 2, ... get letters: an answer "1" could also be an index from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from rlllm.core.records import Conversation, PromptTask
from rlllm.data.schemas.base import Expand, Row, RowSchema, rest, text

_LETTERS = "ABCDEFGHIJ"

Options = tuple[Sequence[Any], Any]
"""The texts of the options in order, and the place of the right one."""


def _labelled(row: Row) -> Options | None:
    """ARC (Clark et al. 2018), CommonsenseQA (Talmor et al. 2019): `choices` with `label` and `text`, and `answerKey`."""
    choices = row.get("choices")
    if not isinstance(choices, Mapping):
        return None
    labels, texts = choices.get("label"), choices.get("text")
    if not isinstance(labels, list) or not isinstance(texts, list) or len(labels) != len(texts):
        return None
    right = [at for at, label in enumerate(labels) if label == row.get("answerKey")]
    return (texts, right[0]) if len(right) == 1 else None


def _listed(row: Row) -> Options | None:
    """MMLU (Hendrycks et al. 2021) and MMLU-Pro: a list of texts, and the answer as an index from 0 or as a letter."""
    texts = row.get("choices", row.get("options"))
    right = _index(row.get("answer"))
    if (
        not isinstance(texts, list) or right is None or row["answer"] in texts
    ):  # a letter that is itself an option's text
        return None
    return texts, right


def _spread(row: Row) -> Options | None:
    """Columns A, B, C, ... and the answer as a letter or an index from 0."""
    texts = [row[letter] for letter in _LETTERS if row.get(letter) not in (None, "")]
    right = _index(row.get("answer"))
    together = all(row.get(letter) == option for letter, option in zip(_LETTERS, texts, strict=False))
    return (texts, right) if together and right is not None else None


def _index(answer: Any) -> int | None:
    if isinstance(answer, str) and len(answer.strip()) == 1 and answer.strip().upper() in ascii_uppercase:
        return ascii_uppercase.index(answer.strip().upper())
    return answer if type(answer) is int else None


def _readable(read: Callable[[Row], Options | None]) -> Callable[[Row], bool]:
    def fits(row: Row) -> bool:
        found = read(row) if isinstance(row.get("question"), str) else None
        if found is None:
            return False
        texts, right = found
        sound = all(isinstance(one, str) and one.strip() for one in texts) and 2 <= len(texts) <= len(ascii_uppercase)
        return sound and 0 <= right < len(texts)

    return fits


def _asking(read: Callable[[Row], Options | None], field: str, used: Sequence[str]) -> Expand:
    """Rows with the letter of the right option in `field`."""

    def expand(row: Row, place: str) -> list[dict[str, Any]]:
        texts, right = read(row) or ([], 0)
        labels = list(ascii_uppercase[: len(texts)])
        listed = "\n".join(f"{label}. {option}" for label, option in zip(labels, texts, strict=True))
        made = {
            "prompt": f"{text(row['question'], 'question', place)}\n\n{listed}\n\nAnswer with the letter of one option.",
            "choices": {"label": labels, "text": list(texts)},
            field: labels[right],
        }
        return [{**rest(row, "question", *used), **made}]

    return expand


def _layout(name: str, read: Callable[[Row], Options | None], needs: str, used: Sequence[str]) -> RowSchema:
    kinds = {PromptTask: "answer", Conversation: "completion"}
    return RowSchema(
        name, _readable(read), needs, expands={kind: _asking(read, field, used) for kind, field in kinds.items()}
    )


OPTIONS = (
    _layout("arc", _labelled, "question, choices with label and text, and answerKey", ("choices", "answerKey")),
    _layout(
        "mmlu",
        _listed,
        "question, a list of choices (or options), and an answer that is an index or a letter",
        ("choices", "options", "answer"),
    ),
    _layout("option-columns", _spread, "question, columns A, B, ... and an answer", (*_LETTERS, "answer")),
)
