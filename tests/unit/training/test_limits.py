"""Rows that reach max_length are counted, named and warned of, whatever the method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rlllm
from rlllm.core.events import NullProgress
from rlllm.core.runs import Run

CASES: list[tuple[str, dict[str, Any]]] = [
    ("sft", {}),
    ("align", {"method": "dpo"}),
    ("align", {"method": "orpo"}),
    ("align", {"method": "kto", "trainer": {"per_device_train_batch_size": 2}}),
]
LONG = "b" * 60


class Notes(NullProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def trained(verb: str, settings: dict[str, Any], model: str, folder: Path, **trainer: Any) -> tuple[Run, list[str]]:
    """A one-step run on three short rows and one of more than 60 bytes, which are as many tokens."""
    answers = ["a", "b", LONG, "d"]
    rows = [
        {"prompt": f"{n}?", "chosen": text, "rejected": "no", "completion": text, "label": n % 2 == 0}
        for n, text in enumerate(answers)
    ]
    columns = ("prompt", "completion", "label") if settings.get("method") == "kto" else ("prompt", "chosen", "rejected")
    columns = ("prompt", "completion") if verb == "sft" else columns
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps({name: row[name] for name in columns}) + "\n" for row in rows))
    options = {"max_steps": 1, "per_device_train_batch_size": 1, **settings.get("trainer", {}), **trainer}
    notes = Notes()
    made = getattr(rlllm, verb)(
        **{**settings, "trainer": options}, model=model, data=str(data), output_dir=folder / "run", progress=notes
    )
    return made, notes.said


@pytest.mark.parametrize(("verb", "settings"), CASES, ids=[settings.get("method", verb) for verb, settings in CASES])
def test_a_row_beyond_max_length_is_counted_and_named(
    verb: str, settings: dict[str, Any], tiny_model: str, tmp_path: Path
) -> None:
    run, said = trained(verb, settings, tiny_model, tmp_path, max_length=40)
    assert [text for text in said if "1 of 4 rows reach max_length=40 tokens" in text and "2?" in text]
    assert run.verdict["diagnostics"]["rows_cut"] == 1
    assert "rows_cut" in [reason["code"] for reason in run.verdict["reasons"] if not reason["fatal"]]


def test_rows_below_max_length_are_not_spoken_of(tiny_model: str, tmp_path: Path) -> None:
    run, said = trained("sft", {}, tiny_model, tmp_path, max_length=200)
    assert run.verdict["diagnostics"]["rows_cut"] == 0
    assert not [text for text in said if "max_length" in text]


def test_prompts_that_leave_no_room_for_a_completion_are_counted_and_named(tiny_model: str, tmp_path: Path) -> None:
    rows = [{"prompt": "x" * length, "answer": "1"} for length in (3, 4, 5, 500)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    notes = Notes()
    run = rlllm.reason(
        model=tiny_model,
        data=str(tmp_path / "rows.jsonl"),
        rewards=[{"name": "random", "p": 0.5}],
        rollout={"max_new_tokens": 16, "group_size": 2},
        trainer={"max_steps": 1, "per_device_train_batch_size": 4},
        output_dir=tmp_path / "run",
        progress=notes,
    )
    assert [text for text in notes.said if "1 of 4 prompts leave less than 16 of the model's 512 positions" in text]
    assert run.verdict["diagnostics"]["prompts_beyond_context"] == 1
    assert "prompts_beyond_context" in [reason["code"] for reason in run.verdict["reasons"] if not reason["fatal"]]
