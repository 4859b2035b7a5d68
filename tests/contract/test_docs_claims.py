"""The recorded training runs behind the documentation are claims: they are sealed, and a sample of their rows is run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from docs_pages import ROOT

from rlllm.tools.claims.agreement import NOT_REPRODUCED
from rlllm.tools.claims.claim_file import read_claim
from rlllm.tools.claims.verify import verify

FILES = [
    path
    for path in sorted((ROOT / "docs" / "results").glob("*.json"))
    if json.loads(path.read_text(encoding="utf-8")).get("claim")
]
ROWS = 2
"""Rows of a file that are run again."""
MODELS = {"real-model": "runs/recorded/real-model/SmolLM2-135M"}
"""File -> the folder of its model, where that is not part of the package; `bench/smollm2.py` makes it."""


def test_the_claims_are_as_they_were_sealed() -> None:
    assert [path.name for path in FILES if not read_claim(path).claims] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_rows_of_a_table_are_not_refuted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another processor, or with newer code, bits may differ, which decides nothing here."""
    if path.stem in MODELS and not (ROOT / MODELS[path.stem]).exists():
        pytest.skip(f"needs {MODELS[path.stem]}")
    monkeypatch.chdir(ROOT)
    rows = verify(path, count=ROWS, quick=True).rows
    assert [f"{row.name}: {row.why}" for row in rows if row.verdict == NOT_REPRODUCED] == []
